package cuda

import (
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// cumSum is a running sum along an axis.
func (l *Lowering) cumSum(n *ir.Node) (*Choice, error) {
	x := n.Inputs[0]
	dt, err := l.storage(x.Type.DType)
	if err != nil {
		return nil, err
	}
	axis, ok := scalarOf(n.Inputs[1])
	if !ok {
		return nil, decline("a running sum along a computed axis")
	}
	d := l.dims.of(x)
	at := axisOf(int64(axis), len(d))
	a := n.Attrs.(*ops.CumulativeAttrs)
	return l.launch(n, ptx.CumSum{Outer: ptx.Elems(d[:at]), D: d[at], Inner: ptx.Elems(d[at+1:]), DType: dt, Exclusive: a.Exclusive, Reverse: a.Reverse}, x)
}

// recurrentFns are the activations of recurrent layers that take no parameters.
var recurrentFns = map[string]ptx.Fn{"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu", "Softsign": "softsign", "Softplus": "softplus"}

// recurrent is an RNN, GRU or LSTM: one product for all steps' inputs, one launch that walks the steps.
func (l *Lowering) recurrent(n *ir.Node) (*Choice, error) {
	for i, v := range n.Inputs {
		if v != nil && (i == 4 || v.Type.DType != tensor.F32) {
			return nil, decline("a recurrent layer with lengths per sequence, or not of f32")
		}
	}
	a := n.Attrs.(*ops.RecurrentAttrs)
	if a.Layout != 0 || len(a.ActivationAlpha)+len(a.ActivationBeta) > 0 {
		return nil, decline("a recurrent layer with the batch first, or with parameters of its activations")
	}
	s := ptx.Recurrent{Kind: n.Op.Name, Math: l.f32Math()}
	switch a.Direction {
	case "forward":
		s.Reverse = []bool{false}
	case "reverse":
		s.Reverse = []bool{true}
	default:
		s.Reverse = []bool{false, true}
	}
	acts := map[string][]string{"RNN": {"Tanh"}, "GRU": {"Sigmoid", "Tanh"}, "LSTM": {"Sigmoid", "Tanh", "Tanh"}}[s.Kind]
	if len(a.Activations) > 0 {
		if len(a.Activations) != len(acts)*len(s.Reverse) {
			return nil, decline("a recurrent layer of %d activations", len(a.Activations))
		}
		for i, x := range a.Activations {
			if x != a.Activations[i%len(acts)] {
				return nil, decline("directions of different activations")
			}
		}
		acts = a.Activations[:len(acts)]
	}
	for _, x := range acts {
		fn, ok := recurrentFns[x]
		if !ok {
			return nil, decline("no kernel function for activation %q", x)
		}
		s.Acts = append(s.Acts, fn)
	}
	if a.Clip != nil {
		s.Clip = *a.Clip
	}
	s.LinearBeforeReset = a.LinearBeforeReset != nil && *a.LinearBeforeReset != 0
	s.CoupledForget = a.InputForget != nil && *a.InputForget != 0
	c := &Choice{Kernel: plan.KernelLaunch, Pack: map[int]*plan.Const{}}
	p := &parameters{l: l, n: n, c: c}
	x := n.Inputs[0]
	d := l.dims.of(x)
	s.Seq, s.Batch = d[0], d[1]
	s.In, s.Hidden = p.shape(1)[2], p.shape(2)[2]
	src := sources{operands: map[string]Operand{}, numbers: map[string][]float32{"w": p.data(1), "r": p.data(2)}}
	bias := make([]float32, 2*len(p.data(1))/max(s.In, 1))
	if b := p.data(3); b != nil {
		bias = b
	}
	if peep := p.data(7); peep != nil {
		s.Peep = true
		src.numbers["peep"] = peep
	}
	if p.err != nil {
		return nil, p.err
	}
	src.numbers["bias"], src.numbers["r_bias"] = s.FoldBias(bias)
	for i, name := range []string{0: "x", 5: "init_h", 6: "init_c"} {
		v := input(n, i)
		if v == nil || name == "" {
			continue
		}
		o, err := l.inF32(c, v)
		if err != nil {
			return nil, err
		}
		src.operands[name] = o
	}
	s.InitH, s.InitC = input(n, 5) != nil, input(n, 6) != nil
	op, err := s.Op()
	if err != nil {
		return nil, decline("%v", err)
	}
	names := []string{"y", "y_h", "y_c"}
	for i, name := range names {
		b, ok := op.Buffer(name)
		switch {
		case !ok:
		case l.present(n, i) && l.float == tensor.F32:
			src.operands[name] = Operand{Value: n.Outputs[i]}
		default: // nobody reads it, or not as f32
			src.operands[name] = Operand{Temp: len(c.Temps)}
			c.Temps = append(c.Temps, plan.Temp{Bytes: b.Elems.MulN(b.DType.Size()).String()})
		}
	}
	if err := l.addOp(c, n, op, src); err != nil || l.float == tensor.F32 {
		return c, err
	}
	for i, name := range names {
		if _, ok := op.Buffer(name); ok && l.present(n, i) {
			v := n.Outputs[i]
			if err := l.convertTo(c, ptx.Elems(l.dims.of(v)), src.operands[name], tensor.F32, Operand{Value: v}, l.float); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// f32Math is how products of f32 are computed, whatever the target's precision.
func (l *Lowering) f32Math() ptx.Math {
	if gpu := l.planner.GPU; gpu.TF32*gpu.MMASync/3 > gpu.FP32 {
		return ptx.TF32x3
	}
	return ptx.Exact
}

// inF32 is a value as f32: itself, or a temporary that a launch of the choice converts it to. A recurrent layer keeps
// its state in f32, for it feeds every rounding back.
func (l *Lowering) inF32(c *Choice, v *ir.Value) (Operand, error) {
	o, err := l.operand(v)
	if err != nil || l.float == tensor.F32 {
		return o, err
	}
	n := ptx.Elems(l.dims.of(v))
	to := Operand{Temp: len(c.Temps)}
	c.Temps = append(c.Temps, plan.Temp{Bytes: n.MulN(tensor.F32.Size()).String()})
	return to, l.convertTo(c, n, o, l.float, to, tensor.F32)
}

// convertTo appends the launch that copies n elements from one type to another.
func (l *Lowering) convertTo(c *Choice, n ptx.Expr, from Operand, a tensor.DType, to Operand, b tensor.DType) error {
	var p ptx.Program
	p.Out(p.In(a), b)
	all := ptx.Contiguous([]ptx.Expr{n})
	k, err := emit(ptx.Elementwise{Name: "convert", Shape: []ptx.Expr{n}, Inputs: []ptx.View{all}, Outputs: []ptx.View{all}, Prog: p})
	if err != nil {
		return err
	}
	c.Launches = append(c.Launches, Launch{Kernel: k, Args: []Operand{from, to}})
	return nil
}

// gatherND picks slices by tuples of indices.
func (l *Lowering) gatherND(n *ir.Node) (*Choice, error) {
	x, index := n.Inputs[0], n.Inputs[1]
	dt, err := l.storage(x.Type.DType)
	if err != nil {
		return nil, err
	}
	if index.Type.DType != tensor.I64 || n.Attrs.(*ops.GatherNDAttrs).BatchDims != 0 {
		return nil, decline("GatherND in batches, or by %s", index.Type.DType)
	}
	d, id := l.dims.of(x), l.dims.of(index)
	depth, err := constDim(id[len(id)-1])
	if err != nil {
		return nil, err
	}
	if depth > len(d) {
		return nil, decline("GatherND of %d axes of %d", depth, len(d))
	}
	return l.launch(n, ptx.GatherND{Axes: d[:depth], Inner: ptx.Elems(d[depth:]), Count: ptx.Elems(id[:len(id)-1]), DType: dt}, x, index)
}
