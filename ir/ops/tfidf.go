package ops

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TfIdfAttrs are the attributes of TfIdfVectorizer.
type TfIdfAttrs struct {
	MaxGramLength int64     `attr:"max_gram_length"`
	MaxSkipCount  int64     `attr:"max_skip_count"`
	MinGramLength int64     `attr:"min_gram_length"`
	Mode          string    `attr:"mode"`
	NgramCounts   []int64   `attr:"ngram_counts"`
	NgramIndexes  []int64   `attr:"ngram_indexes"`
	PoolInt64s    []int64   `attr:"pool_int64s"`
	PoolStrings   []string  `attr:"pool_strings"`
	Weights       []float32 `attr:"weights"`
}

func tfidfOps() []*ir.Op {
	return []*ir.Op{{
		Name: "TfIdfVectorizer", Since: 9, Doc: "Counts the n-grams of a pool in each row, weighted by term or document frequency.",
		Attrs: func() any { return &TfIdfAttrs{MaxGramLength: 1, MinGramLength: 1, Mode: "TF"} },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			x := c.In(0)
			if err := wantRank("the input", x, 0, 2); err != nil {
				return err
			}
			v, err := newVectorizer(c.Attrs.(*TfIdfAttrs))
			if err != nil {
				return err
			}
			if !x.Ranked {
				c.SetOut(0, ir.Unranked(tensor.F32))
				return nil
			}
			out := []ir.Dim{ir.Known(int64(v.size))}
			if x.Rank() == 2 {
				out = append([]ir.Dim{x.Shape[0]}, out...)
			}
			c.SetOut(0, ir.MakeType(tensor.F32, out...))
			return nil
		},
		Eval: evalTfIdf,
	}}
}

// vectorizer is the pool as a table from n-grams, their items joined, to their number.
type vectorizer struct {
	*TfIdfAttrs
	index map[string]int
	size  int // of a row of the output
}

// gramKey joins items so that different n-grams get different keys.
func gramKey(items []string) string {
	var b strings.Builder
	for _, s := range items {
		b.WriteString(strconv.Itoa(len(s)))
		b.WriteByte(':')
		b.WriteString(s)
	}
	return b.String()
}

func newVectorizer(a *TfIdfAttrs) (*vectorizer, error) {
	v := &vectorizer{TfIdfAttrs: a, index: map[string]int{}}
	pool := a.PoolStrings
	if pool == nil {
		pool = mapTo(a.PoolInt64s, func(x int64) string { return strconv.FormatInt(x, 10) })
	}
	if len(pool) == 0 || a.PoolStrings != nil && a.PoolInt64s != nil {
		return nil, fmt.Errorf("%w: one of pool_strings and pool_int64s is needed", ir.ErrAttr)
	}
	if a.Mode != "TF" && a.Mode != "IDF" && a.Mode != "TFIDF" {
		return nil, fmt.Errorf("%w: mode %q", ir.ErrAttr, a.Mode)
	}
	if a.MinGramLength < 1 || a.MaxGramLength < a.MinGramLength || a.MaxSkipCount < 0 || a.MaxSkipCount > windowLimit {
		return nil, fmt.Errorf("%w: gram lengths %d to %d, max_skip_count %d", ir.ErrAttr, a.MinGramLength, a.MaxGramLength, a.MaxSkipCount)
	}
	grams := 0
	for i, from := range a.NgramCounts {
		to := int64(len(pool))
		if i+1 < len(a.NgramCounts) {
			to = a.NgramCounts[i+1]
		}
		if from < 0 || to < from || to > int64(len(pool)) || (to-from)%int64(i+1) != 0 {
			return nil, fmt.Errorf("%w: ngram_counts %v of a pool of %d", ir.ErrAttr, a.NgramCounts, len(pool))
		}
		for ; from < to; from += int64(i + 1) {
			v.index[gramKey(pool[from:from+int64(i+1)])] = grams
			grams++
		}
	}
	if grams != len(a.NgramIndexes) || len(a.Weights) > 0 && len(a.Weights) != grams {
		return nil, fmt.Errorf("%w: %d n-grams, %d ngram_indexes, %d weights", ir.ErrAttr, grams, len(a.NgramIndexes), len(a.Weights))
	}
	for _, i := range a.NgramIndexes {
		if i < 0 || i > windowLimit {
			return nil, fmt.Errorf("%w: ngram_indexes %v", ir.ErrAttr, a.NgramIndexes)
		}
		v.size = max(v.size, int(i)+1)
	}
	return v, nil
}

func evalTfIdf(c *ir.EvalCtx) error {
	if err := need(c, 0); err != nil {
		return err
	}
	x := c.In(0)
	if err := tensorRank("the input", x, 0, 2); err != nil {
		return err
	}
	v, err := newVectorizer(c.Attrs.(*TfIdfAttrs))
	if err != nil {
		return err
	}
	if (x.DType() == tensor.String) != (v.PoolStrings != nil) {
		return fmt.Errorf("%w: %s looked up in a pool of another type", ir.ErrType, x)
	}
	items := x.Strings()
	if x.DType() != tensor.String {
		n, err := x.Int64s()
		if err != nil {
			return fmt.Errorf("%w: %w", ir.ErrType, err)
		}
		items = mapTo(n, func(x int64) string { return strconv.FormatInt(x, 10) })
	}
	rows, width, shape := 1, len(items), []int{v.size}
	if x.Rank() == 2 {
		rows, width, shape = x.Shape()[0], x.Shape()[1], []int{x.Shape()[0], v.size}
	}
	out, err := c.Out(0, tensor.F32, shape...)
	if err != nil {
		return err
	}
	y := tensor.Data[float32](out)
	clear(y)
	for r := range rows {
		v.count(y[r*v.size:(r+1)*v.size], items[r*width:(r+1)*width])
	}
	return nil
}

// count adds the weighted counts of one row's n-grams to y.
func (v *vectorizer) count(y []float32, row []string) {
	seen := make([]float32, len(v.NgramIndexes))
	gram := make([]string, 0, min(int(min(v.MaxGramLength, windowLimit)), len(row)))
	for n := v.MinGramLength; n <= v.MaxGramLength && n <= int64(len(row)); n++ {
		for step := int64(1); step <= v.MaxSkipCount+1 && (n-1)*step < int64(len(row)); step++ {
			for from := int64(0); from+(n-1)*step < int64(len(row)); from++ {
				gram = gram[:0]
				for k := range n {
					gram = append(gram, row[from+k*step])
				}
				if i, ok := v.index[gramKey(gram)]; ok {
					seen[i]++
				}
			}
			if n == 1 { // skips make no difference to single items
				break
			}
		}
	}
	for i, f := range seen {
		w := float32(1)
		if len(v.Weights) > 0 && v.Mode != "TF" {
			w = v.Weights[i]
		}
		if v.Mode == "IDF" {
			f = min(f, 1)
		}
		y[v.NgramIndexes[i]] += w * f
	}
}
