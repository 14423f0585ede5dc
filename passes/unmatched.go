package passes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
)

// Unmatched is a pair of layers that looks like an MLP and is none, with the reason.
type Unmatched struct {
	Name   string // the user's name of the second layer
	Reason string
}

// mostBetween bounds how many nodes lie between two layers that are still reported.
const mostBetween = 12

// innerOps are what may stand between two layers that somebody could take for an MLP.
var innerOps = []string{
	"Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Swish", "HardSwish", "HardSigmoid", "Sigmoid", "Softplus", "Softsign",
	"Mish", "Tanh", "Erf", "Exp", "Log", "Sin", "Cos", "Abs", "Neg", "Sqrt", "Pow", "Clip", "Max", "Min", "Add", "Sub", "Mul", "Div", "Where",
	"ThresholdedRelu", "Softmax", "LayerNormalization", "RMSNormalization", "Reshape", "Transpose", "Concat", "Slice", "Split", "Gather", "Cast", "Dropout", "Identity",
}

// Unmatcheds lists, after Feedforward, the layers that read another layer through a few
// elementwise nodes and yet make no MLP with it.
func Unmatcheds(g *ir.Graph) []Unmatched {
	var out []Unmatched
	for _, n := range g.Nodes {
		for _, s := range n.Subgraphs {
			out = append(out, Unmatcheds(s)...)
		}
		if !isLayer(n) {
			continue
		}
		if reason := whyNot(g, n); reason != "" {
			out = append(out, Unmatched{strings.Join(n.Origin[:min(1, len(n.Origin))], ""), reason})
		}
	}
	return out
}

// isLayer: a product with a matrix, constant or not.
func isLayer(n *ir.Node) bool {
	switch n.Op.String() {
	case "moec::Linear":
		return true
	case "MatMul", "Gemm":
		return n.Inputs[1].Type.Rank() == 2 || n.Inputs[0].Type.Rank() == 2
	}
	return false
}

// whyNot walks from the input of a layer back to the layers before it; "" when there is
// none near.
func whyNot(g *ir.Graph, l2 *ir.Node) string {
	seen := map[*ir.Node]bool{}
	var path, firsts []*ir.Node
	var walk func(v *ir.Value) bool
	walk = func(v *ir.Value) bool {
		if v == nil || v.IsConst() {
			return true
		}
		n := v.Def
		if n == nil || len(path) > mostBetween || !isLayer(n) && !slices.Contains(innerOps, n.Op.Name) {
			return false
		}
		if seen[n] {
			return true
		}
		seen[n] = true
		if isLayer(n) {
			firsts = append(firsts, n)
			return true
		}
		path = append(path, n)
		for _, in := range n.Inputs {
			if !walk(in) {
				return false
			}
		}
		return true
	}
	x := l2.Inputs[0]
	if x.IsConst() || l2.Is("MatMul") && l2.Inputs[0].IsConst() {
		x = l2.Inputs[1]
	}
	if !walk(x) || len(firsts) == 0 || len(firsts) > 2 || len(firsts) == 2 && firsts[0].Inputs[0] != firsts[1].Inputs[0] {
		return ""
	}
	for _, l := range append(slices.Clone(firsts), l2) {
		if !l.Is("moec::Linear") {
			return fmt.Sprintf("the weights of %q are not a constant matrix on the right", name(l))
		}
		if stringAttr(l, "activation") != "" && l == l2 {
			return ""
		}
	}
	for _, n := range append(slices.Clone(path), firsts...) {
		for _, v := range n.Outputs {
			if v == nil {
				continue
			}
			if g.IsOutput(v) {
				return fmt.Sprintf("hidden value %q is an output of the model", v.Name)
			}
			for _, u := range v.Users() {
				if u != l2 && !seen[u] {
					return fmt.Sprintf("hidden value %q is used elsewhere, by %q", v.Name, name(u))
				}
			}
		}
	}
	if len(path) == 0 {
		return "no activation between the layers"
	}
	var names []string
	for _, n := range slices.Backward(path) {
		if n.Is("Reshape", "Transpose", "Softmax", "LayerNormalization", "RMSNormalization", "Concat", "Slice", "Gather") {
			return fmt.Sprintf("%s (%q) between the layers mixes or moves hidden units", n.Op.Name, name(n))
		}
		names = append(names, n.Op.Name)
	}
	return fmt.Sprintf("%s between the layers is no activation of the family (relu, gelu, silu)", strings.Join(names, ", "))
}

func name(n *ir.Node) string {
	if len(n.Origin) > 0 {
		return n.Origin[0]
	}
	return n.Name
}
