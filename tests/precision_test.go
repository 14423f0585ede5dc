package tests

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
	"github.com/seed-c851cfd2/moec/runtime"
)

// texts are token ids of sentences, unpadded: those of texts.npz beside the models
// (input_ids and attention_mask, [n, length]) where there is one, else made-up ones of
// many lengths.
func texts(t *testing.T, dir string) [][]int64 {
	t.Helper()
	var out [][]int64
	list, err := tensorio.ReadFile(filepath.Join(dir, "texts.npz"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		rng := rand.New(rand.NewPCG(1, 2))
		for range 60 {
			ids := make([]int64, 3+rng.IntN(90))
			for i := range ids {
				ids[i] = 1996 + rng.Int64N(20000)
			}
			ids[0], ids[len(ids)-1] = 101, 102
			out = append(out, ids)
		}
		return out
	}
	if err != nil {
		t.Fatal(err)
	}
	var ids, mask *tensor.Tensor
	for _, e := range list {
		switch e.Name {
		case "input_ids":
			ids = e.Tensor
		case "attention_mask":
			mask = e.Tensor
		}
	}
	if ids == nil || mask == nil {
		t.Fatal("texts.npz has no input_ids or no attention_mask")
	}
	width := ids.Shape()[1]
	for i := range ids.Shape()[0] {
		n := 0
		for _, m := range tensor.Data[int64](mask)[i*width : (i+1)*width] {
			n += int(m)
		}
		out = append(out, tensor.Data[int64](ids)[i*width:i*width+n])
	}
	return out
}

// embedding is the mean of the last hidden state over the tokens of one text.
func embedding(t *testing.T, s *runtime.Session, ids []int64) []float64 {
	t.Helper()
	n := len(ids)
	ones := make([]int64, n)
	for i := range ones {
		ones[i] = 1
	}
	out, err := s.Run(context.Background(), map[string]*tensor.Tensor{
		"input_ids": tensor.Of(ids, 1, n), "attention_mask": tensor.Of(ones, 1, n), "token_type_ids": tensor.New(tensor.I64, 1, n),
	})
	if err != nil {
		t.Fatal(err)
	}
	h := out["last_hidden_state"]
	width := h.Shape()[2]
	e := make([]float64, width)
	for i, v := range tensor.Data[float32](h) {
		e[i%width] += float64(v)
	}
	return e
}

// TestPrecisionOfSentences: the sentence embeddings of bf16 and int8 programs point where
// the f32 program's do, in the worst text.
//
// In bf16 both sides of the six products of each of six layers are rounded: see leastCosine.
// In int8 they are four products, of steps of 1/127 of the largest magnitude, over a column
// of weights or a row of values. Spread evenly, the error is that over sqrt(12): relative to
// the root of the mean square 0.009 where the largest is 4 times that, as in columns of
// weights, 0.018 where it is 8 times, as in rows of values, which have outliers. Their
// squares, 24 times each, make 0.01, half of which the cosine loses, and with errors
// strengthened by sqrt(2) all of it.
func TestPrecisionOfSentences(t *testing.T) {
	path := modelFile(t, "minilm6.onnx")
	dir := filepath.Dir(path)
	exact := compiled(t, path, codegen.Target{})
	for _, c := range []struct {
		precision string
		least     float64
	}{{"bf16", leastCosine(6*6*2, unit[tensor.BF16])}, {"int8", .99}} {
		t.Run(c.precision, func(t *testing.T) {
			s := compiled(t, path, codegen.Target{Precision: c.precision})
			worst, mean, all := 1.0, 0.0, texts(t, dir)
			for _, ids := range all {
				a, b := embedding(t, exact, ids), embedding(t, s, ids)
				var ab, aa, bb float64
				for i := range a {
					ab, aa, bb = ab+a[i]*b[i], aa+a[i]*a[i], bb+b[i]*b[i]
				}
				cos := ab / math.Sqrt(aa*bb)
				worst, mean = math.Min(worst, cos), mean+cos/float64(len(all))
			}
			t.Logf("%d texts: worst cosine %.6f, mean %.6f", len(all), worst, mean)
			if !(worst >= c.least) {
				t.Errorf("worst cosine %.6f, want %v", worst, c.least)
			}
		})
	}
}
