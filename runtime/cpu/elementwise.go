package cpu

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
)

// elementsPerTask is the length of a task of an elementwise kernel: 64 KB of operands,
// which stays in L1 and L2.
const elementsPerTask = 8 << 10

// unaryTask applies f to ranges.
type unaryTask struct {
	f      func(out, x []float32)
	x, out []float32
}

func (t *unaryTask) Do(i, _ int) {
	lo, hi := i*elementsPerTask, min((i+1)*elementsPerTask, len(t.x))
	t.f(t.out[lo:hi], t.x[lo:hi])
}

// unaryOps are the elementwise functions of one f32 input; the activations of package
// act run as vectors.
func unaryOps(b *Binding) func(out, x []float32) {
	vector := func(k act.Kind) func(out, x []float32) {
		ks := b.Device.gemm.Act()
		return func(out, x []float32) {
			copy(out, x)
			ks.Apply(k, out, 1)
		}
	}
	each := func(f func(float32) float32) func(out, x []float32) {
		return func(out, x []float32) {
			for i, v := range x {
				out[i] = f(v)
			}
		}
	}
	switch b.Step.Op.String() {
	case "Relu":
		return vector(act.Relu)
	case "Sigmoid":
		return vector(act.Sigmoid)
	case "Tanh":
		return vector(act.Tanh)
	case "Gelu":
		if a, ok := b.Step.Attrs.(*ops.GeluAttrs); ok && a.Approximate == "tanh" {
			return vector(act.GeluTanh)
		}
		return vector(act.Gelu)
	case "Neg":
		return each(func(v float32) float32 { return -v })
	case "Abs":
		return each(func(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) })
	case "Sqrt":
		return each(func(v float32) float32 { return float32(math.Sqrt(float64(v))) })
	case "Reciprocal":
		return each(func(v float32) float32 { return 1 / v })
	}
	return nil
}

func bindUnary(b *Binding) (Bound, error) {
	f := unaryOps(b)
	if f == nil {
		return Bound{}, fmt.Errorf("no elementwise kernel for %s", b.Step.Op)
	}
	t := &unaryTask{f: f}
	return Bound{Run: func(c *Call) error {
		t.x, t.out = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Outs[0])
		return b.Device.pool.Run((len(t.x)+elementsPerTask-1)/elementsPerTask, t)
	}}, nil
}

// binaryTask applies an arithmetic op to two broadcast operands: the output is cut into
// runs of the innermost dimensions, in which each operand is either contiguous or one
// element.
type binaryTask struct {
	op         func(out, x, y []float32)
	run        int // length of a run
	perTask    int // runs of a task
	runs       int
	outer      []int // dimensions above the run
	sx, sy     []int // strides of the operands over them
	oneX, oneY bool  // the operand is one element throughout a run
	x, y, out  []float32
	wideX      [][]float32 // per worker: a run's single element, repeated
	wideY      [][]float32
}

func (t *binaryTask) Do(i, worker int) {
	for r := i * t.perTask; r < min((i+1)*t.perTask, t.runs); r++ {
		ox, oy, rest := 0, 0, r
		for d := len(t.outer) - 1; d >= 0; d-- {
			at := rest % t.outer[d]
			rest /= t.outer[d]
			ox, oy = ox+at*t.sx[d], oy+at*t.sy[d]
		}
		for lo := 0; lo < t.run; lo += elementsPerTask {
			n := min(elementsPerTask, t.run-lo)
			out := t.out[r*t.run+lo : r*t.run+lo+n]
			t.op(out, operand(t.x, ox, lo, n, t.oneX, t.wideX, worker), operand(t.y, oy, lo, n, t.oneY, t.wideY, worker))
		}
	}
}

func operand(s []float32, at, lo, n int, one bool, wide [][]float32, worker int) []float32 {
	if !one {
		return s[at+lo : at+lo+n]
	}
	w := wide[worker][:n]
	for i := range w {
		w[i] = s[at]
	}
	return w
}

// binaryOps are the arithmetic ops on two f32 operands.
func binaryOps(b *Binding) func(out, x, y []float32) {
	switch b.Step.Op.String() {
	case "Add":
		return b.Device.rows.Add
	case "Mul":
		ks := b.Device.gemm.Act()
		return func(out, x, y []float32) {
			copy(out, x)
			ks.Mul(out, y)
		}
	case "Sub":
		return func(out, x, y []float32) {
			y = y[:len(out)]
			for i, v := range x[:len(out)] {
				out[i] = v - y[i]
			}
		}
	case "Div":
		return func(out, x, y []float32) {
			y = y[:len(out)]
			for i, v := range x[:len(out)] {
				out[i] = v / y[i]
			}
		}
	}
	return nil
}

func bindBinary(b *Binding) (Bound, error) {
	op := binaryOps(b)
	if op == nil {
		return Bound{}, fmt.Errorf("no elementwise kernel for %s", b.Step.Op)
	}
	shape := shapeOf(b.Outs[0])
	sx, sy := broadcastStrides(shapeOf(b.Ins[0]), shape), broadcastStrides(shapeOf(b.Ins[1]), shape)
	t := &binaryTask{op: op, run: 1, runs: 1}
	// A run grows inwards out while both operands go on as they began.
	d := len(shape)
	for ; d > 0; d-- {
		if n := shape[d-1]; n != 1 {
			okX := sx[d-1] == 0 && (t.run == 1 || t.oneX) || sx[d-1] == t.run && !(t.run > 1 && t.oneX)
			okY := sy[d-1] == 0 && (t.run == 1 || t.oneY) || sy[d-1] == t.run && !(t.run > 1 && t.oneY)
			if !okX || !okY {
				break
			}
			t.oneX, t.oneY = sx[d-1] == 0, sy[d-1] == 0
			t.run *= n
		}
	}
	if t.run == 1 {
		t.oneX, t.oneY = false, false // single elements are contiguous
	}
	t.outer, t.sx, t.sy = shape[:d], sx[:d], sy[:d]
	t.runs = tensor.NumElems(t.outer)
	t.perTask = max(1, elementsPerTask/max(t.run, 1))
	workers := b.Device.pool.Workers()
	for range workers {
		if t.oneX {
			t.wideX = append(t.wideX, make([]float32, min(t.run, elementsPerTask)))
		}
		if t.oneY {
			t.wideY = append(t.wideY, make([]float32, min(t.run, elementsPerTask)))
		}
	}
	tasks := (t.runs + t.perTask - 1) / t.perTask
	if tensor.NumElems(shape) == 0 {
		tasks = 0
	}
	if t.runs == 1 && t.run > elementsPerTask { // one long run: cut it
		t = splitRun(t)
		tasks = t.runs
	}
	return Bound{Run: func(c *Call) error {
		t.x, t.y, t.out = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Ins[1]), tensor.Data[float32](c.Outs[0])
		return b.Device.pool.Run(tasks, t)
	}}, nil
}

// splitRun turns one run into equal pieces where its length allows, so that threads
// share it.
func splitRun(t *binaryTask) *binaryTask {
	for piece := elementsPerTask; piece >= 256; piece-- {
		if t.run%piece != 0 {
			continue
		}
		stride := func(one bool) int {
			if one {
				return 0
			}
			return piece
		}
		t.outer, t.sx, t.sy = []int{t.run / piece}, []int{stride(t.oneX)}, []int{stride(t.oneY)}
		t.runs, t.run, t.perTask = t.run/piece, piece, 1
		break
	}
	return t
}

func broadcastStrides(shape, out []int) []int {
	s := make([]int, len(out))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 {
			s[i+len(out)-len(shape)] = n
		}
		n *= shape[i]
	}
	return s
}
