// Package decode generates token sequences with a compiled model: greedy and beam
// search over any Model, and two Models over a runtime.Session, one that feeds the whole
// prefix at every step and one that keeps the decoder's keys and values.
package decode

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// Model gives the scores of the next token.
type Model interface {
	// Next extends the hypotheses and returns, per row, one score per vocabulary entry
	// (logits; any constant may be added to a row). Row r continues what row
	// parents[r] of the previous call held, by tokens[r], its whole sequence so far. In
	// the first call parents is nil. The result is valid until the next call.
	Next(ctx context.Context, parents []int, tokens [][]int64) ([][]float32, error)
}

// Options bound a search.
type Options struct {
	Start  []int64 // the tokens every sequence begins with; at least one
	EOS    int64   // the token that ends a sequence
	MaxLen int     // longest sequence, Start included; required
	// LengthPenalty divides a finished beam's log-probability by length^LengthPenalty
	// (length without Start, with EOS); 0 compares sums, 1 averages.
	LengthPenalty float64
}

func (o *Options) check() error {
	if len(o.Start) == 0 {
		return fmt.Errorf("decode: no start token")
	}
	if o.MaxLen <= len(o.Start) {
		return fmt.Errorf("decode: MaxLen %d leaves no room after %d start tokens", o.MaxLen, len(o.Start))
	}
	return nil
}

// Greedy takes the most likely token at every step, the lowest id among equals, until
// EOS or MaxLen. The result leaves Start out and EOS in, if it was reached.
func Greedy(ctx context.Context, m Model, o Options) ([]int64, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	seq := slices.Clone(o.Start)
	var parents []int
	for len(seq) < o.MaxLen {
		scores, err := m.Next(ctx, parents, [][]int64{seq})
		if err != nil {
			return nil, err
		}
		next := argmax(scores[0])
		seq = append(seq, next)
		if next == o.EOS {
			break
		}
		parents = []int{0}
	}
	return seq[len(o.Start):], nil
}

// argmax is the index of the largest score, the lowest among equals; NaN never wins.
func argmax(s []float32) int64 {
	best := 0
	for i, v := range s {
		if v > s[best] || s[best] != s[best] {
			best = i
		}
	}
	return int64(best)
}

// Hypothesis is a sequence found by Beam.
type Hypothesis struct {
	Tokens  []int64 // without Start; with EOS if it ended
	LogProb float64 // sum over Tokens
	Score   float64 // LogProb under the length penalty
}

// Beam keeps the width most likely sequences at every step and returns up to width
// finished ones, best first. Equal scores go to the earlier beam, then the lower id.
func Beam(ctx context.Context, m Model, width int, o Options) ([]Hypothesis, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if width < 1 {
		return nil, fmt.Errorf("decode: beam width %d", width)
	}
	type beam struct {
		seq  []int64
		logp float64
	}
	live := []beam{{seq: o.Start}}
	var parents []int
	var done []Hypothesis
	finish := func(b beam) {
		n := len(b.seq) - len(o.Start)
		done = append(done, Hypothesis{b.seq[len(o.Start):], b.logp, b.logp / math.Pow(float64(n), o.LengthPenalty)})
	}
	for len(live) > 0 && len(live[0].seq) < o.MaxLen {
		tokens := make([][]int64, len(live))
		for i, b := range live {
			tokens[i] = b.seq
		}
		scores, err := m.Next(ctx, parents, tokens)
		if err != nil {
			return nil, err
		}
		type cand struct {
			parent int
			token  int64
			logp   float64
		}
		var cands []cand
		for i, b := range live {
			norm := logSumExp(scores[i])
			for _, t := range largest(scores[i], width+1) {
				cands = append(cands, cand{i, t, b.logp + float64(scores[i][t]) - norm})
			}
		}
		slices.SortStableFunc(cands, func(a, b cand) int {
			switch {
			case a.logp > b.logp:
				return -1
			case a.logp < b.logp:
				return 1
			}
			return 0
		})
		var next []beam
		parents = parents[:0:0]
		for _, c := range cands {
			if len(next) == width {
				break
			}
			nb := beam{append(slices.Clip(slices.Clone(live[c.parent].seq)), c.token), c.logp}
			if c.token == o.EOS {
				finish(nb)
				continue
			}
			next = append(next, nb)
			parents = append(parents, c.parent)
		}
		live = next
		if len(done) >= width {
			break
		}
	}
	if len(done) < width {
		for _, b := range live { // ran into MaxLen
			finish(b)
		}
	}
	slices.SortStableFunc(done, func(a, b Hypothesis) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return 0
	})
	return done[:min(width, len(done))], nil
}

func logSumExp(s []float32) float64 {
	m := math.Inf(-1)
	for _, v := range s {
		m = max(m, float64(v))
	}
	if math.IsInf(m, -1) {
		return m
	}
	var sum float64
	for _, v := range s {
		sum += math.Exp(float64(v) - m)
	}
	return m + math.Log(sum)
}

// largest gives the indices of the n largest scores, largest first, lower index first
// among equals; NaN counts as the smallest.
func largest(s []float32, n int) []int64 {
	n = min(n, len(s))
	out := make([]int64, 0, n+1)
	above := func(i, j int64) bool { return s[i] > s[j] || s[i] == s[i] && s[j] != s[j] }
	for i := range s {
		j := len(out)
		for j > 0 && above(int64(i), out[j-1]) {
			j--
		}
		if j < n {
			out = slices.Insert(out, j, int64(i))
			out = out[:min(n, len(out))]
		}
	}
	return out
}
