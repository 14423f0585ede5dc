package gemm

import (
	"math"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
)

// Block is one product on one thread: rows of A by a range of the columns of B
// and a range of k, into rows of C. It is what larger kernels are made of.
type Block struct {
	A Operand
	M int // rows

	B      *layout.Matrix
	N0, N1 int // columns; N0 a multiple of layout.NR, N1 too or B.N
	K0, K1 int // range of k; K0 a multiple of 32, so that cuts fall between tiles; all of k for int8

	C Rows // column N0 of B goes to element 0 of each row; rows of a negative Index go to Spare
	// Spare takes rows that nobody wants, N1-N0 elements.
	Spare []float32
	Bias  []float32
	Add   bool // start from C instead of from the bias

	// Residual, if it has data, is added to the sums before Act: column N0 at element 0 of
	// each row, which has the number that C's row has; or HalfResidual, the same in bf16 rows
	// as Windows takes them. Not with Gates.
	Residual     Rows
	HalfResidual Operand

	Act   act.Kind  // of the sums
	Gates []float32 // multiply each row's activations; nil for ones
	// Into, if it holds bf16 rows, takes the results as an operand, column N0 at IntoCol,
	// which must be even; rows are numbered as those of C, which then has room for them, and no
	// promised contents.
	Into    Operand
	IntoCol int

	// Next is the matrix that is wanted after this block, from row NextK of its
	// first panel on, or nil: it is fetched into L2 meanwhile.
	Next  *layout.Matrix
	NextK int
}

const (
	// chunkBytes of B are reused from L2 by all the rows of a block. Half of the
	// smallest L2 among AVX-512 machines (1 MB) leaves the rest to A and C.
	chunkBytes = 512 << 10
	// stepCut is the most steps at a time when there is more than one row block, so
	// that the rows of A (12 x 3 KB) stay in L1. Each cut starts from C again: 512
	// measured 1 % slower on 1024^3.
	stepCut = 768
	// streamAhead is how far the first tile of rows, for which B comes from memory,
	// fetches it into L2, in bytes. So eight rows at d 1024 take 1.07 times as long as one,
	// before 1.5 times; half and double the distance measured alike.
	streamAhead = 3072
	// streamFrom is the size of B in bytes below which it is taken to be in L2 already,
	// where the block before has fetched it.
	streamFrom = 64 << 10
)

// Run computes b. It panics if a range is outside of its slice.
func (k *Kernels) Run(b *Block) {
	if b.M <= 0 || b.N1 <= b.N0 {
		return
	}
	p := b.B.Precision
	if k.variant(p) == amx && b.K1 > b.K0 {
		k.runAMX(b)
		return
	}
	if b.A.spans != nil {
		k.runSpans(b)
		return
	}
	per := p.PerStep()
	s0, s1 := b.K0/per, (b.K1+per-1)/per
	cut := s1 - s0
	if b.M > maxRows && cut > stepCut && p != layout.I8 {
		// Equal cuts of at most stepCut.
		cuts := (cut + stepCut - 1) / stepCut
		cut = (cut + cuts - 1) / cuts
	}
	cols := b.N1 - b.N0
	if b.M > maxRows {
		cols = max(1, chunkBytes/(4*layout.NR*max(1, cut))) * layout.NR
	}
	cut = max(1, cut)
	for n := b.N0; n < b.N1; n += cols {
		for s := s0; s < s1 || s == s0; s += cut {
			var next uintptr
			switch {
			case s+cut < s1:
				next = address(b.B, n, s+cut)
			case n+cols < b.N1:
				next = address(b.B, n+cols, s0)
			case b.Next != nil:
				next = address(b.Next, 0, b.NextK/b.Next.Precision.PerStep())
			}
			k.chunk(b, n, min(n+cols, b.N1), s-s0, s, min(s+cut, s1), s1, next)
		}
		k.finish(b, 0, b.M, n, min(n+cols, b.N1))
	}
}

// runSpans is Run where rows of A are made of stretches, one after the other.
func (k *Kernels) runSpans(b *Block) {
	c := *b
	c.Act, c.Residual, c.HalfResidual, c.Into = act.Identity, Rows{}, Operand{}, Operand{}
	last := len(b.A.spans) - 1
	for i, at := range b.A.spans {
		c.A.spans, c.A.data = nil, b.A.data[at:]
		c.K0, c.K1 = i*b.A.run, min(b.K1, (i+1)*b.A.run)
		c.Add = b.Add || i > 0
		c.Next, c.NextK = b.B, c.K1
		if i == last {
			c.Next, c.NextK, c.Act = b.Next, b.NextK, b.Act
			c.Residual, c.HalfResidual, c.Into = b.Residual, b.HalfResidual, b.Into
		}
		k.Run(&c)
	}
}

// bounded is the activation that the kernels apply: Relu, unless a residual comes first.
func (b *Block) bounded() bool { return b.Act == act.Relu && !b.adds() }

// adds reports whether there is a residual.
func (b *Block) adds() bool { return b.Residual.Data != nil || b.HalfResidual.data != nil }

// finish does to rows rows from row on, columns n0 to n1, what the kernels have not done:
// all but the bound of Relu. It finds them in L2.
func (k *Kernels) finish(b *Block, row, rows, n0, n1 int) {
	kind := b.Act
	if b.bounded() {
		kind = act.Identity
	}
	c0, c1 := n0-b.N0, n1-b.N0
	switch {
	case b.adds():
		for i := row; i < row+rows; i++ {
			if at := b.C.At(i); at >= 0 {
				k.act.Add(b.C.Data[at+c0:at+c1], k.residual(b, i, c0, c1))
				k.act.Apply(kind, b.C.Data[at+c0:at+c1], 1)
			}
		}
	case kind == act.Identity && b.Gates == nil:
	case b.Gates == nil && b.C.Index == nil && b.C.Stride == c1-c0:
		k.act.Apply(kind, b.C.Data[row*b.C.Stride:(row+rows)*b.C.Stride], 1)
	default:
		for i := row; i < row+rows; i++ {
			if at := b.C.At(i); at >= 0 {
				k.act.Apply(kind, b.C.Data[at+c0:at+c1], b.gate(i))
			}
		}
	}
	switch {
	case b.Into.data == nil:
	case b.C.Index != nil:
		for i := row; i < row+rows; i++ {
			if to := int(b.C.Index[i]); to >= 0 {
				k.roundBF16(b.Into.data[to*b.Into.words+(b.IntoCol+c0)/2:], 0, b.C.Data[b.C.At(i)+c0:], 0, 1, c1-c0)
			}
		}
	default:
		k.roundBF16(b.Into.data[row*b.Into.words+(b.IntoCol+c0)/2:], b.Into.words, b.C.Data[row*b.C.Stride+c0:], b.C.Stride, rows, c1-c0)
	}
}

// residual is columns c0 to c1 of row i of the residual.
func (k *Kernels) residual(b *Block, i, c0, c1 int) []float32 {
	if h := b.HalfResidual; h.data != nil {
		if b.C.Index != nil {
			i = int(b.C.Index[i])
		}
		row := unsafe.Slice((*uint16)(unsafe.Pointer(&h.data[i*h.words : i*h.words+(c1+1)/2][0])), c1)
		k.WidenBF16(b.Spare[:c1-c0], row[c0:])
		return b.Spare[:c1-c0]
	}
	at := b.Residual.At(i)
	return b.Residual.Data[at+c0 : at+c1]
}

// gate is what row i is multiplied by after the activation.
func (b *Block) gate(i int) float32 {
	if b.Gates == nil {
		return 1
	}
	return b.Gates[i]
}

// chunk multiplies all rows of b by columns n0 to n1 and steps s0 to s1; a0 is s0
// counted from the start of the rows of A, last the final step of b, and next the
// address of what is wanted after the chunk, or 0.
func (k *Kernels) chunk(b *Block, n0, n1, a0, s0, s1, last int, next uintptr) {
	var t tile
	p := b.B.Precision
	first := a0 == 0
	t.lo = float32(math.Inf(-1))
	if b.bounded() && s1 == last {
		t.lo, t.flags = 0, bounded
	}
	if !first || b.Add {
		t.flags |= accumulate
	} else if b.Bias != nil {
		t.bias = unsafe.Pointer(&b.Bias[n0])
	}
	perStep := p.PerStep()
	elems := min(s1*perStep, b.K1) - s0*perStep // of a row of A
	t.k = uintptr(s1 - s0)
	if b.A.data == nil {
		t.k = uintptr(elems)
	}
	if p == layout.I8 {
		t.scale, t.corr = unsafe.Pointer(&b.B.Scale[n0]), unsafe.Pointer(&b.B.Sum[n0])
	}
	steps := p.Steps(b.B.K)
	whole := b.B.N / layout.NR * layout.NR // columns in whole panels
	at := 4 * (n0*steps + s0*layout.NR)    // byte offset of the first panel
	tailWidth := 0
	if n1 > whole {
		tailWidth = n1 - whole
	}
	halfTail := tailWidth > 0 && tailWidth <= layout.NR/2
	panels, width := (min(n1, whole)-n0)/layout.NR, layout.NR
	if tailWidth > 0 && !halfTail {
		panels, width = panels+1, tailWidth
	}
	per := k.rowsPerTile(p)
	blocks := (b.M + per - 1) / per
	for i, row := 0, 0; i < blocks; i++ {
		// Whole tiles, then what is left: equal parts would be padded, 64 rows to 68.
		rows := min(per, b.M-row)
		b.rows(&t, row, rows, n0-b.N0, n1-b.N0, a0, elems)
		t.off, t.boff = 0, 0
		if panels > 0 {
			t.b = wordAt(b.B, at, int(t.k))
			t.bk, t.bp, t.n = 4*layout.NR, uintptr(4*layout.NR*steps), uintptr(panels)
			t.flags &^= stream
			t.ahead = t.bp
			switch {
			case i == 0 && per == maxRows && rows > 6 && panels*int(t.bp) >= streamFrom:
				t.flags |= stream
				t.ahead = streamAhead
			case next != 0 && (blocks > 1 || panels == 1):
				// Each row block fetches two lines in eight; four of them all.
				t.ahead = next - uintptr(t.b) + uintptr(i%4*64)
			}
			k.run(&t, p, rows, layout.NR, width)
		}
		if halfTail {
			t.b = wordAt(b.B, 4*(whole*steps+s0*layout.NR/2), int(t.k))
			t.bk, t.bp, t.n, t.boff = 2*layout.NR, 0, 1, 0
			t.off = uintptr(4 * (whole - n0))
			t.ahead = 0
			if next != 0 {
				t.ahead = next - uintptr(t.b) + uintptr(i%4*64)
			}
			k.run(&t, p, rows, layout.NR/2, tailWidth)
		}
		row += rows
	}
}

// wordAt is the address of a byte offset in the packed elements of m, nil when
// there is nothing to read.
func wordAt(m *layout.Matrix, at, steps int) unsafe.Pointer {
	switch {
	case steps == 0:
		return nil
	case m.Precision == layout.F32:
		return unsafe.Pointer(&m.F32[at/4])
	case m.Precision == layout.BF16:
		return unsafe.Pointer(&m.BF16[at/2])
	}
	return unsafe.Pointer(&m.I8[at])
}

// address is where step s of the panel of column n begins, clamped to the matrix.
func address(m *layout.Matrix, n, s int) uintptr {
	if m.Precision.Bytes(m.K, m.N) == 0 {
		return 0
	}
	steps := m.Precision.Steps(m.K)
	return uintptr(wordAt(m, min(4*(n*steps+s*layout.NR), m.Precision.Bytes(m.K, m.N)-4), 1))
}

// row is row i of C, or where it goes instead.
func (b *Block) row(i int) []float32 {
	if at := b.C.At(i); at >= 0 {
		return b.C.Data[at:]
	}
	return b.Spare
}

// rows points t at rows of A from step a0 on and at columns c0 to c1 of C.
func (b *Block) rows(t *tile, row, n, c0, c1, a0, elems int) {
	point(t.c[:n], b.C.Data, b.C.Stride, b.C.Index, row, c0, c1, b.Spare)
	switch {
	case t.k == 0:
		clear(t.a[:n])
	case b.A.data == nil:
		a0 *= b.B.Precision.PerStep()
		point(t.a[:n], b.A.rows.Data, b.A.rows.Stride, b.A.rows.Index, row, a0, a0+elems, nil)
	default:
		point(t.a[:n], b.A.data, b.A.words, b.A.index, row, a0, a0+int(t.k), nil)
	}
	for i := 0; i < n && b.A.scale != nil; i++ {
		r := row + i
		if b.A.index != nil {
			r = int(b.A.index[r])
		}
		t.sa[i], t.za[i] = b.A.scale[r], b.A.zero[r]
	}
}

// point sets to to the addresses of elements c0 to c1, one at least, of rows from row on,
// or of those that index lists there; negative ones are spare. It takes its fields one by
// one and checks them once per row: with experts of 16 units it was 6 % of the time when
// each row asked Rows.At.
func point[E float32 | uint32](to []unsafe.Pointer, data []E, stride int, index []int32, row, c0, c1 int, spare []E) {
	if index == nil {
		for i := range to {
			at := (row + i) * stride
			to[i] = unsafe.Pointer(&data[at+c0 : at+c1][0])
		}
		return
	}
	for i, r := range index[row : row+len(to)] {
		if r < 0 {
			to[i] = unsafe.Pointer(&spare[c0:c1][0])
			continue
		}
		at := int(r) * stride
		to[i] = unsafe.Pointer(&data[at+c0 : at+c1][0])
	}
}
