package layout

import (
	"fmt"
	"math"
)

// Source is a matrix to pack: element (k, n) is Data[k*KStride+n*NStride]. A
// row-major [K, N] array has strides N and 1, its transpose [N, K] 1 and K.
type Source struct {
	Data             []float32
	K, N             int
	KStride, NStride int
}

// RowMajor is the source for a [k, n] array.
func RowMajor(data []float32, k, n int) Source { return Source{data, k, n, n, 1} }

// Transposed is the source for an [n, k] array, as Gemm with transB and Linear
// layers store theirs.
func Transposed(data []float32, k, n int) Source { return Source{data, k, n, 1, k} }

// Pack packs src at precision p into memory of its own. It fails if src is
// shorter than its shape, or has too many rows for int8.
func Pack(p Precision, src Source) (*Matrix, error) {
	if src.K < 0 || src.N < 0 || src.KStride < 0 || src.NStride < 0 {
		return nil, fmt.Errorf("layout: pack %d x %d with strides %d, %d", src.K, src.N, src.KStride, src.NStride)
	}
	if src.K > 0 && src.N > 0 && (src.K-1)*src.KStride+(src.N-1)*src.NStride >= len(src.Data) {
		return nil, fmt.Errorf("layout: pack %d x %d from %d elements", src.K, src.N, len(src.Data))
	}
	m := &Matrix{Precision: p, K: src.K, N: src.N}
	size := p.Bytes(src.K, src.N)
	switch p {
	case F32:
		m.F32 = make([]float32, size/4)
		src.each(m, func(i, _ int, v float32) { m.F32[i] = v })
	case BF16:
		m.BF16 = make([]uint16, size/2)
		src.each(m, func(i, _ int, v float32) { m.BF16[i] = RoundBF16(v) })
	case I8:
		m.I8 = make([]int8, size)
		src.packI8(m)
	}
	return m, m.Check()
}

// each calls f with the packed index, the column and the value of every element,
// panel by panel.
func (s Source) each(m *Matrix, f func(i, n int, v float32)) {
	per := m.Precision.PerStep()
	for n0 := 0; n0 < s.N; n0 += NR {
		base := m.Index(0, n0)
		step := NR * per
		if inHalf(n0, s.N) {
			step = half * per
		}
		for k := range s.K {
			at, from := base+k/per*step+k%per, k*s.KStride
			for n := n0; n < min(n0+NR, s.N); n++ {
				f(at+(n-n0)*per, n, s.Data[from+n*s.NStride])
			}
		}
	}
}

// packI8 quantises each column symmetrically to -127..127 by its largest
// magnitude. A column with a NaN or an infinity keeps a NaN scale, so that the
// fault shows in the product instead of turning into a number.
func (s Source) packI8(m *Matrix) {
	m.Scale, m.Sum = make([]float32, s.N), make([]uint32, s.N)
	sums := make([]int32, s.N)
	s.each(m, func(_, n int, v float32) {
		if a := float32(math.Abs(float64(v))); a > m.Scale[n] || a != a {
			m.Scale[n] = a
		}
	})
	for n, a := range m.Scale {
		if a != a || a > math.MaxFloat32 {
			m.Scale[n] = float32(math.NaN())
		} else {
			m.Scale[n] = a / 127
		}
	}
	s.each(m, func(i, n int, v float32) {
		if sc := m.Scale[n]; sc > 0 {
			q := int32(math.RoundToEven(float64(v) / float64(sc)))
			q = max(-127, min(127, q))
			m.I8[i] = int8(q)
			sums[n] += q
		}
	})
	for n, v := range sums {
		m.Sum[n] = Digits(v)
	}
}

// MaxBF16 is a bound below which magnitudes stay finite in bfloat16.
const MaxBF16 = 3.38e38

// Widened is the first k rows of a bf16 matrix in f32, for kernels of that precision.
func (m *Matrix) Widened(k int) *Matrix {
	w := &Matrix{Precision: F32, K: k, N: m.N, F32: make([]float32, F32.Bytes(k, m.N)/4)}
	for n := 0; n < m.N; n += NR {
		width := NR
		if inHalf(n, m.N) {
			width = half
		}
		from, to := m.BF16[m.Index(0, n):], w.F32[w.Index(0, n):]
		for i := range k {
			out := to[i*width:][:width]
			in := from[i/2*2*width+i%2:]
			for j := range out {
				out[j] = math.Float32frombits(uint32(in[2*j]) << 16)
			}
		}
	}
	return w
}

// RoundBF16 rounds to nearest, ties to even, as the hardware conversion does for
// normal numbers; NaN stays a quiet NaN. (The hardware flushes denormals to zero;
// so does this, so that packed weights and converted activations agree.)
func RoundBF16(v float32) uint16 {
	b := math.Float32bits(v)
	switch {
	case b&0x7fffffff > 0x7f800000:
		return uint16(b>>16) | 0x40
	case b&0x7f800000 == 0:
		return uint16(b >> 16 & 0x8000)
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
