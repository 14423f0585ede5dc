package tests

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/runtime"
	"github.com/seed-c851cfd2/moec/runtime/decode"
)

// decoder is a decoder of two layers with grouped heads, rotary embedding by position ids and a
// cache, spelled as exporters spell it; padding says whether it takes an attention mask.
func decoder(padding bool) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+"\n", args...) }
	b.WriteString("graph decoder(input_ids: i64[batch,seq], position_ids: i64[batch,seq]")
	if padding {
		b.WriteString(", attention_mask: i64[batch,all]")
	}
	for l := range 2 {
		for _, kv := range []string{"key", "value"} {
			fmt.Fprintf(&b, ", past_key_values.%d.%s: f32[batch,2,past,8]", l, kv)
		}
	}
	b.WriteString(") {\n")
	line("x0 = Gather(embed=f32[50,32]rand(1), input_ids)")
	// cos and sin of position times frequency, one number per element
	line("p1 = Unsqueeze(position_ids, one=i64[1]{1})")
	line("p2 = Cast(p1) {to=f32}")
	line("angle = MatMul(inv=f32[1,4,1]{1, 0.3, 0.1, 0.03}, p2)")
	line("at = Transpose(angle) {perm=[0,2,1]}")
	line("emb = Concat(at, at) {axis=-1}")
	line("c3 = Cos(emb)")
	line("s3 = Sin(emb)")
	line("cos = Unsqueeze(c3, one)")
	line("sin = Unsqueeze(s3, one)")
	// key j is seen by query i when j <= past + i, and when it is no padding
	line("ishape = Shape(input_ids)")
	line("pshape = Shape(past_key_values.0.key)")
	line("n = Gather(ishape, i1=i64[]{1})")
	line("past_n = Gather(pshape, i2=i64[]{2})")
	line("total = Add(past_n, n)")
	line("keys = Range(i0=i64[]{0}, total, i1)")
	line("queries = Range(past_n, total, i1)")
	line("column = Unsqueeze(queries, one)")
	line("causal = LessOrEqual(keys, column)")
	line("keep4 = Unsqueeze(causal, two=i64[2]{0, 1})")
	if padding {
		line("real = Cast(attention_mask) {to=bool}")
		line("real4 = Unsqueeze(real, inner=i64[2]{1, 2})")
		line("keep = And(keep4, real4)")
	} else {
		line("keep = Identity(keep4)")
	}
	line("mask = Where(keep, shown=f32[]{0}, hidden=f32[]{-3.4028235e+38})")
	for l := range 2 {
		seed := 10 * (l + 1)
		norm := func(from, to string, scale int) {
			line("%s_sq%d = Pow(%s, e2_%s_%d=f32[]{2})", to, l, from, to, l)
			line("%s_mean%d = ReduceMean(%s_sq%d, last_%s_%d=i64[1]{-1})", to, l, to, l, to, l)
			line("%s_eps%d = Add(%s_mean%d, tiny_%s_%d=f32[]{1e-6})", to, l, to, l, to, l)
			line("%s_root%d = Sqrt(%s_eps%d)", to, l, to, l)
			line("%s_quot%d = Div(%s, %s_root%d)", to, l, from, to, l)
			line("%s%d = Mul(g_%s_%d=f32[32]rand(%d), %s_quot%d)", to, l, to, l, scale, to, l)
		}
		norm(fmt.Sprintf("x%d", l), "h", seed)
		heads := func(name string, n, salt int) {
			line("%s%d = MatMul(h%d, w%s%d=f32[32,%d]rand(%d)) @ layers.%d.%s_proj", name, l, l, name, l, 8*n, seed+salt, l, name)
			line("%sr%d = Reshape(%s%d, to_%s%d=i64[4]{0, 0, %d, 8})", name, l, name, l, name, l, n)
			line("%st%d = Transpose(%sr%d) {perm=[0,2,1,3]}", name, l, name, l)
		}
		heads("q", 4, 1)
		heads("k", 2, 2)
		heads("v", 2, 3)
		for _, name := range []string{"q", "k"} {
			line("%sa%d = Slice(%st%d, z%s%d=i64[1]{0}, f%s%d=i64[1]{4}, a%s%d=i64[1]{3})", name, l, name, l, name, l, name, l, name, l)
			line("%sb%d = Slice(%st%d, f%s%d, m%s%d=i64[1]{9223372036854775807}, a%s%d)", name, l, name, l, name, l, name, l, name, l)
			line("%sn%d = Neg(%sb%d)", name, l, name, l)
			line("%sh%d = Concat(%sn%d, %sa%d) {axis=-1}", name, l, name, l, name, l)
			line("%sc%d = Mul(%st%d, cos)", name, l, name, l)
			line("%ss%d = Mul(%sh%d, sin)", name, l, name, l)
			line("%se%d = Add(%sc%d, %ss%d) @ layers.%d.%s_rotary", name, l, name, l, name, l, l, name)
		}
		line("present.%d.key = Concat(past_key_values.%d.key, ke%d) {axis=-2}", l, l, l)
		line("present.%d.value = Concat(past_key_values.%d.value, vt%d) {axis=-2}", l, l, l)
		for _, kv := range []string{"key", "value"} {
			line("%su%d = Unsqueeze(present.%d.%s, t%s%d=i64[1]{2})", kv, l, l, kv, kv, l)
			line("%sx%d = Expand(%su%d, w%s%d=i64[5]{1, 1, 2, 1, 1})", kv, l, kv, l, kv, l)
			line("%ssh%d = Shape(present.%d.%s) {start=2, end=3}", kv, l, l, kv)
			line("%sto%d = Concat(b%s%d=i64[1]{0}, h%s%d=i64[1]{4}, %ssh%d, d%s%d=i64[1]{8}) {axis=0}", kv, l, kv, l, kv, l, kv, l, kv, l)
			line("%sg%d = Reshape(%sx%d, %sto%d)", kv, l, kv, l, kv, l)
		}
		line("kk%d = Transpose(keyg%d) {perm=[0,1,3,2]}", l, l)
		line("dots%d = MatMul(qe%d, kk%d)", l, l, l)
		line("scores%d = Mul(dots%d, scale%d=f32[]{0.35355338})", l, l, l)
		line("masked%d = Add(scores%d, mask)", l, l)
		line("weights%d = Softmax(masked%d) {axis=-1} @ layers.%d.softmax", l, l, l)
		line("mixed%d = MatMul(weights%d, valueg%d)", l, l, l)
		line("mt%d = Transpose(mixed%d) {perm=[0,2,1,3]}", l, l)
		line("merged%d = Reshape(mt%d, back%d=i64[3]{0, 0, 32})", l, l, l)
		line("out%d = MatMul(merged%d, wo%d=f32[32,32]rand(%d))", l, l, l, seed+4)
		line("r%d = Add(x%d, out%d)", l, l, l)
		norm(fmt.Sprintf("r%d", l), "m", seed+5)
		line("gate%d = MatMul(m%d, wg%d=f32[32,48]rand(%d))", l, l, l, seed+6)
		line("sg%d = Sigmoid(gate%d)", l, l)
		line("act%d = Mul(gate%d, sg%d)", l, l, l)
		line("up%d = MatMul(m%d, wu%d=f32[32,48]rand(%d))", l, l, l, seed+7)
		line("prod%d = Mul(act%d, up%d)", l, l, l)
		line("down%d = MatMul(prod%d, wd%d=f32[48,32]rand(%d))", l, l, l, seed+8)
		line("x%d = Add(r%d, down%d)", l+1, l, l)
	}
	line("logits = MatMul(x2, head=f32[32,50]rand(40))")
	line("return logits, present.0.key, present.0.value, present.1.key, present.1.value")
	b.WriteString("}\n")
	return b.String()
}

func decoderGraph(t *testing.T, padding bool) *ir.Graph {
	t.Helper()
	g, err := irtext.Parse(decoder(padding), ops.NewTable(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// opened runs the passes over a graph and opens it on the CPU.
func opened(t *testing.T, g *ir.Graph) *runtime.Session {
	t.Helper()
	if _, err := passes.Run(context.Background(), g, passes.Default()); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(context.Background(), g, codegen.Target{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := runtime.New(p, runtime.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestDecodingStepByStep feeds a decoder one token at a time over its cache, two rows at once, and
// holds the scores to those of whole prefixes over an empty cache.
func TestDecodingStepByStep(t *testing.T) {
	for _, padding := range []bool{true, false} {
		t.Run(fmt.Sprintf("padding=%v", padding), func(t *testing.T) {
			ctx := context.Background()
			s := opened(t, decoderGraph(t, padding))
			open := func() *decode.Cached {
				c, err := decode.NewCached(s, "input_ids", "logits", nil)
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			rows := [][]int64{{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8}, {2, 7, 1, 8, 2, 8, 1, 8, 2, 8, 4, 5}}
			cut := func(n int) [][]int64 { return [][]int64{rows[0][:n], rows[1][:n]} }
			steps := open()
			var parents []int
			for n := 4; n <= len(rows[0]); n++ { // a prefix of four, then token by token
				got, err := steps.Next(ctx, parents, cut(n))
				if err != nil {
					t.Fatal(err)
				}
				parents = []int{0, 1}
				want, err := open().Next(ctx, nil, cut(n))
				if err != nil {
					t.Fatal(err)
				}
				for r := range want {
					var top float64
					for _, v := range want[r] {
						top = max(top, math.Abs(float64(v)))
					}
					for i := range want[r] {
						// Sums of 32 to 48 products in another order, two layers deep.
						if d := math.Abs(float64(got[r][i] - want[r][i])); d > 1e-5*top {
							t.Fatalf("%d tokens, row %d: score %d is %v, want %v", n, r, i, got[r][i], want[r][i])
						}
					}
				}
			}
		})
	}
}

// TestDecoderLayers holds what is left of a layer: no step moves elements but the appending to the
// cache and the splitting of the values' heads for it.
func TestDecoderLayers(t *testing.T) {
	for _, padding := range []bool{true, false} {
		g := decoderGraph(t, padding)
		opts := passes.Default()
		opts.Verify, opts.Shuffle = true, true
		opts.Check = &passes.Check{Eval: runners[0].run, Seed: 1, Sizes: map[string]int{"past": 3, "seq": 2, "all": 5}}
		if _, err := passes.Run(context.Background(), g, opts); err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, n := range g.Nodes {
			count[n.Op.String()]++
			if n.Is("moec::Attention") && len(n.Origin) == 0 {
				t.Errorf("%s has no origin", n.Name)
			}
		}
		for op, want := range map[string]int{"moec::Attention": 2, "moec::Rotary": 4, "Softmax": 0, "Neg": 0, "Expand": 0, "moec::GatedMLP": 2, "Transpose": 3, "moec::Linear": 7} {
			if count[op] != want {
				t.Errorf("padding %v: %d nodes %s, want %d\n%s", padding, count[op], op, want, irtext.String(g))
			}
		}
	}
}
