package ops_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// What a fused op expands to, in standard ops, computes what its Eval computes.
func TestFusedOpsExpandToWhatTheyMean(t *testing.T) {
	const bsd = `graph(q: f32[2,3,8], k: f32[2,5,8], v: f32[2,5,12], m: f32[2,1,3,5], keep: bool[1,1,3,5]) {
  y = moec::Attention(q, k, v%s) {heads=4, kv_heads=4, head_dim=2, v_head_dim=3%s}
  return y }`
	attention := func(mask, attrs string) string {
		return strings.Replace(strings.Replace(bsd, "%s", mask, 1), "%s", attrs, 1)
	}
	cases := map[string]string{
		"linear":    `graph(x: f32[2,3,4], w: f32[4,5]) { y = moec::Linear(x, w) return y }`,
		"attention": attention("", ", scale=0.7"),
		"added":     attention(", m", ", scale=0.7"),
		"chosen":    attention(", keep", ", fill=-3.0"),
		"causal":    attention("", ", causal=true"),
		"zeroed":    attention(", keep", ", nan_to_zero=true, out_layout=\"bhsd\""),
		"grouped": `graph(x: f32[2,3,14]) {
  y = moec::Attention(x, x, x) {heads=4, kv_heads=2, head_dim=2, v_head_dim=1, k_offset=8, v_offset=12}
  return y }`,
		"half": `graph(q: f16[1,3,4], k: f16[1,3,4], v: f16[1,3,4]) {
  y = moec::Attention(q, k, v) {heads=2, kv_heads=2, head_dim=2, v_head_dim=2, scale=0.5, softcap=0.3}
  return y }`,
		"bhsd": `graph(q: f32[2,4,3,2], k: f32[2,2,5,2], v: f32[2,5,4]) {
  y = moec::Attention(q, k, v) {heads=4, kv_heads=2, head_dim=2, v_head_dim=2, q_layout="bhsd", k_layout="bhsd"}
  return y }`,
		"norm": `graph(x: f32[2,3,4], s: f32[2,3,4], g: f32[4], b: f32[4]) {
  y, z = moec::SkipNorm(x, s, g, b) {epsilon=0.001}
  return y, z }`,
		"rms": `graph(x: f32[2,3,4], s: f32[2,3,4], g: f32[4]) {
  y, z = moec::SkipNorm(x, s, g) {kind="rms"}
  return y, z }`,
		"rotary": `graph(x: f32[2,3,8], c: f32[2,3,2], s: f32[2,3,2]) {
  y = moec::Rotary(x, c, s) {heads=2, head_dim=4, rotary_dim=4}
  return y }`,
		"rotary of a part": `graph(x: f32[2,3,19], c: f32[1,3,4], s: f32[1,3,4]) {
  y = moec::Rotary(x, c, s) {heads=3, head_dim=5, rotary_dim=4, offset=1, tail=2}
  return y }`,
		"rotary interleaved": `graph(x: f32[2,3,12], c: f32[1,3,4], s: f32[1,3,4]) {
  y = moec::Rotary(x, c, s) {heads=2, head_dim=6, rotary_dim=4, interleaved=true, out_layout="bhsd"}
  return y }`,
		"rotary of heads": `graph(x: f16[2,2,3,4], c: f16[2,3,2], s: f16[2,3,2]) {
  y = moec::Rotary(x, c, s) {heads=2, head_dim=4, rotary_dim=4, interleaved=true, layout="bhsd"}
  return y }`,
		"conv": `graph(x: f32[1,2,5,5], w: f32[4,1,3,3], b: f32[4], r: f32[1,4,3,3]) {
  y = moec::Conv(x, w, b, r) {group=2, strides=[2,2], pads=[1,1,1,1], activation="relu"}
  return y }`,
		"conv channels last": `graph(x: f32[1,5,5,2], w: f32[4,1,3,3], b: f32[4], r: f32[1,3,3,4]) {
  y = moec::Conv(x, w, b, r) {group=2, strides=[2,2], pads=[1,1,1,1], activation="relu", channels_last=true}
  return y }`,
		"max pool": `graph(x: f32[2,5,6,3]) {
  y = moec::Pool(x) {kind="max", kernel_shape=[3,2], strides=[2,1], pads=[1,0,1,1]}
  return y }`,
		"average pool": `graph(x: f32[2,5,3]) {
  y = moec::Pool(x) {kind="average", kernel_shape=[3], pads=[1,1], count_include_pad=true}
  return y }`,
		"group norm": `graph(x: f32[2,5,4,6], s: f32[6], b: f32[6]) {
  y = moec::GroupNorm(x, s, b) {num_groups=3, activation="silu", epsilon=0.01}
  return y }`,
		"global pool": `graph(x: f32[2,5,6,3]) {
  y = moec::Pool(x) {kind="global"}
  return y }`,
	}
	for _, act := range []string{"relu", "relu2", "relu6", "gelu", "gelu-tanh", "quick-gelu", "silu", "sigmoid", "tanh", "hardswish"} {
		cases["linear "+act] = `graph(x: f32[2,3,4], w: f32[4,5], b: f32[5], r: f32[2,3,5]) {
  y = moec::Linear(x, w, b, r) {activation="` + act + `"}
  return y }`
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			g, err := irtext.Parse(text, ops.NewTable(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := ir.Infer(g); err != nil {
				t.Fatal(err)
			}
			ins := randomInputs(g)
			want, err := eval.Run(context.Background(), g, ins, eval.Options{})
			if err != nil {
				t.Fatal(err)
			}
			expand(t, g)
			got, err := eval.Run(context.Background(), g, ins, eval.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				closeTo(t, want[i], got[i])
			}
		})
	}
}

// expand replaces the moec nodes of g by their expansions.
func expand(t *testing.T, g *ir.Graph) {
	t.Helper()
	for _, n := range append([]*ir.Node(nil), g.Nodes...) {
		outs, err := n.Op.Expand(g, n)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range n.Outputs {
			g.ReplaceUses(v, outs[i])
		}
		g.Remove(n)
	}
	if err := g.Sort(); err != nil {
		t.Fatal(err)
	}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	if err := ir.Verify(g); err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes {
		if n.Op.Domain != ir.DomainONNX {
			t.Errorf("%s is left", n.Op)
		}
	}
}

func randomInputs(g *ir.Graph) []*tensor.Tensor {
	rng := rand.New(rand.NewPCG(1, 2))
	var ins []*tensor.Tensor
	for _, v := range g.Inputs {
		shape, _ := v.Type.Static()
		x := tensor.New(v.Type.DType, shape...)
		for i := range x.Len() {
			f := float32(rng.NormFloat64() * 2)
			switch v.Type.DType {
			case tensor.F32:
				tensor.Data[float32](x)[i] = f
			case tensor.F16:
				tensor.Data[tensor.Float16](x)[i] = tensor.ToFloat16(f)
			case tensor.Bool: // the second row sees nothing
				tensor.Data[bool](x)[i] = i%2 == 0 && i/5 != 1
			}
		}
		ins = append(ins, x)
	}
	return ins
}

// closeTo holds two results of one formula to the rounding of their type: these sums
// have a dozen terms of size 4 at most.
func closeTo(t *testing.T, want, got *tensor.Tensor) {
	t.Helper()
	if want.String() != got.String() {
		t.Fatalf("%s, want %s", got, want)
	}
	tol := 1e-5
	if want.DType() == tensor.F16 {
		tol = 1e-2
	}
	a, err1 := want.Float64s()
	b, err2 := got.Float64s()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for i := range a {
		if math.IsNaN(a[i]) != math.IsNaN(b[i]) || math.Abs(a[i]-b[i]) > tol*max(1, math.Abs(a[i])) {
			t.Fatalf("element %d is %v, want %v", i, b[i], a[i])
		}
	}
}
