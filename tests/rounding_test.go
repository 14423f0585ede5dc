package tests

import (
	"math"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// unit is the unit roundoff of the 16-bit float types: the largest relative error of rounding
// to nearest with p bits of significand is 2^-p.
var unit = map[tensor.DType]float64{tensor.BF16: 1. / (1 << 8), tensor.F16: 1. / (1 << 11)}

// leastCosine is the least cosine between two results that n roundings to a unit roundoff u
// lie between.
//
// A rounding adds an error of up to half a unit in the last place, 2^-p 2^e for a value
// m 2^e with 1 <= m < 2, evenly spread. Over values whose m is spread as 1/m its mean square
// relative to the value is 4 u^2/12 times the mean of 1/m^2, 3/(8 ln 2): 0.180 u^2, and not
// more for a vector of such values relative to its length. Errors of different roundings point in
// directions of their own, so squares add up: |e|^2 = 0.18 n u^2 |y|^2, for steps that
// neither strengthen nor weaken what they are given relative to what they give, as norms and
// residual sums make of networks on the whole. The cosine between y and y+e, e across y, is
// 1/sqrt(1 + |e|^2/|y|^2), at least 1 - |e|^2/(2 |y|^2). A factor of two on |e| stands for
// steps that strengthen errors.
func leastCosine(n int, u float64) float64 {
	const gain = 2
	e := gain * math.Sqrt(3/(8*math.Ln2)/3*float64(n)) * u
	return 1 - e*e/2
}

// evalRoundings counts the nodes after which the interpreter rounds to dt: all that do not
// only move values.
func evalRoundings(g *ir.Graph, dt tensor.DType) (n int) {
	for _, node := range g.Nodes {
		if node.Is("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Gather", "Slice", "Concat", "Split", "Expand", "Where", "Relu", "Neg", "MaxPool") {
			continue
		}
		if v := node.Outputs[0]; v != nil && v.Type.DType == dt {
			n++
		}
	}
	return n
}

// launches counts the launches of a program, whose results are stored once each.
func launches(p *plan.Program) (n int) {
	for _, st := range p.Main().Steps {
		n += len(st.Launches)
	}
	return n
}
