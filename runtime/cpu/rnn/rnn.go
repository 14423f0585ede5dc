// Package rnn runs recurrent layers: RNN, GRU and LSTM, in one direction or both. States and gates
// are f32; the products are at the precision of their weights.
//
// The inputs of all steps are projected by one product per direction; a step then adds
// the recurrent product to the rows of that step in place and applies the gates. The
// recurrent weights are packed gate by gate, so that a range of units is a task of its
// own: its gates need nothing of other units but the step's old state. Where the weights
// are small or rows are many, a thread takes rows through all steps instead, and no two
// threads ever wait for each other.
//
// What a row gets does not depend on how the work is cut, nor on other rows.
package rnn

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// Cell is the kind of a layer's unit.
type Cell uint8

// The cells.
const (
	Plain Cell = iota // one gate
	GRU               // z, r, h
	LSTM              // i, o, f, c
)

// Gates is the number of matrices of a direction.
func (c Cell) Gates() int { return [...]int{1, 3, 4}[c] }

// Layer is a recurrent layer as ONNX defines it, G gates per cell. Fill the sizes and
// weights, ask for Scratch, set the operands, and Run; it must not be run by two
// goroutines at a time.
type Layer struct {
	Kernels                       *gemm.Kernels
	Cell                          Cell
	Act                           act.Kind // of a Plain cell
	Linear                        bool     // GRU: reset after the recurrent product
	Coupled                       bool     // LSTM: the forget gate is 1 - the input gate
	Reverse                       bool     // the first direction runs backwards
	BatchFirst                    bool     // operands as under layout 1
	Clip                          float32  // bound of the gates' inputs, 0 for none
	Seq, Batch, In, Hidden, Dirs  int
	W                             []*layout.Matrix // of each direction, In x G*Hidden
	R                             []*layout.Matrix // of each direction and gate, Hidden x Hidden
	X, B, InitH, InitC, Peepholes []float32        // B, InitH, InitC and Peepholes may be nil
	Lens                          []int32          // steps of each row, nil for all
	Y, YH, YC                     []float32        // nil where not wanted

	proj     []gemm.Mul // of each direction
	workers  []worker
	wide     bool // tasks are ranges of units of one step
	cuts     int  // of the units, or of the rows
	step     int
	part     int
	p        []float32 // [Dirs, steps and rows as in X, G*Hidden]
	bias     []float32 // [Dirs, G*Hidden]
	h        [2][]float32
	c, reset []float32 // [Dirs, Batch, Hidden]
}

// worker is what a thread needs for a step.
type worker struct {
	from, to []int32 // rows of the state, and their rows of p
	t        []int32 // and their times
	block    gemm.Block
	state    []float32 // the rows of the state at the precision of the weights
}

// Check reports sizes that do not fit each other.
func (v *Layer) Check() error {
	g := v.Cell.Gates()
	if len(v.W) != v.Dirs || len(v.R) != v.Dirs*g {
		return fmt.Errorf("rnn: %d and %d matrices for %d directions", len(v.W), len(v.R), v.Dirs)
	}
	for _, w := range v.W {
		if w.K != v.In || w.N != g*v.Hidden {
			return fmt.Errorf("rnn: input weights %d x %d, want %d x %d", w.K, w.N, v.In, g*v.Hidden)
		}
	}
	for _, r := range v.R {
		if r.K != v.Hidden || r.N != v.Hidden {
			return fmt.Errorf("rnn: recurrent weights %d x %d for %d units", r.K, r.N, v.Hidden)
		}
	}
	return nil
}

// plan cuts the steps for a number of workers.
func (v *Layer) plan(workers int) {
	p := v.precision()
	bytes := p.Bytes(v.Hidden, v.Hidden) * v.Cell.Gates()
	rows := max(1, min(v.Batch, (workers+v.Dirs-1)/v.Dirs))
	v.cuts, v.wide = rows, false
	if workers == 1 {
		v.cuts = 1
		return
	}
	flops := 2 * float64(v.Dirs*v.Batch) * float64(v.Hidden*v.Hidden*v.Cell.Gates())
	few := v.Dirs*rows < workers && !v.Kernels.Serial(p, flops, float64(v.Dirs*bytes))
	if panels := (v.Hidden + layout.NR - 1) / layout.NR; few || bytes > 1<<20 {
		v.cuts, v.wide = max(1, min(panels, (workers+v.Dirs-1)/v.Dirs)), true
	}
}

// precision is that of the recurrent weights.
func (v *Layer) precision() layout.Precision {
	if len(v.R) == 0 {
		return layout.F32
	}
	return v.R[0].Precision
}

// stateLen is the number of floats of a worker's copy of the state.
func (v *Layer) stateLen() int {
	return (v.Kernels.OperandLen(v.precision(), v.Batch, v.Hidden) + 15) &^ 15
}

func (v *Layer) sizes() (p, bias, state int) {
	g := v.Cell.Gates() * v.Hidden
	return v.Dirs * v.Seq * v.Batch * g, v.Dirs * g, v.Dirs * v.Batch * v.Hidden
}

// Scratch is the number of floats that Run takes with a number of workers.
func (v *Layer) Scratch(workers int) int {
	p, bias, state := v.sizes()
	n := (p+bias+4*state+15)&^15 + workers*v.stateLen()
	v.workers, v.proj = make([]worker, workers), make([]gemm.Mul, v.Dirs)
	for i := range v.workers {
		v.workers[i] = worker{from: make([]int32, v.Batch), to: make([]int32, v.Batch), t: make([]int32, v.Batch)}
	}
	for d := range v.proj {
		v.proj[d] = gemm.Mul{Kernels: v.Kernels, M: v.Seq * v.Batch, B: v.W[d]}
	}
	if v.Dirs > 0 {
		n += v.proj[0].Scratch(workers)
	}
	return n
}

// Run computes Y, YH and YC. It fails only if a task panics.
func (v *Layer) Run(r pool.Runner, scratch []float32) error {
	np, nb, ns := v.sizes()
	take := func(n int) []float32 {
		s := scratch[:n]
		scratch = scratch[n:]
		return s
	}
	v.p, v.bias = take(np), take(nb)
	v.h[0], v.h[1], v.c, v.reset = take(ns), take(ns), take(ns), take(ns)
	take(-(np + nb + 4*ns) & 15)
	for i := range v.workers {
		v.workers[i].state = take(v.stateLen())
	}
	v.begin()
	g := v.Cell.Gates() * v.Hidden
	for d := range v.Dirs {
		m := &v.proj[d]
		m.A, m.C = gemm.Rows{Data: v.X, Stride: v.In}, gemm.Rows{Data: v.p[d*v.Seq*v.Batch*g:], Stride: g}
		m.Bias = v.bias[d*g : (d+1)*g]
		if err := m.Run(r, scratch); err != nil {
			return err
		}
	}
	v.plan(r.Workers())
	if !v.wide {
		if err := r.Run(v.Dirs*v.cuts, v); err != nil {
			return err
		}
		v.end(v.Seq)
		return nil
	}
	for v.step = range v.Seq {
		for v.part = range v.parts() {
			if err := r.Run(v.Dirs*v.cuts, v); err != nil {
				return err
			}
		}
	}
	v.end(v.Seq)
	return nil
}

// parts is the number of phases of a step: a GRU's candidate needs the reset state of
// all units.
func (v *Layer) parts() int {
	if v.Cell == GRU && !v.Linear {
		return 2
	}
	return 1
}

// Do does one task; it is for the pool.
func (v *Layer) Do(i, w int) {
	d, cut := i/v.cuts, i%v.cuts
	if v.wide {
		panels := (v.Hidden + layout.NR - 1) / layout.NR
		u0, u1 := cut*panels/v.cuts*layout.NR, min((cut+1)*panels/v.cuts*layout.NR, v.Hidden)
		v.units(&v.workers[w], d, v.step, v.part, 0, v.Batch, u0, u1)
		return
	}
	for s := range v.Seq {
		for part := range v.parts() {
			v.units(&v.workers[w], d, s, part, cut*v.Batch/v.cuts, (cut+1)*v.Batch/v.cuts, 0, v.Hidden)
		}
	}
}

// begin sets the first state and adds up the biases that meet before any gate.
func (v *Layer) begin() {
	n, g := v.Hidden, v.Cell.Gates()*v.Hidden
	clear(v.bias)
	for d := range v.Dirs {
		if v.B == nil {
			continue
		}
		b, own := v.B[d*2*g:(d+1)*2*g], v.bias[d*g:(d+1)*g]
		copy(own, b[:g])
		both := g
		if v.Cell == GRU && v.Linear {
			both = 2 * n // the candidate's recurrent bias is reset with its product
		}
		for i := range both {
			own[i] += b[g+i]
		}
	}
	v.load(v.h[0], v.InitH)
	v.load(v.c, v.InitC)
	if v.Lens != nil {
		clear(v.Y)
	}
	for d := range v.Dirs {
		for r := range v.Batch {
			if at := (d*v.Batch + r) * n; v.steps(r) == 0 { // a row without steps ends at 0
				clear(v.h[0][at : at+n])
				clear(v.c[at : at+n])
			}
		}
	}
}

// steps is the number of steps of row r.
func (v *Layer) steps(r int) int {
	if v.Lens != nil {
		return int(v.Lens[r])
	}
	return v.Seq
}

// load reads a state as [Dirs, Batch, Hidden].
func (v *Layer) load(dst, src []float32) {
	if src == nil {
		clear(dst)
		return
	}
	for d := range v.Dirs {
		for r := range v.Batch {
			copy(dst[(d*v.Batch+r)*v.Hidden:][:v.Hidden], src[v.stateAt(d, r):])
		}
	}
}

// stateAt is where row r of direction d lies in a state operand.
func (v *Layer) stateAt(d, r int) int {
	if v.BatchFirst {
		return (r*v.Dirs + d) * v.Hidden
	}
	return (d*v.Batch + r) * v.Hidden
}

// end writes the last state, after so many steps.
func (v *Layer) end(steps int) {
	for _, o := range []struct{ dst, src []float32 }{{v.YH, v.h[steps&1]}, {v.YC, v.c}} {
		if o.dst == nil {
			continue
		}
		for d := range v.Dirs {
			for r := range v.Batch {
				copy(o.dst[v.stateAt(d, r):][:v.Hidden], o.src[(d*v.Batch+r)*v.Hidden:])
			}
		}
	}
}
