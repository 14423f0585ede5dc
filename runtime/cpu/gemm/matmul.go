package gemm

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// MatMul is a batch of products of f32 activations, C[i] = A[i]*B[i], where B is
// packed on the way. Matrix i of a batch starts at AOff[i], BOff[i] and COff[i],
// so that broadcast operands repeat an offset. It must not be run by two
// goroutines at a time.
type MatMul struct {
	Kernels          *Kernels
	Precision        layout.Precision // to which A and B are rounded: F32, or BF16 where [Kernels.Native]
	M, N, K          int
	A, B, C          []float32
	AOff, BOff, COff []int
	AStride, CStride int // from one row of A, C to the next
	// Element (k, n) of B is at k*BK + n*BN: row-major has BN = 1, transposed BK = 1.
	BK, BN int

	grid   grid
	phase  int
	size   int             // floats of a packed B
	rows   []float32       // of each worker: rows of A as the product takes them
	packed []layout.Matrix // of each worker, or of each product; kept from run to run
}

// The phases of a MatMul: whole products, or packing and then parts of products.
const (
	matmulWhole = iota
	matmulPack
	matmulParts
)

// whole reports whether each task is a product: there are enough of them.
func (m *MatMul) whole(workers int) bool { return len(m.COff) >= 2*workers || workers == 1 }

// Scratch is the number of floats that Run takes with a number of workers.
func (m *MatMul) Scratch(workers int) int {
	size := m.Precision.Bytes(m.K, m.N) / 4
	if m.whole(workers) {
		return workers * (size + m.operandLen(m.M))
	}
	return len(m.COff)*size + workers*m.operandLen(m.Kernels.divide(m.Precision, m.M, m.N, workers).rows)
}

// operandLen is the number of floats of so many rows of A as the product takes them.
func (m *MatMul) operandLen(rows int) int {
	return (m.Kernels.OperandLen(m.Precision, rows, m.K) + 15) &^ 15
}

// Run computes C. It fails only if a task panics.
func (m *MatMul) Run(r pool.Runner, scratch []float32) error {
	if m.M == 0 || m.N == 0 {
		return nil
	}
	m.size = m.Precision.Bytes(m.K, m.N) / 4
	count := len(m.COff)
	if m.whole(r.Workers()) {
		count = r.Workers()
	}
	if cap(m.packed) < count {
		m.packed = make([]layout.Matrix, count)
	}
	m.packed = m.packed[:count]
	for i := range m.packed {
		m.packed[i] = m.matrix(scratch[i*m.size : (i+1)*m.size])
	}
	m.rows = scratch[count*m.size:]
	if m.whole(r.Workers()) {
		m.phase = matmulWhole
		return r.Run(len(m.COff), m)
	}
	m.phase = matmulPack
	if err := r.Run(len(m.COff)*m.panels(), m); err != nil {
		return err
	}
	m.phase, m.grid = matmulParts, m.Kernels.divide(m.Precision, m.M, m.N, r.Workers())
	return r.Run(len(m.COff)*m.grid.tasks, m)
}

// matrix views packed floats as a right side.
func (m *MatMul) matrix(packed []float32) layout.Matrix {
	b := layout.Matrix{Precision: m.Precision, K: m.K, N: m.N}
	if m.Precision == layout.BF16 {
		b.BF16 = unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(packed))), 2*len(packed))
	} else {
		b.F32 = packed
	}
	return b
}

func (m *MatMul) panels() int { return (m.N + layout.NR - 1) / layout.NR }

// Do computes one task; it is for the pool.
func (m *MatMul) Do(i, worker int) {
	switch m.phase {
	case matmulWhole:
		b := &m.packed[worker]
		for p := range m.panels() {
			m.pack(b, i, p)
		}
		m.multiply(b, i, worker, m.M, 0, m.M, 0, m.N)
	case matmulPack:
		j := i / m.panels()
		m.pack(&m.packed[j], j, i%m.panels())
	default:
		j := i / m.grid.tasks
		m0, m1, n0, n1 := m.grid.at(i % m.grid.tasks)
		m.multiply(&m.packed[j], j, worker, m.grid.rows, m0, m1, n0, n1)
	}
}

// multiply computes rows m0 to m1, at most so many, and columns n0 to n1 of product i.
func (m *MatMul) multiply(b *layout.Matrix, i, worker, most, m0, m1, n0, n1 int) {
	n := m.operandLen(most)
	rows := Rows{Data: m.A[m.AOff[i]+m0*m.AStride:], Stride: m.AStride}
	m.Kernels.Run(&Block{
		A: m.Kernels.Prepare(m.Precision, rows, m1-m0, m.K, nil, m.rows[worker*n:(worker+1)*n]), M: m1 - m0,
		B: b, N0: n0, N1: n1, K1: m.K,
		C: Rows{Data: m.C[m.COff[i]+m0*m.CStride+n0:], Stride: m.CStride},
	})
}

// pack writes panel p of matrix i.
func (m *MatMul) pack(b *layout.Matrix, i, p int) {
	n0, steps := p*layout.NR, m.Precision.Steps(m.K)
	width := min(layout.NR, m.N-n0)
	stride := layout.NR
	if layout.Cols(m.N)-n0 < layout.NR {
		stride = layout.NR / 2
	}
	from, to := n0*steps, (n0+stride)*steps // words of four bytes
	if m.Precision == layout.BF16 {
		m.packBF16(b.BF16[2*from:2*to], m.B[m.BOff[i]+n0*m.BN:], width, stride)
		return
	}
	dst := b.F32[from:to]
	if m.BN == 1 {
		for k := range m.K {
			at := m.BOff[i] + k*m.BK + n0
			row := dst[k*stride : (k+1)*stride]
			copy(row, m.B[at:at+width])
			clear(row[width:])
		}
		return
	}
	for j := range width {
		at := m.BOff[i] + (n0+j)*m.BN
		if m.BK == 1 {
			for k, v := range m.B[at : at+m.K] {
				dst[k*stride+j] = v
			}
			continue
		}
		for k := range m.K {
			dst[k*stride+j] = m.B[at+k*m.BK]
		}
	}
	for j := width; j < stride; j++ {
		for k := range m.K {
			dst[k*stride+j] = 0
		}
	}
}

// packBF16 writes a panel of width columns from x on, rounded, pairs of k side by side.
func (m *MatMul) packBF16(panel []uint16, x []float32, width, stride int) {
	if width < stride || m.BN != 1 {
		clear(panel)
	}
	if m.BN == 1 {
		words := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(panel))), len(panel)/2)
		m.Kernels.PairBF16(words, stride, x, m.BK, m.K, width)
		return
	}
	for k := range m.K {
		for j := range width {
			panel[k/2*2*stride+2*j+k%2] = layout.RoundBF16(x[k*m.BK+j*m.BN])
		}
	}
}
