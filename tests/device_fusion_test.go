package tests

import (
	"context"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
)

// TestDeviceFusion holds what shares a launch, and what must not, to its number of launches and to the interpreter's
// numbers.
func TestDeviceFusion(t *testing.T) {
	const ln = ` {axis=-1, epsilon=1e-5}`
	for name, c := range map[string]struct {
		text     string
		launches int
	}{
		"norm of a product": {`graph(x: f32[b,s,20]) {
			y = moec::Linear(x, w=f32[20,33]rand(1), c=f32[33]rand(2))
			n = LayerNormalization(y, g=f32[33]rand(3), h=f32[33]rand(4))` + ln + `
			return n }`, 1},
		"the product leaves the graph": {`graph(x: f32[b,s,20]) {
			y = moec::Linear(x, w=f32[20,32]rand(1))
			n = RMSNormalization(y, g=f32[32]rand(3))` + ln + `
			return n, y }`, 1},
		"two norms of a product": {`graph(x: f32[b,s,20]) {
			y = moec::Linear(x, w=f32[20,32]rand(1))
			n = LayerNormalization(y, g=f32[32]rand(2), h=f32[32]rand(3))` + ln + `
			m = RMSNormalization(y, k=f32[32]rand(4))` + ln + `
			return n, m }`, 2},
		"the product is read before its norm": {`graph(x: f32[b,s,20]) {
			y = moec::Linear(x, w=f32[20,32]rand(1))
			z = moec::Linear(y, v=f32[32,32]rand(2))
			t = Sin(z)
			u = Mul(t, y)
			n = LayerNormalization(y, k=f32[32]rand(4), h=f32[32]rand(5))` + ln + `
			m = Mul(n, u)
			return m }`, 4},
		"a sum with two products": {`graph(x: f32[b,s,20], r: f32[b,s,24]) {
			y = moec::Linear(x, w=f32[20,24]rand(1), _, r)
			z = moec::Linear(x, v=f32[20,24]rand(2))
			n, sum = moec::SkipNorm(y, z, g=f32[24]rand(3), h=f32[24]rand(4)) {kind="layer"}
			o = Add(n, sum)
			return o }`, 3},
		"a sum that nobody reads": {`graph(x: f32[b,s,20], r: f32[b,s,24]) {
			y = moec::Linear(x, w=f32[20,24]rand(1)) {activation="relu"}
			n = moec::SkipNorm(r, y, g=f32[24]rand(3)) {kind="rms"}
			return n }`, 1},
		"a scale that is computed": {`graph(x: f32[b,s,20], g: f32[32]) {
			k = Exp(g)
			y = moec::Linear(x, w=f32[20,32]rand(1))
			n = RMSNormalization(y, k)` + ln + `
			return n }`, 2},
		"a mixture": {`graph(x: f32[b,s,20]) {
			y = moec::MoE(x, w1=f32[5,20,12]rand(1), w2=f32[5,12,20]rand(2), sel=f32[5,20]rand(3)) {k=2, activation="relu"}
			n, sum = moec::SkipNorm(x, y, g=f32[20]rand(4), h=f32[20]rand(5)) {kind="layer"}
			o = Mul(n, sum)
			return o }`, 4},
		"one token through a mixture": {`graph(x: f32[1,1,20]) {
			y = moec::MoE(x, w1=f32[5,20,12]rand(1), w2=f32[5,12,20]rand(2), sel=f32[5,20]rand(3)) {k=2, activation="relu"}
			n = moec::SkipNorm(x, y, g=f32[20]rand(4), h=f32[20]rand(5)) {kind="layer"}
			return n }`, 1},
		"a mixture that may choose no expert": {`graph(x: f32[b,s,20]) {
			y = moec::MoE(x, w1=f32[5,20,12]rand(1), w2=f32[5,12,20]rand(2), sel=f32[5,20]rand(3)) {selection="threshold", threshold=0.6, min_k=0, max_k=3, activation="relu"}
			n = moec::SkipNorm(x, y, g=f32[20]rand(4), h=f32[20]rand(5)) {kind="layer"}
			return n }`, 4},
		"top-K hidden units": {`graph(x: f32[b,s,20]) {
			y = moec::TopKMLP(x, w1=f32[20,50]rand(1), w2=f32[50,20]rand(2)) {k=7, activation="relu"}
			n = moec::SkipNorm(x, y, g=f32[20]rand(4), h=f32[20]rand(5)) {kind="layer"}
			return n }`, 3},
		"products of one value": {`graph(x: f32[b,s,20]) {
			k = moec::Linear(x, w=f32[20,24]rand(1))
			v = moec::Linear(x, p=f32[20,24]rand(2), c=f32[24]rand(3))
			u = moec::Linear(x, a=f32[20,24]rand(4)) {activation="relu"}
			m = moec::Linear(x, e=f32[20,24]rand(5))
			n = RMSNormalization(m, g=f32[24]rand(6))` + ln + `
			i = moec::Linear(x, d=f32[20,20]rand(7))
			kv = Mul(k, v)
			un = Mul(u, n)
			o = Add(kv, un)
			return o, i, v }`, 5},
		"queries of a cross-attention": {`graph(x: f32[b,s,20], z: f32[b,t,20]) {
			q = moec::Linear(x, w=f32[20,24]rand(1), c=f32[24]rand(2))
			kv = moec::Linear(z, v=f32[20,48]rand(3))
			y = moec::Attention(q, kv, kv) {heads=3, kv_heads=3, head_dim=8, v_head_dim=8, v_offset=24, scale=0.4}
			return y }`, 2},
		"queries that two attentions read": {`graph(x: f32[b,s,20], z: f32[b,t,20]) {
			q = moec::Linear(x, w=f32[20,24]rand(1), c=f32[24]rand(2))
			kv = moec::Linear(z, v=f32[20,48]rand(3))
			y = moec::Attention(q, kv, kv) {heads=3, kv_heads=3, head_dim=8, v_head_dim=8, v_offset=24}
			o = moec::Attention(q, kv, kv) {heads=3, kv_heads=3, head_dim=8, v_head_dim=8, k_offset=24}
			return y, o }`, 4},
		"queries that are keys, too": {`graph(x: f32[b,s,20]) {
			q = moec::Linear(x, w=f32[20,24]rand(1), c=f32[24]rand(2))
			y = moec::Attention(q, q, q) {heads=3, kv_heads=3, head_dim=8, v_head_dim=8}
			return y }`, 2},
		"heads that hold their queries, keys and values": {`graph(x: f32[b,s,20], c: f32[1,s,1], n: f32[1,s,1]) {
			p = moec::Linear(x, w=f32[20,48]rand(1))
			h = Reshape(p, to=i64[4]{0, 0, 2, 24})
			t = Transpose(h) {perm=[0,2,1,3]}
			q, k, v = Split(t) {axis=3, num_outputs=3}
			rq = moec::Rotary(q, c, n) {heads=2, head_dim=8, rotary_dim=2, layout="bhsd", out_layout="bhsd"}
			rk = moec::Rotary(k, c, n) {heads=2, head_dim=8, rotary_dim=2, layout="bhsd", out_layout="bhsd"}
			y = moec::Attention(rq, rk, v) {heads=2, kv_heads=2, head_dim=8, v_head_dim=8, q_layout="bhsd", k_layout="bhsd", v_layout="bhsd"}
			return y }`, 4},
		"a part of a split that leaves the graph": {`graph(x: f32[b,s,24]) {
			q, k = Split(x) {axis=2, num_outputs=2}
			r = Relu(q)
			z = Add(r, k)
			return z, q }`, 3},
		"values behind a rotation": {`graph(x: f32[b,s,20], c: f32[1,s,4], n: f32[1,s,4]) {
			p = moec::Linear(x, w=f32[20,40]rand(1))
			r = moec::Rotary(p, c, n) {heads=4, head_dim=8, rotary_dim=8, tail=8}
			y = moec::Attention(r, r, r) {heads=3, kv_heads=1, head_dim=8, v_head_dim=8, k_offset=24, v_offset=32}
			return y }`, 3},
		"values behind a rotation that others read": {`graph(x: f32[b,s,20], c: f32[1,s,4], n: f32[1,s,4]) {
			p = moec::Linear(x, w=f32[20,40]rand(1))
			r = moec::Rotary(p, c, n) {heads=4, head_dim=8, rotary_dim=8, tail=8}
			y = moec::Attention(r, r, r) {heads=3, kv_heads=1, head_dim=8, v_head_dim=8, k_offset=24, v_offset=32}
			return y, r }`, 4},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			parse := func() *ir.Graph {
				g, err := irtext.Parse(c.text, ops.NewTable(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := ir.Infer(g); err != nil {
					t.Fatal(err)
				}
				return g
			}
			p, err := codegen.Compile(ctx, parse(), codegen.Target{Device: "cuda", GPU: "a100"})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, st := range p.Main().Steps {
				n += len(st.Launches)
			}
			if n != c.launches || len(hostSteps(p)) > 0 {
				t.Errorf("%d launches, want %d; on the host: %v", n, c.launches, hostSteps(p))
			}
			for _, sizes := range []map[string]int{{"b": 2, "s": 5, "t": 3}, {"b": 1, "s": 1, "t": 1}, {"b": 3, "s": 23, "t": 34}} {
				g := parse()
				ins := passes.RandomInputs(g, sizes, 1)
				want, err := eval.Run(ctx, g, ins, eval.Options{})
				if err != nil {
					t.Fatal(err)
				}
				s := emulated(t, p)
				outs := make([]*tensor.Tensor, len(want))
				if err := s.RunTo(ctx, ins, outs, nil); err != nil {
					t.Fatal(err)
				}
				for i, w := range want {
					g := tensor.Data[float32](outs[i])
					for j, x := range tensor.Data[float32](w) {
						if d := math.Abs(float64(g[j] - x)); !(d <= 1e-4*max(1, math.Abs(float64(x)))) {
							t.Fatalf("%v: output %d, element %d is %g, want %g", sizes, i, j, g[j], x)
						}
					}
				}
			}
		})
	}
}
