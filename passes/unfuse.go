package passes

import (
	"context"
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
)

// Unfuse writes moec's fused ops out in standard ones again, but for the feedforward
// family: what leaves as ONNX should look like what came in.
func Unfuse() Pass {
	return Pass{
		Name: "unfuse", Doc: "Write fused ops, but for the feedforward family, out in standard ones.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			for _, n := range append([]*ir.Node(nil), g.Nodes...) {
				if !n.Is("moec::Linear", "moec::Attention", "moec::SkipNorm", "moec::Conv", "moec::Rotary") && !n.Is("moec::MLP", "moec::GatedMLP") {
					continue
				}
				outs, err := n.Op.Expand(g, n)
				if err != nil {
					return false, ir.NodeError(n, err)
				}
				if len(outs) < len(n.Outputs) {
					return false, ir.NodeError(n, fmt.Errorf("%w: expands to %d outputs of %d", ir.ErrGraph, len(outs), len(n.Outputs)))
				}
				for i, v := range n.Outputs {
					if v != nil {
						e.replace(v, outs[i])
					}
				}
			}
			return e.done()
		},
	}
}
