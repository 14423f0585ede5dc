package ops

import "github.com/seed-c851cfd2/moec/ir"

// Simpler gives the way to write a standard op in simpler standard ops, as Op.Expand does for those that are not
// standard: for code generators that have kernels for the simpler ones only. It is nil where there is none, or not for
// a node as n is.
func Simpler(n *ir.Node) func(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	x := n.Inputs
	if len(x) == 0 || x[0] == nil || !x[0].Type.Ranked || !x[0].Type.DType.IsFloat() && !n.Is("DepthToSpace", "SpaceToDepth") {
		return nil
	}
	rank := x[0].Type.Rank()
	switch n.Op.String() {
	case "BatchNormalization":
		if !n.Attrs.(*BatchNormAttrs).TrainingMode && rank >= 2 && len(n.Outputs) == 1 {
			return simplerBatchNorm
		}
	case "InstanceNormalization", "GroupNormalization":
		if rank >= 3 {
			return simplerGroupNorm
		}
	case "LayerNormalization", "RMSNormalization":
		axis, err := normAxis(n.Attrs.(*LayerNormAttrs).Axis, rank)
		if err != nil || axis == rank-1 || len(n.Outputs) > 1 {
			return nil
		}
		for _, p := range x[1:] { // one number per normalised element
			if p != nil && (!p.Type.Ranked || p.Type.Rank() != rank-axis) {
				return nil
			}
		}
		return simplerLayerNorm
	case "DepthToSpace", "SpaceToDepth":
		if rank == 4 {
			return simplerBlocks
		}
	case "Gemm":
		return simplerGemm
	case "Mean":
		return simplerMean
	case "Einsum":
		if einsumIsSimple(n) {
			return simplerEinsum
		}
	case "Resize":
		if resizeIsSimple(n) {
			return simplerResize
		}
	}
	return nil
}

// channels gives a vector with one number per channel the rank of x, channels on axis 1.
func (e *expander) channels(x, v *ir.Value) *ir.Value {
	var axes []int64
	for i := 1; i+1 < x.Type.Rank(); i++ {
		axes = append(axes, int64(i))
	}
	if len(axes) == 0 {
		return v
	}
	return e.op("Unsqueeze", []*ir.Value{v, e.ints(axes...)})
}

// simplerBatchNorm is x times a scale plus a shift per channel, which fold where the statistics are constants.
func simplerBatchNorm(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &expander{g: g, n: n}
	x, scale, bias, mean, variance := n.Inputs[0], n.Inputs[1], n.Inputs[2], n.Inputs[3], n.Inputs[4]
	eps := e.scalar(variance.Type.DType, float64(n.Attrs.(*BatchNormAttrs).Epsilon))
	root := e.op("Sqrt", []*ir.Value{e.op("Add", []*ir.Value{variance, eps})})
	scale = e.op("Div", []*ir.Value{scale, root})
	shift := e.op("Sub", []*ir.Value{bias, e.op("Mul", []*ir.Value{mean, scale})})
	y := e.op("Mul", []*ir.Value{x, e.channels(x, scale)})
	return []*ir.Value{e.op("Add", []*ir.Value{y, e.channels(x, shift)})}, e.err
}

// simplerGroupNorm normalises [N, groups, rest] over the rest, and scales per channel.
func simplerGroupNorm(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &expander{g: g, n: n}
	x := n.Inputs[0]
	eps, groups := 0.0, int64(0) // 0 keeps the dimension: a group per channel
	switch a := n.Attrs.(type) {
	case *InstanceNormAttrs:
		eps = float64(a.Epsilon)
	case *GroupNormAttrs:
		eps, groups = float64(a.Epsilon), a.NumGroups
	}
	mean := func(v *ir.Value) *ir.Value { return e.op("ReduceMean", []*ir.Value{v, e.ints(-1)}) }
	r := e.op("Reshape", []*ir.Value{x, e.ints(0, groups, -1)})
	d := e.op("Sub", []*ir.Value{r, mean(r)})
	variance := mean(e.op("Mul", []*ir.Value{d, d}))
	y := e.op("Div", []*ir.Value{d, e.op("Sqrt", []*ir.Value{e.op("Add", []*ir.Value{variance, e.scalar(x.Type.DType, eps)})})})
	y = e.op("Reshape", []*ir.Value{y, e.op("Shape", []*ir.Value{x})})
	y = e.op("Mul", []*ir.Value{y, e.channels(x, n.Inputs[1])})
	return []*ir.Value{e.op("Add", []*ir.Value{y, e.channels(x, n.Inputs[2])})}, e.err
}

// simplerLayerNorm makes one axis of those that are normalised over.
func simplerLayerNorm(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e, a := &expander{g: g, n: n}, n.Attrs.(*LayerNormAttrs)
	x := n.Inputs[0]
	ins := []*ir.Value{e.op("Flatten", []*ir.Value{x}, "axis", a.Axis)}
	for _, p := range n.Inputs[1:] {
		if p != nil {
			p = e.op("Reshape", []*ir.Value{p, e.ints(-1)})
		}
		ins = append(ins, p)
	}
	y := e.op(n.Op.Name, ins, "axis", int64(-1), "epsilon", a.Epsilon, "stash_type", a.StashType)
	return []*ir.Value{e.op("Reshape", []*ir.Value{y, e.op("Shape", []*ir.Value{x})})}, e.err
}

// simplerBlocks moves squares of pixels by a transposition of six dimensions.
func simplerBlocks(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e, a := &expander{g: g, n: n}, n.Attrs.(*blockAttrs)
	x, b := n.Inputs[0], a.BlockSize
	shape := e.op("Shape", []*ir.Value{x})
	dim := func(i int64, scale, over int64) *ir.Value {
		v := e.op("Slice", []*ir.Value{shape, e.ints(i), e.ints(i + 1)})
		if scale != 1 {
			v = e.op("Mul", []*ir.Value{v, e.ints(scale)})
		}
		if over != 1 {
			v = e.op("Div", []*ir.Value{v, e.ints(over)})
		}
		return v
	}
	list := func(v ...*ir.Value) *ir.Value { return e.op("Concat", v, "axis", int64(0)) }
	size, n0, ch, h, w := e.ints(b), dim(0, 1, 1), dim(1, 1, b*b), dim(2, 1, 1), dim(3, 1, 1)
	split, perm := list(n0, size, size, ch, h, w), []int64{0, 3, 4, 1, 5, 2}
	out := list(n0, ch, dim(2, b, 1), dim(3, b, 1))
	switch {
	case n.Is("SpaceToDepth"):
		h, w = dim(2, 1, b), dim(3, 1, b)
		split, perm = list(n0, dim(1, 1, 1), h, size, w, size), []int64{0, 3, 5, 1, 2, 4}
		if a.Mode == "CRD" {
			perm = []int64{0, 1, 3, 5, 2, 4}
		}
		out = list(n0, dim(1, b*b, 1), h, w)
	case a.Mode == "CRD":
		split, perm = list(n0, ch, size, size, h, w), []int64{0, 1, 4, 2, 5, 3}
	}
	y := e.op("Transpose", []*ir.Value{e.op("Reshape", []*ir.Value{x, split})}, "perm", perm)
	return []*ir.Value{e.op("Reshape", []*ir.Value{y, out})}, e.err
}

func simplerGemm(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e, a := &expander{g: g, n: n}, n.Attrs.(*GemmAttrs)
	side := func(i int, transposed bool) *ir.Value {
		if transposed {
			return e.op("Transpose", []*ir.Value{n.Inputs[i]}, "perm", []int64{1, 0})
		}
		return n.Inputs[i]
	}
	scaled := func(v *ir.Value, by float32) *ir.Value {
		if by == 1 {
			return v
		}
		return e.op("Mul", []*ir.Value{v, e.scalar(v.Type.DType, float64(by))})
	}
	y := scaled(e.op("MatMul", []*ir.Value{side(0, a.TransA), side(1, a.TransB)}), a.Alpha)
	if len(n.Inputs) > 2 && n.Inputs[2] != nil {
		y = e.op("Add", []*ir.Value{y, scaled(n.Inputs[2], a.Beta)})
	}
	return []*ir.Value{y}, e.err
}

func simplerMean(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &expander{g: g, n: n}
	count := e.scalar(n.Inputs[0].Type.DType, float64(len(n.Inputs)))
	return []*ir.Value{e.op("Div", []*ir.Value{e.op("Sum", n.Inputs), count})}, e.err
}
