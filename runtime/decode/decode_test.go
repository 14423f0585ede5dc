package decode_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/runtime/decode"
)

// chain is a language model over a few tokens: the probability of the next one given the
// last, so that every sequence's probability can be worked out by hand.
type chain struct {
	next  [][]float64
	calls [][]int // parents of every call
}

func (c *chain) Next(_ context.Context, parents []int, tokens [][]int64) ([][]float32, error) {
	c.calls = append(c.calls, slices.Clone(parents))
	var out [][]float32
	for _, t := range tokens {
		row := make([]float32, len(c.next))
		for i, p := range c.next[t[len(t)-1]] {
			row[i] = float32(math.Log(p)) + 3 // scores may be shifted by any constant
		}
		out = append(out, row)
	}
	return out, nil
}

// From 0, greedy goes to 1 (0.6) and ends with probability 0.6*0.4; the best sequence
// goes to 2 (0.4) and ends with probability 0.4*0.9. Token 3 ends a sequence.
func garden() *chain {
	return &chain{next: [][]float64{{0, 0.6, 0.4, 0}, {0, 0.3, 0.3, 0.4}, {0, 0.05, 0.05, 0.9}, {1, 0, 0, 0}}}
}

func TestGreedyTakesTheLikeliestStep(t *testing.T) {
	got, err := decode.Greedy(context.Background(), garden(), decode.Options{Start: []int64{0}, EOS: 3, MaxLen: 10})
	if err != nil || !slices.Equal(got, []int64{1, 3}) {
		t.Errorf("%v, %v", got, err)
	}
	// Ties go to the lowest id, and MaxLen counts the start.
	even := &chain{next: [][]float64{{0, 0.5, 0.5}, {0, 0.5, 0.5}, {0, 0.5, 0.5}}}
	got, err = decode.Greedy(context.Background(), even, decode.Options{Start: []int64{0, 2}, EOS: 0, MaxLen: 5})
	if err != nil || !slices.Equal(got, []int64{1, 1, 1}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestBeamFindsTheLikeliestSequence(t *testing.T) {
	m := garden()
	got, err := decode.Beam(context.Background(), m, 2, decode.Options{Start: []int64{0}, EOS: 3, MaxLen: 10})
	if err != nil || len(got) == 0 {
		t.Fatal(got, err)
	}
	if !slices.Equal(got[0].Tokens, []int64{2, 3}) || math.Abs(got[0].LogProb-math.Log(0.36)) > 1e-6 {
		t.Errorf("best is %v with log-probability %g, want [2 3] with %g", got[0].Tokens, got[0].LogProb, math.Log(0.36))
	}
	for i := 1; i < len(got); i++ {
		if got[i].Score > got[i-1].Score {
			t.Errorf("hypotheses are not in order: %v", got)
		}
	}
	if m.calls[0] != nil {
		t.Errorf("the first call has parents %v", m.calls[0])
	}
}

// Exhaustive search over all sequences of a small model is what a beam as wide as there
// are sequences must find.
func TestWideBeamIsExhaustive(t *testing.T) {
	next := [][]float64{{0, 0.5, 0.3, 0.2}, {0, 0.1, 0.6, 0.3}, {0, 0.45, 0.35, 0.2}, {1, 0, 0, 0}}
	best, bestLog := []int64(nil), math.Inf(-1)
	var walk func(seq []int64, logp float64)
	walk = func(seq []int64, logp float64) {
		last := int64(0)
		if len(seq) > 0 {
			last = seq[len(seq)-1]
		}
		if last == 3 || len(seq) == 4 {
			if logp > bestLog {
				best, bestLog = slices.Clone(seq), logp
			}
			return
		}
		for i, p := range next[last] {
			if p > 0 {
				walk(append(slices.Clone(seq), int64(i)), logp+math.Log(p))
			}
		}
	}
	walk(nil, 0)
	got, err := decode.Beam(context.Background(), &chain{next: next}, 81, decode.Options{Start: []int64{0}, EOS: 3, MaxLen: 5})
	if err != nil || len(got) == 0 || !slices.Equal(got[0].Tokens, best) || math.Abs(got[0].LogProb-bestLog) > 1e-6 {
		t.Errorf("%v, %v; want %v with %g", got, err, best, bestLog)
	}
}

type failing struct{ err error }

func (f failing) Next(context.Context, []int, [][]int64) ([][]float32, error) { return nil, f.err }

func TestSearchesRefuseAndPassOnErrors(t *testing.T) {
	ctx := context.Background()
	for _, o := range []decode.Options{{MaxLen: 4}, {Start: []int64{1, 2}, MaxLen: 2}} {
		if _, err := decode.Greedy(ctx, garden(), o); err == nil || !strings.HasPrefix(err.Error(), "decode: ") {
			t.Errorf("%+v: %v", o, err)
		}
		if _, err := decode.Beam(ctx, garden(), 2, o); err == nil {
			t.Errorf("%+v passes", o)
		}
	}
	good := decode.Options{Start: []int64{0}, EOS: 3, MaxLen: 4}
	if _, err := decode.Beam(ctx, garden(), 0, good); err == nil {
		t.Error("a beam of width 0 passes")
	}
	boom := errors.New("boom")
	if _, err := decode.Greedy(ctx, failing{boom}, good); !errors.Is(err, boom) {
		t.Error(err)
	}
	if _, err := decode.Beam(ctx, failing{boom}, 2, good); !errors.Is(err, boom) {
		t.Error(err)
	}
}
