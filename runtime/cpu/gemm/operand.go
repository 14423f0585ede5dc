package gemm

import (
	"math"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
)

// Operand is the left side of a Block at the precision of the right side, as
// [Kernels.Prepare] makes it.
type Operand struct {
	rows  Rows      // f32, and bf16 where B is widened: the rows as they are
	data  []uint32  // else: converted rows, words apart
	words int       // of a converted row
	index []int32   // picks converted rows, if not nil
	spans []int     // where each stretch of a row begins, in words from its start; nil: rows are whole
	run   int       // elements of a stretch
	scale []float32 // int8: scale of each row
	zero  []uint32  // int8: zero point of each row, as VPDPWSSD takes it
}

// From drops the first i rows.
func (o Operand) From(i int) Operand {
	switch {
	case i == 0:
	case o.data == nil:
		o.rows = o.rows.From(i)
	case o.index != nil:
		o.index = o.index[i:]
	default:
		o.data = o.data[i*o.words:]
		if o.scale != nil {
			o.scale, o.zero = o.scale[i:], o.zero[i:]
		}
	}
	return o
}

// Column drops the first n elements of every row, a multiple of 32; of rows that were
// converted to bf16 or are as they were.
func (o Operand) Column(n int) Operand {
	if o.data == nil {
		o.rows.Data = o.rows.Data[n:]
	} else {
		o.data = o.data[n/2:]
	}
	return o
}

// Pick is the operand of the rows that index lists. The operand must not have
// been picked from already, nor made from rows with an index list.
func (o Operand) Pick(index []int32) Operand {
	o.index, o.rows.Index = index, index
	return o
}

// Windows is the operand of bf16 rows that lie in memory already rounded, two elements to a
// word: row i begins at word i*step of data and is made of one stretch of run elements at
// each of spans, in words from there. Rows may overlap. run must be a multiple of 32, or
// there is one stretch. Blocks take all of k of such an operand. On tiles a block reads
// its rows where they are if each sixteen that it picks follow each other.
func Windows(data []float32, step int, spans []int, run int) Operand {
	return Operand{data: words32(data), words: step, spans: spans, run: run}
}

// converts reports whether rows of A change form before they meet a B of p.
func (k *Kernels) converts(p layout.Precision) bool {
	return p == layout.I8 || p == layout.BF16 && k.feat.BF16
}

// OperandLen is the number of floats of scratch that Prepare takes for m rows of
// n elements; zero where rows are used as they are.
func (k *Kernels) OperandLen(p layout.Precision, m, n int) int {
	if !k.converts(p) {
		return 0
	}
	words := k.words(p, n)
	if p == layout.I8 {
		words += 2
	}
	return m * words
}

// words is the distance of converted rows of n elements.
func (k *Kernels) words(p layout.Precision, n int) int {
	if k.variant(p) == amx {
		return amxWords(p.Steps(n))
	}
	return p.Steps(n)
}

// Prepare makes m rows of n elements of x the left side of products with matrices
// of precision p. It writes OperandLen floats of scratch, which must stay while
// the operand is in use; gate, if not nil, multiplies the rows (int8 only: other
// precisions take gates in the rows themselves).
//
// int8 rows are quantised to 0..255 with a scale and zero point of their own. A
// row with an infinity or NaN gets the scale NaN, so that its products are NaN.
func (k *Kernels) Prepare(p layout.Precision, x Rows, m, n int, gate []float32, scratch []float32) Operand {
	o := k.Place(p, x, m, n, scratch)
	k.Convert(&o, p, x, n, gate, 0, m)
	return o
}

// Place is Prepare without the conversion: Convert does that, in any number of
// parts.
func (k *Kernels) Place(p layout.Precision, x Rows, m, n int, scratch []float32) Operand {
	if !k.converts(p) {
		return Operand{rows: x}
	}
	words := k.words(p, n)
	o := Operand{data: words32(scratch[:m*words]), words: words}
	if p == layout.I8 {
		o.scale = scratch[m*words : m*(words+1)]
		o.zero = words32(scratch[m*(words+1) : m*(words+2)])
	}
	if o.data == nil {
		o.data = []uint32{}
	}
	return o
}

// Convert writes rows m0 to m1 of an operand that Place made for rows x of n
// elements.
func (k *Kernels) Convert(o *Operand, p layout.Precision, x Rows, n int, gate []float32, m0, m1 int) {
	if o.data == nil {
		return
	}
	if p == layout.BF16 && x.Index == nil && m1 > m0 {
		k.roundBF16(o.data[m0*o.words:], o.words, x.Data[m0*x.Stride:], x.Stride, m1-m0, n)
		return
	}
	for i := m0; i < m1; i++ {
		at := x.At(i)
		row, dst := x.Data[at:at+n], o.data[i*o.words:][:p.Steps(n)]
		if p == layout.BF16 {
			k.roundBF16(dst, 0, row, 0, 1, n)
			continue
		}
		o.scale[i], o.zero[i] = k.quantize(dst, row)
		if gate != nil {
			o.scale[i] *= gate[i]
		}
	}
}

// words32 views floats as words.
func words32(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// quantize turns a row into unsigned bytes q with x = scale*(q-zp), and returns
// the scale and the pair (-zp, -128*zp) of signed 16-bit halves.
func (k *Kernels) quantize(dst []uint32, x []float32) (scale float32, zero uint32) {
	lo, hi, sum := k.rowRange(x)
	if sum != 0 {
		clear(dst)
		return float32(math.NaN()), 0
	}
	scale = hi/255 - lo/255 // in this order it cannot overflow
	if scale == 0 {
		clear(dst)
		return 0, 0
	}
	inv := 1 / scale
	if inv > math.MaxFloat32 { // a denormal scale: the row is zero to within 1e-38
		clear(dst)
		return 0, 0
	}
	zp := max(0, min(255, int32(math.RoundToEven(float64(-lo*inv)))))
	k.quantizeRow(dst, x, inv, zp)
	return scale, uint32(uint16(-zp)) | uint32(uint16(-128*zp))<<16
}

// rowRange is the portable form of the method; a sum of x*0 finds what is not
// finite.
func rowRange(x []float32) (lo, hi, sum float32) {
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
		sum += v * 0
	}
	if sum != 0 || sum != sum {
		return lo, hi, float32(math.NaN())
	}
	return lo, hi, 0
}

func quantizeRow(dst []uint32, x []float32, inv float32, zp int32) {
	for i := range dst {
		var w uint32
		for j, v := range x[4*i : min(4*i+4, len(x))] {
			q := int32(math.RoundToEven(float64(v*inv))) + zp
			w |= uint32(max(0, min(255, q))) << (8 * j)
		}
		dst[i] = w
	}
}
