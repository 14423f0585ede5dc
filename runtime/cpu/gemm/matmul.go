package gemm

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// MatMul is a batch of f32 products of activations, C[i] = A[i]*B[i], where B is
// packed on the way. Matrix i of a batch starts at AOff[i], BOff[i] and COff[i],
// so that broadcast operands repeat an offset. It must not be run by two
// goroutines at a time.
type MatMul struct {
	Kernels          *Kernels
	M, N, K          int
	A, B, C          []float32
	AOff, BOff, COff []int
	AStride, CStride int // from one row of A, C to the next
	// Element (k, n) of B is at k*BK + n*BN: row-major has BN = 1, transposed BK = 1.
	BK, BN int

	grid   grid
	phase  int
	size   int             // floats of a packed B
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
	size := layout.F32.Bytes(m.K, m.N) / 4
	if m.whole(workers) {
		return workers * size
	}
	return len(m.COff) * size
}

// Run computes C. It fails only if a task panics.
func (m *MatMul) Run(r pool.Runner, scratch []float32) error {
	if m.M == 0 || m.N == 0 {
		return nil
	}
	m.size = layout.F32.Bytes(m.K, m.N) / 4
	count := len(m.COff)
	if m.whole(r.Workers()) {
		count = r.Workers()
	}
	if cap(m.packed) < count {
		m.packed = make([]layout.Matrix, count)
	}
	m.packed = m.packed[:count]
	for i := range m.packed {
		m.packed[i] = layout.Matrix{Precision: layout.F32, K: m.K, N: m.N, F32: scratch[i*m.size : (i+1)*m.size]}
	}
	if m.whole(r.Workers()) {
		m.phase = matmulWhole
		return r.Run(len(m.COff), m)
	}
	m.phase = matmulPack
	if err := r.Run(len(m.COff)*m.panels(), m); err != nil {
		return err
	}
	m.phase, m.grid = matmulParts, m.Kernels.divide(layout.F32, m.M, m.N, r.Workers())
	return r.Run(len(m.COff)*m.grid.tasks, m)
}

func (m *MatMul) panels() int { return (m.N + layout.NR - 1) / layout.NR }

// Do computes one task; it is for the pool.
func (m *MatMul) Do(i, worker int) {
	switch m.phase {
	case matmulWhole:
		b := &m.packed[worker]
		for p := range m.panels() {
			m.pack(b.F32, i, p)
		}
		m.multiply(b, i, 0, m.M, 0, m.N)
	case matmulPack:
		j := i / m.panels()
		m.pack(m.packed[j].F32, j, i%m.panels())
	default:
		j := i / m.grid.tasks
		m0, m1, n0, n1 := m.grid.at(i % m.grid.tasks)
		m.multiply(&m.packed[j], j, m0, m1, n0, n1)
	}
}

// multiply computes rows m0 to m1 and columns n0 to n1 of product i.
func (m *MatMul) multiply(b *layout.Matrix, i, m0, m1, n0, n1 int) {
	m.Kernels.Run(&Block{
		A: Operand{rows: Rows{Data: m.A[m.AOff[i]+m0*m.AStride:], Stride: m.AStride}}, M: m1 - m0,
		B: b, N0: n0, N1: n1, K1: m.K,
		C: Rows{Data: m.C[m.COff[i]+m0*m.CStride+n0:], Stride: m.CStride},
	})
}

// pack writes panel p of matrix i.
func (m *MatMul) pack(packed []float32, i, p int) {
	n0 := p * layout.NR
	width := min(layout.NR, m.N-n0)
	stride := layout.NR
	if layout.Cols(m.N)-n0 < layout.NR {
		stride = layout.NR / 2
	}
	dst := packed[n0*m.K : n0*m.K+m.K*stride]
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
