package convert

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
)

// expertLoss is the units of an expert at which it runs at half the rate of the dense
// kernel: tiles of short sums start and end often. Measured on f32, 512 tokens: experts of
// 16 units reach 68 % of the dense rate (d 384), of 128 units 95 % (d 512).
const expertLoss = 7.5

// whySlower says why p's experts would take longer than the dense layer over many tokens,
// by their work and the rate that experts of their size reach; "" if they would not.
func whySlower(n *ir.Node, p mlpPlan) string {
	w := n.Inputs[1].Const.Shape()
	dense := float64(flops(n, w[0]))
	units := float64(w[1]) / float64(p.experts)
	router := 2 * float64(w[0]) * float64(p.experts)
	work := (dense*float64(p.k)/float64(p.experts) + router) / dense
	rate := units / (units + expertLoss)
	if work < rate {
		return ""
	}
	return fmt.Sprintf("%d of %d experts would take %.1f times as long: %.0f%% of the work at %.0f%% of the rate", p.k, p.experts, work/rate, 100*work, 100*rate)
}
