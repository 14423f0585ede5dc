package decode_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/runtime"
	"github.com/seed-c851cfd2/moec/runtime/decode"
)

// A decoder of one layer with two heads and a key/value cache, as exporters write it: the
// causal mask comes from position_ids, padding from attention_mask, and "bias" [b,11]
// stands for whatever else a decoder reads per row.
const decoder = `graph(input_ids: i64[b,s], attention_mask: i64[b,t], position_ids: i64[b,s], bias: f32[b,11],
    past_key_values.0.key: f32[b,2,p,4], past_key_values.0.value: f32[b,2,p,4]) {
  tok = Gather(emb=f32[11,8]rand(1), input_ids)
  pos = Gather(ptab=f32[32,8]rand(2), position_ids)
  x = Add(tok, pos)
  shape = Constant() {value=i64[4]{0, 0, 2, 4}}
  ql = MatMul(x, wq=f32[8,8]rand(3))
  qr = Reshape(ql, shape)
  q = Transpose(qr) {perm=[0, 2, 1, 3]}
  kl = MatMul(x, wk=f32[8,8]rand(4))
  kr = Reshape(kl, shape)
  k1 = Transpose(kr) {perm=[0, 2, 1, 3]}
  vl = MatMul(x, wv=f32[8,8]rand(5))
  vr = Reshape(vl, shape)
  v1 = Transpose(vr) {perm=[0, 2, 1, 3]}
  present.0.key = Concat(past_key_values.0.key, k1) {axis=2}
  present.0.value = Concat(past_key_values.0.value, v1) {axis=2}
  kt = Transpose(present.0.key) {perm=[0, 1, 3, 2]}
  scores = MatMul(q, kt)
  ms = Shape(attention_mask) {start=1, end=2}
  total = Squeeze(ms, zero=i64[1]{0})
  keys = Range(from=i64[]{0}, total, step=i64[]{1})
  qpos = Unsqueeze(position_ids, two=i64[1]{2})
  seen = LessOrEqual(keys, qpos)
  padded = Unsqueeze(attention_mask, one=i64[1]{1})
  real = Cast(padded) {to=bool}
  both = And(seen, real)
  open = Unsqueeze(both, one2=i64[1]{1})
  masked = Where(open, scores, low=f32[]{-1e30})
  p = Softmax(masked) {axis=-1}
  o = MatMul(p, present.0.value)
  ot = Transpose(o) {perm=[0, 2, 1, 3]}
  flat = Constant() {value=i64[3]{0, 0, 8}}
  of = Reshape(ot, flat)
  y = Add(x, of)
  head = MatMul(y, wo=f32[8,11]rand(6))
  b1 = Unsqueeze(bias, one3=i64[1]{1})
  logits = Add(head, b1)
  return logits, present.0.key, present.0.value
}`

func parseDecoder(t *testing.T) *ir.Graph {
	t.Helper()
	g, err := irtext.Parse(decoder, ops.NewTable(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func session(t *testing.T, g *ir.Graph) *runtime.Session {
	t.Helper()
	ctx := context.Background()
	if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(ctx, g, codegen.Target{Device: "cpu"})
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

// interpreted is the specification of a cached decoder: the whole prefix over an empty
// past at every step, on the reference interpreter.
type interpreted struct {
	g    *ir.Graph
	bias *tensor.Tensor
}

func (m interpreted) Next(ctx context.Context, _ []int, tokens [][]int64) ([][]float32, error) {
	rows, n := len(tokens), len(tokens[0])
	var ids, pos, ones []int64
	var bias []float32
	for _, t := range tokens {
		ids = append(ids, t...)
		bias = append(bias, tensor.Data[float32](m.bias)...)
		for i := range t {
			pos, ones = append(pos, int64(i)), append(ones, 1)
		}
	}
	outs, err := eval.Run(ctx, m.g, []*tensor.Tensor{
		tensor.Of(ids, rows, n), tensor.Of(ones, rows, n), tensor.Of(pos, rows, n), tensor.Of(bias, rows, 11),
		tensor.New(tensor.F32, rows, 2, 0, 4), tensor.New(tensor.F32, rows, 2, 0, 4),
	}, eval.Options{})
	if err != nil {
		return nil, err
	}
	var last [][]float32
	for r := range rows {
		end := (r + 1) * n * 11
		last = append(last, tensor.Data[float32](outs[0])[end-11:end])
	}
	return last, nil
}

// Step by step over its cache a decoder finds what it finds over the whole prefix, for
// one row and for the reordered rows of a beam.
func TestCachedDecodesLikeTheWholePrefix(t *testing.T) {
	ctx := context.Background()
	bias := tensor.Of([]float32{0.3, -0.2, 0.1, 0, 0.4, -0.5, 0.2, 0, 0.1, -0.1, 0.25}, 1, 11)
	want := interpreted{parseDecoder(t), bias}
	got, err := decode.NewCached(session(t, parseDecoder(t)), "input_ids", "logits", map[string]*tensor.Tensor{"bias": bias})
	if err != nil {
		t.Fatal(err)
	}
	for start := range int64(11) {
		o := decode.Options{Start: []int64{start, 10 - start}, EOS: 7, MaxLen: 14, LengthPenalty: 0.6}
		a, err := decode.Greedy(ctx, want, o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := decode.Greedy(ctx, got, o)
		if err != nil || !slices.Equal(a, b) {
			t.Fatalf("from %d greedy gives %v, %v; over the whole prefix %v", start, b, err, a)
		}
		hs, err := decode.Beam(ctx, want, 3, o)
		if err != nil {
			t.Fatal(err)
		}
		gs, err := decode.Beam(ctx, got, 3, o)
		if err != nil || len(gs) != len(hs) {
			t.Fatalf("from %d a beam gives %v, %v; over the whole prefix %v", start, gs, err, hs)
		}
		for i := range hs {
			// Sums of up to 12 log-probabilities of f32 scores near 1: 12 x a few ulp.
			if d := gs[i].LogProb - hs[i].LogProb; !slices.Equal(gs[i].Tokens, hs[i].Tokens) || d > 1e-5 || d < -1e-5 {
				t.Fatalf("from %d hypothesis %d is %v, over the whole prefix %v", start, i, gs[i], hs[i])
			}
		}
	}
}

func TestNewCachedNamesWhatItCannotFeed(t *testing.T) {
	s := session(t, parseDecoder(t))
	if _, err := decode.NewCached(s, "input_ids", "logits", nil); err == nil || !strings.Contains(err.Error(), `"bias"`) {
		t.Error(err)
	}
	if _, err := decode.NewCached(s, "ids", "logits", map[string]*tensor.Tensor{"bias": tensor.New(tensor.F32, 1, 11)}); err == nil {
		t.Error("a model without the token input passes")
	}
	g := parseDecoder(t)
	g.Outputs = g.Outputs[:2]
	if _, err := decode.NewCached(session(t, g), "input_ids", "logits", map[string]*tensor.Tensor{"bias": tensor.New(tensor.F32, 1, 11)}); err == nil || !strings.Contains(err.Error(), "past_key_values.0.value") {
		t.Error(err)
	}
}
