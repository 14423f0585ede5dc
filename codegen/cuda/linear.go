package cuda

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

type rule func(*Lowering, *ir.Node) (*Choice, error)

// rules lists the ops that have kernels of their own; the others are elementwise, move elements, or run on the host.
func rules() map[string]rule {
	return map[string]rule{
		"MatMul":                (*Lowering).matmul,
		"moec::Linear":          (*Lowering).linear,
		"moec::Attention":       (*Lowering).attention,
		"moec::MLP":             (*Lowering).mlp,
		"moec::GatedMLP":        (*Lowering).mlp,
		"moec::TopKMLP":         (*Lowering).mlp,
		"moec::MoE":             (*Lowering).moe,
		"moec::PKM":             (*Lowering).pkm,
		"moec::Rotary":          (*Lowering).rotary,
		"LayerNormalization":    (*Lowering).norm,
		"RMSNormalization":      (*Lowering).norm,
		"moec::SkipNorm":        (*Lowering).norm,
		"InstanceNormalization": (*Lowering).instanceNorm,
		"Softmax":               (*Lowering).softmax,
		"LogSoftmax":            (*Lowering).softmax,
		"ReduceSum":             (*Lowering).reduce,
		"ReduceMean":            (*Lowering).reduce,
		"ReduceMax":             (*Lowering).reduce,
		"ReduceMin":             (*Lowering).reduce,
		"ReduceProd":            (*Lowering).reduce,
		"ReduceL1":              (*Lowering).reduce,
		"ReduceL2":              (*Lowering).reduce,
		"ReduceSumSquare":       (*Lowering).reduce,
		"ReduceLogSum":          (*Lowering).reduce,
		"ReduceLogSumExp":       (*Lowering).reduce,
		"ArgMax":                (*Lowering).argReduce,
		"ArgMin":                (*Lowering).argReduce,
		"GlobalAveragePool":     (*Lowering).globalPool,
		"GlobalMaxPool":         (*Lowering).globalPool,
		"MaxPool":               (*Lowering).pool,
		"AveragePool":           (*Lowering).pool,
		"Conv":                  (*Lowering).conv,
		"moec::Conv":            (*Lowering).conv,
		"Gather":                (*Lowering).gather,
		"GatherND":              (*Lowering).gatherND,
		"GatherElements":        (*Lowering).gatherElements,
		"ScatterElements":       (*Lowering).scatterElements,
		"ScatterND":             (*Lowering).scatterND,
		"TopK":                  (*Lowering).topK,
		"Pad":                   (*Lowering).pad,
		"Tile":                  (*Lowering).repeat,
		"Trilu":                 (*Lowering).trilu,
		"OneHot":                (*Lowering).oneHot,
		"ConvTranspose":         (*Lowering).convTranspose,
		"CumSum":                (*Lowering).cumSum,
		"RNN":                   (*Lowering).recurrent,
		"GRU":                   (*Lowering).recurrent,
		"LSTM":                  (*Lowering).recurrent,
	}
}

// allF32 declines nodes with an input or output that is not f32.
func allF32(n *ir.Node) error {
	for _, v := range append(append([]*ir.Value{}, n.Inputs...), n.Outputs...) {
		if v != nil && v.Type.DType != tensor.F32 {
			return decline("no kernel for %s of %s", n.Op, v.Type.DType)
		}
	}
	return nil
}

// oneFloat is the type in device memory of a node's values, which are all f32 or all f64; others are declined.
func (l *Lowering) oneFloat(n *ir.Node) (tensor.DType, error) {
	if x := n.Inputs[0]; x == nil || x.Type.DType != tensor.F64 {
		return l.float, allF32(n)
	}
	for _, v := range append(append([]*ir.Value{}, n.Inputs...), n.Outputs...) {
		if v != nil && v.Type.DType != tensor.F64 {
			return tensor.F64, decline("no kernel for %s of f64 and %s", n.Op, v.Type.DType)
		}
	}
	return tensor.F64, nil
}

func input(n *ir.Node, i int) *ir.Value {
	if i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return nil
}

// present reports an output that somebody reads.
func (l *Lowering) present(n *ir.Node, i int) bool {
	return i < len(n.Outputs) && n.Outputs[i] != nil && (len(n.Outputs[i].Users()) > 0 || l.g.IsOutput(n.Outputs[i]))
}

// linear is one product with its epilogue, or several of the same input in one launch.
func (l *Lowering) linear(n *ir.Node) (*Choice, error) {
	if parts := l.siblings(n); len(parts) > 1 {
		return l.parts(n, parts)
	}
	float, err := l.oneFloat(n)
	if err != nil {
		return nil, err
	}
	xd, wd := l.dims.of(n.Inputs[0]), l.dims.of(n.Inputs[1])
	if len(wd) != 2 || len(xd) < 1 {
		return nil, decline("a product of ranks %d and %d", len(xd), len(wd))
	}
	rows := ptx.Elems(xd[:len(xd)-1])
	if float == tensor.F64 { // one kernel for all sizes
		return l.linearFor(n, rows, float, l.planner, nil)
	}
	return l.variants(rows, l.planner.GemmCuts(l.math, 1, l.dims.estimate(wd[1]), l.dims.estimate(wd[0])), func(pl ptx.Planner) (*Choice, error) {
		return l.linearFor(n, rows, float, pl, nil)
	})
}

// product is a product with what follows it.
func (l *Lowering) product(n *ir.Node, t *tail) (*Choice, error) {
	if err := allF32(n); err != nil {
		return nil, err
	}
	xd, wd := l.dims.of(n.Inputs[0]), l.dims.of(n.Inputs[1])
	if len(wd) != 2 || len(xd) < 1 {
		return nil, decline("a product of ranks %d and %d", len(xd), len(wd))
	}
	return l.linearFor(n, ptx.Elems(xd[:len(xd)-1]), l.float, l.planner, t)
}

func (l *Lowering) linearFor(n *ir.Node, rows ptx.Expr, float tensor.DType, pl ptx.Planner, t *tail) (*Choice, error) {
	x, w := n.Inputs[0], n.Inputs[1]
	wd := l.dims.of(w)
	act := ops.ActNone
	if a, ok := n.Attrs.(*ops.LinearAttrs); ok {
		act = a.Activation
	}
	k, cols := wd[0], wd[1]
	g := ptx.Gemm{
		Name: "linear", M: rows, N: cols, K: k, Math: l.math,
		A: ptx.Matrix{DType: float, Row: k, Col: ptx.N(1)},
		B: ptx.Matrix{DType: float, Row: cols, Col: ptx.N(1)},
		C: ptx.Matrix{DType: float, Row: cols, Col: ptx.N(1)},
	}
	c := &Choice{Kernel: plan.KernelLaunch, Pack: map[int]*plan.Const{}}
	args, err := l.operands(x)
	if err != nil {
		return nil, err
	}
	weight, err := l.weight(&g, n, 1, c)
	if err != nil {
		return nil, err
	}
	args = append(args, weight)
	var p ptx.Program
	v := p.In(accumulator(float))
	bias := -1
	if b := input(n, 2); b != nil {
		bias = p.In(float)
		g.Extra = append(g.Extra, ptx.Matrix{DType: float, Row: ptx.N(0), Col: ptx.N(1)})
		args, err = l.more(args, b)
		if err != nil {
			return nil, err
		}
	}
	var residuals []int
	for _, r := range []*ir.Value{input(n, 3), t.residual()} {
		if r == nil {
			continue
		}
		rd, yd := l.dims.of(r), l.dims.of(n.Outputs[0])
		if !ptx.Elems(rd).Equal(ptx.Elems(yd)) {
			return nil, decline("a residual that is broadcast")
		}
		residuals = append(residuals, p.In(float))
		g.Extra = append(g.Extra, ptx.Matrix{DType: float, Row: cols, Col: ptx.N(1)})
		if args, err = l.more(args, r); err != nil {
			return nil, err
		}
	}
	if bias >= 0 {
		v = p.Do("add", v, bias)
	}
	v, ok := activate(&p, act, v)
	if !ok {
		return nil, decline("no kernel function for activation %q", act)
	}
	for _, r := range residuals {
		v = p.Do("add", v, r)
	}
	p.Out(v, float)
	g.Epilogue = p
	if t != nil {
		return c, l.normProduct(&g, t, c, args)
	}
	note := l.tile(pl, &g, ptx.N(1))
	kern, err := emit(g)
	if err != nil {
		return nil, err
	}
	c.Launches = []Launch{{Kernel: kern, Args: append(args, Operand{Value: n.Outputs[0]}), Note: note}}
	return c, nil
}

// accumulator is the type in which a product of a float type is summed.
func accumulator(float tensor.DType) tensor.DType {
	if float == tensor.F64 {
		return float
	}
	return tensor.F32
}

// tile lets the planner choose a product's tile, and gives its reason and bound; products in f64 have none.
func (l *Lowering) tile(pl ptx.Planner, g *ptx.Gemm, batch ptx.Expr) string {
	if g.A.DType == tensor.F64 {
		return "f64: one thread per output"
	}
	t, reason, bound := pl.Gemm(g.Math, l.dims.estimate(batch), pl.Tokens, l.dims.estimate(g.N), l.dims.estimate(g.K))
	g.Tile = t
	return fmt.Sprintf("%s; bound %s", reason, bound)
}

// weight makes the right operand of a product: packed when it is a constant.
func (l *Lowering) weight(g *ptx.Gemm, n *ir.Node, i int, c *Choice) (Operand, error) {
	w := n.Inputs[i]
	if !w.IsConst() || g.B.DType == tensor.F64 {
		return l.operand(w)
	}
	g.Weight = true
	pack, err := g.Pack()
	if err != nil {
		return Operand{}, err
	}
	k, err := l.packed(w, pack)
	if err != nil {
		return Operand{}, err
	}
	c.Pack[i] = k
	return Operand{Const: k}, nil
}

// packed stores a constant as a kernel's layout has it.
func (l *Lowering) packed(w *ir.Value, p *ptx.Pack) (*plan.Const, error) {
	return l.store(w, p.DType.String()+" "+p.Layout, func() (*tensor.Tensor, error) {
		return packTensor(p, tensor.Data[float32](w.Const))
	})
}

func packTensor(p *ptx.Pack, src []float32) (*tensor.Tensor, error) {
	b, err := p.Bytes(src)
	if err != nil {
		return nil, err
	}
	return tensor.FromBytes(p.DType, []int{p.Elems}, b)
}

// matmul is a batch of products.
func (l *Lowering) matmul(n *ir.Node) (*Choice, error) {
	a, b, y := n.Inputs[0], n.Inputs[1], n.Outputs[0]
	float, err := l.oneFloat(n)
	if err != nil {
		return nil, err
	}
	ad, bd, yd := l.dims.of(a), l.dims.of(b), l.dims.of(y)
	if len(bd) == 2 && b.IsConst() && len(ad) >= 1 {
		return l.linear(n)
	}
	if len(ad) < 2 || len(bd) < 2 {
		return nil, decline("a product with a vector")
	}
	batch := yd[:len(yd)-2]
	m, cols, k := yd[len(yd)-2], yd[len(yd)-1], ad[len(ad)-1]
	strides := func(d []ptx.Expr) []ptx.Expr {
		all := ptx.Contiguous(d).Strides
		out := make([]ptx.Expr, len(batch))
		lead := len(batch) - (len(d) - 2)
		for i := range d[:len(d)-2] {
			out[lead+i] = stretch(all[i], d[i], batch[lead+i])
		}
		return out
	}
	g := ptx.Gemm{
		Name: "matmul", Batch: batch, M: m, N: cols, K: k, Math: l.math,
		A: ptx.Matrix{DType: float, Row: k, Col: ptx.N(1), Batch: strides(ad)},
		B: ptx.Matrix{DType: float, Row: cols, Col: ptx.N(1), Batch: strides(bd)},
		C: ptx.Matrix{DType: float, Row: cols, Col: ptx.N(1), Batch: ptx.Contiguous(yd).Strides[:len(batch)]},
	}
	var cuts []int
	if float != tensor.F64 { // which has one kernel for all sizes
		cuts = l.planner.GemmCuts(l.math, l.dims.estimate(ptx.Elems(batch)), l.dims.estimate(cols), l.dims.estimate(k))
	}
	return l.variants(m, cuts, func(pl ptx.Planner) (*Choice, error) {
		g := g
		note := l.tile(pl, &g, ptx.Elems(batch))
		kern, err := emit(g)
		if err != nil {
			return nil, err
		}
		args, err := l.operands(a, b)
		if err != nil {
			return nil, err
		}
		return launchOne(kern, note, append(args, Operand{Value: y})...), nil
	})
}
