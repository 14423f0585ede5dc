package passes

import (
	"math"

	"github.com/seed-c851cfd2/moec/ir"
)

// maxRelu: the maximum of x and 0.
func maxRelu(e *edit, n *ir.Node) bool {
	if len(n.Inputs) != 2 {
		return false
	}
	for i := range 2 {
		x := n.Inputs[i]
		if c, ok := number(n.Inputs[1-i]); ok && c == 0 && keepsShape(x, n.Outputs[0]) && x.Type.DType.IsFloat() {
			return e.replace(n.Outputs[0], e.add("Relu", values(x), nodes(n)))
		}
	}
	return false
}

// clipRelu: x held above 0 and below nothing.
func clipRelu(e *edit, n *ir.Node) bool {
	lo, ok := number(input(n, 1))
	if !ok || lo != 0 || !n.Inputs[0].Type.DType.IsFloat() {
		return false
	}
	if hi := input(n, 2); hi != nil {
		if c, ok := number(hi); !ok || !math.IsInf(c, 1) {
			return false
		}
	}
	return e.replace(n.Outputs[0], e.add("Relu", values(n.Inputs[0]), nodes(n)))
}
