package convert

import (
	"math"
	"math/rand/v2"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// errorTokens is how many made-up inputs a layer's error is measured on.
const errorTokens = 64

// layerGraph is a graph of one feedforward node alone, on d features, with the node's
// own constants.
func (c *conversion) layerGraph(n *ir.Node, d int) *ir.Graph {
	g := ir.NewGraph("layer", c.ops)
	ins := []*ir.Value{g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("tokens"), ir.Known(int64(d))))}
	for _, v := range n.Inputs[1:] {
		if v == nil {
			ins = append(ins, nil)
			continue
		}
		ins = append(ins, g.NewConst(v.Name, v.Const))
	}
	m := g.Add(n.Op, ir.CloneAttrs(n.Attrs), ins, "y")
	g.Outputs = m.Outputs
	return g
}

// measure compares two layers on standard normal inputs.
func (c *conversion) measure(dense, sparse *ir.Graph) (*float64, error) {
	d := int(dense.Inputs[0].Type.Shape[1].Size)
	x := tensor.New(tensor.F32, errorTokens, d)
	rng := rand.New(rand.NewPCG(c.o.Seed, 17))
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = float32(rng.NormFloat64())
	}
	var outs [2][]float64
	for i, g := range []*ir.Graph{dense, sparse} {
		if err := ir.Infer(g); err != nil {
			return nil, err
		}
		y, err := c.o.Eval(c.ctx, g, []*tensor.Tensor{x})
		if err != nil {
			return nil, err
		}
		if outs[i], err = y[0].Float64s(); err != nil {
			return nil, err
		}
	}
	var diff, norm float64
	for i, v := range outs[0] {
		diff += (v - outs[1][i]) * (v - outs[1][i])
		norm += v * v
	}
	if norm == 0 {
		if diff == 0 {
			return new(float64), nil
		}
		return nil, nil
	}
	e := math.Sqrt(diff / norm)
	if math.IsNaN(e) || math.IsInf(e, 0) {
		return nil, nil
	}
	return &e, nil
}
