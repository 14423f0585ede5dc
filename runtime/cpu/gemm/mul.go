package gemm

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// Mul is C = Act(A*B + Bias) + Residual with packed B: a dense layer. Fill the
// fields, ask for Scratch once, and Run; a Mul may be run again with other data.
// It must not be run by two goroutines at a time.
type Mul struct {
	Kernels *Kernels
	A       Rows // M rows of B.K elements
	M       int
	B       *layout.Matrix
	C       Rows // M rows of B.N elements; must not overlap A
	// HalfA and HalfC, where they are set, stand for A and C: rows in bf16, two elements to a
	// word, B.K/2 and B.N/2 words apart. The fields must not change between Scratch and Run
	// in whether they are set. Not with Residual or Add.
	HalfA, HalfC []float32
	Bias         []float32 // B.N elements, or nil
	Act          act.Kind
	// Residual rows are added after the activation; none if its Data is nil. They
	// must not be those of C (Add does that, when there is no activation).
	Residual Rows
	Add      bool // start from C instead of from Bias; C += A*B when there is no Act

	grid    grid
	scratch []float32
}

// RowLimit bounds the rows of a task on matrices of precision p: 192 rows read a panel of
// B for 96 FLOPs a byte of f32, and 192 x 768 activations stay in L2; 96 measured 1 %
// slower, 48 3 %. Tiles are ten times as fast, so that what one core gets from L3 binds
// before: MLPs of 1024 and 2048 took 4 and 11 % less with 512 rows than with 256.
func (k *Kernels) RowLimit(p layout.Precision) int {
	if p == layout.BF16 && k.Tiled(p) {
		return 512
	}
	return 192
}

// Tiled reports whether products at precision p run on tile registers.
func (k *Kernels) Tiled(p layout.Precision) bool { return k.variant(p) == amx }

// grid is a division of an M x N result among workers.
type grid struct {
	m, n       int
	rows, cols int // of a task
	across     int // tasks along n
	tasks      int
}

// divide cuts an m x n result for w workers: by rows if each gets two tiles of
// them at least, else by columns, so that few rows read the weights only once.
func (k *Kernels) divide(p layout.Precision, m, n, w int) grid {
	if m == 0 || n == 0 {
		return grid{}
	}
	g := grid{m: m, n: n, cols: n, across: 1}
	if m >= 2*maxRows*w || w == 1 {
		g.rows = k.TaskRows(p, m, k.RowLimit(p), w)
		g.tasks = (m + g.rows - 1) / g.rows
		return g
	}
	panels := (n + layout.NR - 1) / layout.NR
	g.cols = (panels + w - 1) / w * layout.NR
	g.across = (n + g.cols - 1) / g.cols
	g.rows, g.tasks = m, g.across
	return g
}

// TaskRows cuts m rows into tasks for a number of workers, of about equal size and at most
// limit rows or just above, and returns the rows of a task: on one thread whole tiles, so
// that only the last task ends in a part of one; on several a multiple of four, which
// keeps the shares even and is a size of tile too, or of sixteen where those are tile
// registers.
func (k *Kernels) TaskRows(p layout.Precision, m, limit, workers int) int {
	if m <= 0 {
		return 0
	}
	tasks := (m + limit*workers - 1) / (limit * workers) * workers
	unit := maxRows
	switch tiled := k.Tiled(p); {
	case tiled && workers > 1:
		unit = 16
	case tiled:
		unit = 32
	case workers > 1:
		unit = 4
	}
	rows := (m + tasks - 1) / tasks
	return min(m, (rows+unit-1)/unit*unit)
}

// at is the part of the result that task i computes.
func (g *grid) at(i int) (m0, m1, n0, n1 int) {
	m0, n0 = i/g.across*g.rows, i%g.across*g.cols
	return m0, min(m0+g.rows, g.m), n0, min(n0+g.cols, g.n)
}

// workers is how many of w threads the product is worth.
func (m *Mul) workers(w int) int {
	k, n := float64(m.B.K), float64(m.B.N)
	if m.Kernels.Serial(m.B.Precision, 2*float64(m.M)*k*n, float64(m.B.Precision.Bytes(m.B.K, m.B.N))) {
		return 1
	}
	return w
}

// Scratch is the number of floats that Run takes with a number of workers.
func (m *Mul) Scratch(workers int) int {
	g := m.Kernels.divide(m.B.Precision, m.M, m.B.N, m.workers(workers))
	return workers * m.per(g)
}

// per is the floats of scratch of a worker: rows of A as the product takes them, before that as f32
// where they are bf16 and the product takes another form, and sums that become bf16.
func (m *Mul) per(g grid) int {
	n := m.operandLen(g)
	if m.HalfC != nil {
		n += g.rows * min(halfColumns, g.cols)
	}
	return n
}

func (m *Mul) operandLen(g grid) int {
	switch p := m.B.Precision; {
	case m.HalfA == nil:
		return m.Kernels.OperandLen(p, g.rows, m.B.K)
	case m.direct():
		return 0
	default:
		return g.rows*m.B.K + m.Kernels.OperandLen(p, g.rows, m.B.K)
	}
}

// direct reports whether the product takes rows in bf16 as they are.
func (m *Mul) direct() bool { return m.B.Precision == layout.BF16 && m.Kernels.Native(layout.BF16) }

// halfColumns is the number of columns at a time of a result in bf16, of which kernels that
// do not round themselves leave f32 in between.
const halfColumns = 8 * layout.NR

// operand is rows m0 to m1 of A.
func (m *Mul) operand(m0, m1 int, scratch []float32) Operand {
	p, k := m.B.Precision, m.B.K
	if m.HalfA == nil {
		return m.Kernels.Prepare(p, m.A.From(m0), m1-m0, k, nil, scratch)
	}
	rows := m.HalfA[m0*(k/2) : m1*(k/2)]
	if m.direct() {
		return Windows(rows, k/2, nil, 0)
	}
	wide := scratch[:(m1-m0)*k]
	m.Kernels.WidenBF16(wide, halves(rows))
	return m.Kernels.Prepare(p, Rows{Data: wide, Stride: k}, m1-m0, k, nil, scratch[len(wide):])
}

// Run computes C. It fails only if a task panics.
func (m *Mul) Run(r pool.Runner, scratch []float32) error {
	m.grid = m.Kernels.divide(m.B.Precision, m.M, m.B.N, m.workers(r.Workers()))
	m.scratch = scratch
	return r.Run(m.grid.tasks, m)
}

// Do computes one task; it is for the pool.
func (m *Mul) Do(i, worker int) {
	m0, m1, n0, n1 := m.grid.at(i)
	size := m.per(m.grid)
	scratch := m.scratch[worker*size : (worker+1)*size]
	b := Block{
		A: m.operand(m0, m1, scratch), M: m1 - m0, B: m.B, K1: m.B.K, Bias: m.Bias, Add: m.Add, Act: m.Act,
	}
	var c Rows
	if m.HalfC == nil {
		c = m.C.From(m0)
	}
	step := n1 - n0
	if m.Residual.Data != nil {
		// The second pass over C finds it in L2.
		step = 8 * layout.NR
	}
	if m.HalfC != nil {
		step = halfColumns
		b.Into = Windows(m.HalfC[m0*(m.B.N/2):], m.B.N/2, nil, 0)
	}
	for n := n0; n < n1; n += step {
		b.N0, b.N1 = n, min(n+step, n1)
		if m.HalfC != nil {
			b.IntoCol = n
			b.C = Rows{Data: scratch[m.operandLen(m.grid):], Stride: b.N1 - n}
		} else {
			b.C = Rows{Data: c.Data[min(n, len(c.Data)):], Stride: c.Stride, Index: c.Index}
		}
		m.Kernels.Run(&b)
		if m.Residual.Data != nil {
			m.addResidual(m0, m1, b.N0, b.N1)
		}
	}
}

// addResidual adds the residual to a part of C.
func (m *Mul) addResidual(m0, m1, n0, n1 int) {
	for i := m0; i < m1; i++ {
		at, from := m.C.At(i), m.Residual.At(i)
		m.Kernels.act.Add(m.C.Data[at+n0:at+n1], m.Residual.Data[from+n0:from+n1])
	}
}
