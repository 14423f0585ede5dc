package passes

import (
	"context"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Folding may make constants of up to smallFold bytes out of anything, and beyond that of
// up to growFold times the bytes that went in: a weight may be transposed or widened to
// f32, but a Range or a ConstantOfShape must not become a file, nor int8 weights floats.
const (
	smallFold = 1 << 18
	growFold  = 2
)

// Fold evaluates nodes whose inputs are constants, and makes constants of shape
// arithmetic whose elements inference knows.
func Fold() Pass {
	return Pass{
		Name: "fold", Doc: "Evaluate what depends on constants and known shapes alone.", Effect: Exact,
		Run: fold,
	}
}

func fold(ctx context.Context, g *ir.Graph) (bool, error) {
	known, err := ir.Contents(g)
	if err != nil {
		return false, err
	}
	e := &edit{g: g}
	// Only what was there before: constants made here are picked up as inputs of the
	// nodes behind them, in this same walk.
	for _, n := range append([]*ir.Node(nil), g.Nodes...) {
		if err := ctx.Err(); err != nil {
			return e.changed, err
		}
		if len(n.Subgraphs) > 0 {
			e.constCaptures(n)
			continue
		}
		if n.Op.Random || n.Op.Eval == nil {
			continue
		}
		for i, v := range n.Outputs {
			if v == nil {
				continue
			}
			if t := knownTensor(v.Type, known[v]); t != nil {
				e.constant(n, i, t)
			}
		}
		if outs := e.foldNode(ctx, n); outs != nil {
			for i, t := range outs {
				if t != nil {
					e.constant(n, i, t)
				}
			}
		}
	}
	return e.done()
}

// constant replaces output i of n by t; an output of the graph keeps its name.
func (e *edit) constant(n *ir.Node, i int, t *tensor.Tensor) {
	v := n.Outputs[i]
	if len(v.Users()) == 0 && !e.g.IsOutput(v) {
		return
	}
	c := e.g.NewConst("", t)
	e.g.ReplaceUses(v, c)
	v.Name, c.Name = c.Name, v.Name
	e.changed = true
}

// knownTensor is the constant that inference has worked out: integers of known shape
// and elements.
func knownTensor(t ir.Type, d []ir.Dim) *tensor.Tensor {
	shape, ok := t.Static()
	if d == nil || !ok || len(d) != tensor.NumElems(shape) {
		return nil
	}
	v := make([]int64, len(d))
	for i, x := range d {
		if x.Name != "" || x.Size == -1 { // -1 also stands for what is not known
			return nil
		}
		v[i] = x.Size
	}
	switch t.DType {
	case tensor.I64:
		return tensor.Of(v, shape...)
	case tensor.I32:
		w := make([]int32, len(v))
		for i, x := range v {
			if w[i] = int32(x); int64(w[i]) != x {
				return nil
			}
		}
		return tensor.Of(w, shape...)
	case tensor.Bool:
		w := make([]bool, len(v))
		for i, x := range v {
			w[i] = x != 0
		}
		return tensor.Of(w, shape...)
	}
	return nil
}

// foldNode evaluates a node on constants; nil when it cannot or should not be. What fails
// here fails in every run, and the run says so, with its input shapes.
func (e *edit) foldNode(ctx context.Context, n *ir.Node) []*tensor.Tensor {
	ins := make([]*tensor.Tensor, len(n.Inputs))
	bytes, read := 0, false
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		if !v.IsConst() {
			return nil
		}
		ins[i] = v.Const
		bytes += len(v.Const.Bytes())
	}
	limit := max(smallFold, growFold*bytes)
	for _, v := range n.Outputs {
		if v == nil {
			continue
		}
		read = read || len(v.Users()) > 0 || e.g.IsOutput(v)
		if s, ok := v.Type.Static(); ok && tensor.NumElems(s)*max(1, v.Type.DType.Size()) > limit {
			return nil
		}
	}
	if !read {
		return nil
	}
	outs, err := eval.Node(ctx, n, ins, eval.Options{MaxElems: limit})
	if err != nil {
		return nil
	}
	for i, t := range outs {
		if n.Outputs[i] == nil {
			outs[i] = nil
		} else if t == nil || len(t.Bytes()) > limit {
			return nil
		}
	}
	return outs
}

// constCaptures moves captured constants into the subgraphs that read them.
func (e *edit) constCaptures(n *ir.Node) {
	for j := n.Captures - 1; j >= 0; j-- {
		v := n.Inputs[len(n.Inputs)-n.Captures+j]
		if !v.IsConst() {
			continue
		}
		for _, s := range n.Subgraphs {
			in := s.Inputs[len(s.Inputs)-n.Captures+j]
			c := s.NewConst("", v.Const)
			s.ReplaceUses(in, c)
			c.Name, in.Name = in.Name, c.Name
		}
		dropCapture(e.g, n, j)
		e.changed = true
	}
}
