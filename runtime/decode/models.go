package decode

import (
	"context"
	"fmt"
	"strings"

	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// Prefix is a Model that feeds every sequence whole at every step: right for any
// causal decoder, and the simple choice for short sequences.
type Prefix struct {
	Session *runtime.Session
	Tokens  string // the int64 input [rows, length] that takes the sequences
	Logits  string // the float32 output [rows, length, vocabulary]
	// Fixed are the other inputs, each for one row; they are repeated along their first
	// dimension for as many rows as there are hypotheses.
	Fixed map[string]*tensor.Tensor
}

// Next implements Model.
func (p *Prefix) Next(ctx context.Context, _ []int, tokens [][]int64) ([][]float32, error) {
	rows, n := len(tokens), len(tokens[0])
	ids := make([]int64, 0, rows*n)
	for _, t := range tokens {
		if len(t) != n {
			return nil, fmt.Errorf("decode: sequences of %d and %d tokens in one step", n, len(t))
		}
		ids = append(ids, t...)
	}
	in := map[string]*tensor.Tensor{p.Tokens: tensor.Of(ids, rows, n)}
	for name, t := range p.Fixed {
		in[name] = repeatRows(t, rows)
	}
	out, err := p.Session.Run(ctx, in)
	if err != nil {
		return nil, err
	}
	return lastRows(out[p.Logits], p.Logits, rows)
}

// lastRows takes the scores of the last position from logits [rows, length, vocabulary].
func lastRows(t *tensor.Tensor, name string, rows int) ([][]float32, error) {
	if t == nil || t.DType() != tensor.F32 || t.Rank() != 3 || t.Shape()[0] != rows || t.Shape()[1] == 0 {
		return nil, fmt.Errorf("decode: output %q is %v, want f32[%d,length,vocabulary]", name, t, rows)
	}
	n, v := t.Shape()[1], t.Shape()[2]
	data := tensor.Data[float32](t)
	out := make([][]float32, rows)
	for r := range out {
		end := (r + 1) * n * v
		out[r] = data[end-v : end]
	}
	return out, nil
}

func repeatRows(t *tensor.Tensor, rows int) *tensor.Tensor {
	if rows == 1 || t.Rank() == 0 {
		return t
	}
	parents := make([]int, rows)
	return takeRows(t, parents)
}

// takeRows picks entries of the first dimension.
func takeRows(t *tensor.Tensor, rows []int) *tensor.Tensor {
	shape := append([]int{len(rows)}, t.Shape()[1:]...)
	out := tensor.New(t.DType(), shape...)
	if t.Shape()[0] == 0 {
		return out
	}
	n := len(t.Bytes()) / t.Shape()[0]
	for i, r := range rows {
		copy(out.Bytes()[i*n:(i+1)*n], t.Bytes()[r*n:(r+1)*n])
	}
	return out
}

// Cached is a Model over a decoder that takes and returns its keys and values: past
// inputs named "past…" pair with outputs "present…", by the rest of the name.
type Cached struct {
	session   *runtime.Session
	tokens    string
	mask, pos string // optional inputs "attention_mask" and "position_ids"
	logits    string
	fixed     map[string]*tensor.Tensor
	pairs     [][2]string // past input, present output
	past      map[string]*tensor.Tensor
	length    int
}

// NewCached inspects a session's inputs and outputs. tokens and logits name the token
// input and the score output; fixed are inputs such as encoder states, for one row.
func NewCached(s *runtime.Session, tokens, logits string, fixed map[string]*tensor.Tensor) (*Cached, error) {
	c := &Cached{session: s, tokens: tokens, logits: logits, fixed: fixed}
	present := map[string]string{}
	for _, p := range s.Outputs() {
		if rest, ok := strings.CutPrefix(p.Name, "present"); ok {
			present[cacheKey(rest)] = p.Name
		}
	}
	seen := false
	for _, p := range s.Inputs() {
		switch {
		case p.Name == tokens:
			seen = true
		case p.Name == "attention_mask":
			c.mask = p.Name
		case p.Name == "position_ids":
			c.pos = p.Name
		case strings.HasPrefix(p.Name, "past"):
			out := present[cacheKey(strings.TrimPrefix(p.Name, "past"))]
			if out == "" {
				return nil, fmt.Errorf("decode: input %q has no matching present output", p.Name)
			}
			c.pairs = append(c.pairs, [2]string{p.Name, out})
		case fixed[p.Name] == nil:
			return nil, fmt.Errorf("decode: input %q is neither tokens, mask, positions, past nor given", p.Name)
		}
	}
	if !seen || len(c.pairs) == 0 {
		return nil, fmt.Errorf("decode: the model has no input %q or no past inputs", tokens)
	}
	return c, nil
}

// cacheKey makes "_key_values.0.key" and ".0.key" the same.
func cacheKey(rest string) string { return strings.TrimPrefix(rest, "_key_values") }

// Next implements Model: the first call feeds the whole prefix over an empty past,
// later calls one token per row.
func (c *Cached) Next(ctx context.Context, parents []int, tokens [][]int64) ([][]float32, error) {
	rows, total := len(tokens), len(tokens[0])
	if parents == nil {
		c.length = 0
		c.past = map[string]*tensor.Tensor{}
		for _, p := range c.session.Inputs() {
			for _, pair := range c.pairs {
				if pair[0] != p.Name {
					continue
				}
				t, err := emptyPast(p, rows)
				if err != nil {
					return nil, err
				}
				c.past[p.Name] = t
			}
		}
	}
	n := total - c.length
	if n < 1 {
		return nil, fmt.Errorf("decode: %d tokens after a past of %d", total, c.length)
	}
	in := map[string]*tensor.Tensor{}
	ids := make([]int64, 0, rows*n)
	pos := make([]int64, 0, rows*n)
	for _, t := range tokens {
		for i := c.length; i < total; i++ {
			ids = append(ids, t[i])
			pos = append(pos, int64(i))
		}
	}
	in[c.tokens] = tensor.Of(ids, rows, n)
	if c.pos != "" {
		in[c.pos] = tensor.Of(pos, rows, n)
	}
	if c.mask != "" {
		ones := make([]int64, rows*total)
		for i := range ones {
			ones[i] = 1
		}
		in[c.mask] = tensor.Of(ones, rows, total)
	}
	for name, t := range c.fixed {
		in[name] = repeatRows(t, rows)
	}
	for name, t := range c.past {
		if parents != nil && !identity(parents, t.Shape()[0]) {
			t = takeRows(t, parents)
		}
		in[name] = t
	}
	out, err := c.session.Run(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, pair := range c.pairs {
		c.past[pair[0]] = out[pair[1]]
	}
	c.length = total
	return lastRows(out[c.logits], c.logits, rows)
}

func identity(parents []int, rows int) bool {
	if len(parents) != rows {
		return false
	}
	for i, p := range parents {
		if i != p {
			return false
		}
	}
	return true
}

// emptyPast is a past of length 0: dimension 0 is the rows, the other open dimension
// the length.
func emptyPast(p runtime.Port, rows int) (*tensor.Tensor, error) {
	shape := make([]int, p.Type.Rank())
	for i, d := range p.Type.Shape {
		switch {
		case i == 0:
			shape[i] = rows
		case d.IsKnown():
			shape[i] = int(d.Size)
		}
	}
	if len(shape) < 3 {
		return nil, fmt.Errorf("decode: past input %q is %s, want at least three dimensions", p.Name, p.Type)
	}
	return tensor.New(p.Type.DType, shape...), nil
}
