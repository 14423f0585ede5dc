package cuda

import (
	"errors"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// tail is what follows a product, an MLP or a mixture in the launch that finishes its rows: a residual sum and a
// normalisation.
type tail struct {
	norm        ptx.RowNorm
	gamma, beta *ir.Value
	add         *ir.Value // the residual, or nil
	sum         *ir.Value // rows before the norm, where anybody reads them
	y           *ir.Value
}

// residual is the value to add, if any.
func (t *tail) residual() *ir.Value {
	if t == nil {
		return nil
	}
	return t.add
}

// normInside makes the normalisation n part of the launch that computes the rows it reads. Without one, the string says
// why, where there is something to say.
func (l *Lowering) normInside(n *ir.Node) (*Choice, string, error) {
	t := &tail{y: n.Outputs[0], norm: ptx.RowNorm{Scale: l.float}}
	params := n.Inputs[1:]
	var from []*ir.Value // the rows, and what is added to them
	switch a := n.Attrs.(type) {
	case *ops.SkipNormAttrs:
		t.norm.RMS, t.norm.Eps = a.Kind == ops.NormRMS, a.Epsilon
		from, params = n.Inputs[:2], n.Inputs[2:]
		if l.present(n, 1) {
			t.sum = n.Outputs[1]
		}
	case *ops.LayerNormAttrs:
		rank := len(l.dims.of(n.Inputs[0]))
		if a.Axis != -1 && a.Axis != int64(rank-1) || l.present(n, 1) || l.present(n, 2) {
			return nil, "", nil
		}
		t.norm.RMS, t.norm.Eps = n.Is("RMSNormalization"), a.Epsilon
		from = n.Inputs[:1]
	}
	for i, p := range params {
		if p == nil {
			continue
		}
		d := l.dims.of(n.Inputs[0])
		if pd := l.dims.of(p); len(d) < 1 || len(pd) != 1 || !pd[0].Equal(d[len(d)-1]) {
			return nil, "", nil
		}
		if i == 0 {
			t.gamma = p
		} else {
			t.beta, t.norm.Beta = p, true
		}
	}
	if t.gamma == nil {
		return nil, "", nil
	}
	why := ""
	for i, v := range from {
		if !l.finishes(v, n, len(from) == 1) {
			continue
		}
		if len(from) == 2 {
			t.add = from[1-i]
			if !ptx.Elems(l.dims.of(t.add)).Equal(ptx.Elems(l.dims.of(v))) {
				continue
			}
		} else if len(v.Users()) > 1 || l.g.IsOutput(v) {
			t.sum = v
		}
		c, err := l.thenNorm(v.Def, t)
		var d declined
		if errors.As(err, &d) {
			why = string(d)
			continue
		}
		if err != nil {
			return nil, "", err
		}
		l.choices[v.Def] = &Choice{Kernel: plan.KernelInside, Note: "inside " + n.Name, Pack: c.Pack}
		c.Pack = nil
		if len(from) == 1 && t.sum != nil {
			c.Also = []*ir.Value{v}
		}
		return c, "", nil
	}
	return nil, why, nil
}

// finishes reports whether v's node can finish rows for the normalisation n: it has no launch yet, and nobody
// else reads v, or, where the launch leaves v in memory, only after n.
func (l *Lowering) finishes(v *ir.Value, n *ir.Node, kept bool) bool {
	p := v.Def
	if p == nil || l.choices[p] != nil || l.onHost(p) || v.Index != 0 ||
		!p.Is("MatMul", "moec::Linear", "moec::MLP", "moec::GatedMLP", "moec::TopKMLP", "moec::MoE") {
		return false
	}
	if !kept {
		return l.g.OnlyUse(v)
	}
	for _, u := range v.Users() {
		if l.at[u] < l.at[n] {
			return false
		}
	}
	return true
}

// thenNorm is a node's launches with the tail.
func (l *Lowering) thenNorm(p *ir.Node, t *tail) (*Choice, error) {
	switch {
	case p.Is("moec::MoE"):
		return l.moeThen(p, t)
	case p.Is("MatMul", "moec::Linear"):
		if !p.Inputs[1].IsConst() {
			return nil, decline("")
		}
		return l.product(p, t)
	}
	return l.mlpThen(p, t)
}

// normProduct finishes a product whose rows are normalised.
func (l *Lowering) normProduct(g *ptx.Gemm, t *tail, c *Choice, args []Operand) error {
	tile, inside, why, bound := l.planner.GemmNorm(g.Math, l.dims.estimate(g.M), l.dims.estimate(g.N), l.dims.estimate(g.K))
	if !inside {
		return decline("%s", why)
	}
	g.Tile, g.Norm = tile, &t.norm
	kern, err := emit(g)
	if err != nil {
		return err
	}
	if args, err = l.more(args, t.params()...); err != nil {
		return err
	}
	rows := g.M.Mul(g.N).MulN(l.float.Size())
	args = append(args, l.sums(t, c, rows), Operand{Value: t.y})
	if n, ok := kern.Counters(); ok {
		args = append(args, Operand{Temp: len(c.Temps)})
		c.Temps = append(c.Temps, plan.Temp{Bytes: n.MulN(4).String(), Zero: true})
	}
	c.Launches = []Launch{{Kernel: kern, Args: args, Note: why + "; bound " + bound.String()}}
	return nil
}

// params are the norm's own inputs.
func (t *tail) params() []*ir.Value {
	if t.norm.Beta {
		return []*ir.Value{t.gamma, t.beta}
	}
	return []*ir.Value{t.gamma}
}

// sums is where rows lie before they are normalised: a value, or memory of the step.
func (l *Lowering) sums(t *tail, c *Choice, bytes ptx.Expr) Operand {
	if t.sum != nil {
		return Operand{Value: t.sum}
	}
	c.Temps = append(c.Temps, plan.Temp{Bytes: bytes.String()})
	return Operand{Temp: len(c.Temps) - 1}
}

// tailOperands gives an Op the operands of a tail: the residual under the given name, and the norm's.
func (l *Lowering) tailOperands(t *tail, s sources, residual string) (norm *ptx.RowNorm, adds bool, err error) {
	if t == nil {
		return nil, false, nil
	}
	read := map[string]*ir.Value{"gamma": t.gamma}
	if t.norm.Beta {
		read["beta"] = t.beta
	}
	if t.add != nil {
		read[residual] = t.add
	}
	for name, v := range read {
		if s.operands[name], err = l.operand(v); err != nil {
			return nil, false, err
		}
	}
	s.operands["y"] = Operand{Value: t.y}
	if t.sum != nil {
		s.operands["sum"] = Operand{Value: t.sum}
	}
	return &t.norm, t.add != nil, nil
}
