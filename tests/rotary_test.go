package tests

import (
	"context"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
)

// TestRotaryOnEveryRunner holds moec::Rotary in all its layouts to the interpreter.
func TestRotaryOnEveryRunner(t *testing.T) {
	const outs = "\n return y }"
	for name, text := range map[string]string{
		"part":        `graph(x: f32[b,s,19], c: f32[1,s,4], n: f32[1,s,4]) { y = moec::Rotary(x, c, n) {heads=3, head_dim=5, rotary_dim=4, offset=1, tail=2}` + outs,
		"split":       `graph(x: f32[b,s,16], c: f32[b,s,4], n: f32[b,s,4]) { y = moec::Rotary(x, c, n) {heads=2, head_dim=8, rotary_dim=8, out_layout="bhsd"}` + outs,
		"heads":       `graph(x: f32[b,2,s,8], c: f32[b,s,8], n: f32[b,s,8]) { y = moec::Rotary(x, c, n) {heads=2, head_dim=8, rotary_dim=8, layout="bhsd", out_layout="bhsd"}` + outs,
		"merged":      `graph(x: f32[b,2,s,8], c: f32[1,s,4], n: f32[1,s,4]) { y = moec::Rotary(x, c, n) {heads=2, head_dim=8, rotary_dim=8, interleaved=true, layout="bhsd"}` + outs,
		"interleaved": `graph(x: f32[b,s,12], c: f32[b,s,4], n: f32[b,s,4]) { y = moec::Rotary(x, c, n) {heads=2, head_dim=6, rotary_dim=4, interleaved=true}` + outs,
	} {
		t.Run(name, func(t *testing.T) {
			parse := func() *ir.Graph {
				g, err := irtext.Parse(text, ops.NewTable(), nil)
				if err != nil {
					t.Fatal(err)
				}
				return g
			}
			ins := passes.RandomInputs(parse(), map[string]int{"b": 2, "s": 5}, 1)
			var want []*tensor.Tensor
			for _, r := range runners {
				got, err := r.run(context.Background(), parse(), ins)
				if err != nil {
					t.Fatalf("%s: %v", r.name, err)
				}
				if want == nil {
					want = got // the interpreter's
				}
				for i, v := range tensor.Data[float32](want[0]) {
					// Two products of size 1 and their sum, perhaps fused: one rounding apart.
					if g := tensor.Data[float32](got[0])[i]; math.Abs(float64(g-v)) > 1e-6*max(1, math.Abs(float64(v))) {
						t.Fatalf("%s: element %d is %v, want %v", r.name, i, g, v)
					}
				}
			}
			g := parse()
			if err := ir.Infer(g); err != nil {
				t.Fatal(err)
			}
			p, err := codegen.Compile(context.Background(), g, codegen.Target{Device: "cuda"})
			if err != nil {
				t.Fatal(err)
			}
			if host := hostSteps(p); len(host) > 0 {
				t.Error(host)
			}
		})
	}
}
