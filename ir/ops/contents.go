package ops

import (
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// content is one element of a small tensor as inference knows it: a dim, or, when
// exact, the number dim.Size, which may then be negative. Exporters compute target
// shapes with ordinary ops, so the ops carry these through.
type content struct {
	dim   ir.Dim
	exact bool
}

func exactly(n int64) content { return content{ir.Dim{Size: n}, true} }

var unknownContent = content{dim: ir.Dim{Size: -1}}

// maxContents bounds the tensors whose elements are tracked.
const maxContents = 1024

// minusOne is how -1 travels between ops as a dim: unnamed, it would be Unknown.
// Exporters compute with it (a target shape is compared with -1 to keep dimensions).
const minusOne = "-1"

// contents are the elements of input i; ok is false when not even their number is
// known. Integral float constants count, since Resize's sizes pass through floats.
func contents(c *ir.InferCtx, i int) ([]content, bool) {
	if t := c.Const(i); t != nil {
		return constContents(t)
	}
	d, ok := c.Dims(i)
	if !ok {
		return nil, false
	}
	out := make([]content, len(d))
	for j, x := range d {
		if x.Name == minusOne {
			out[j] = exactly(-1)
			continue
		}
		out[j] = content{x, x.Name == "" && x.Size != -1}
	}
	return out, true
}

func constContents(t *tensor.Tensor) ([]content, bool) {
	if t.Len() > maxContents {
		return nil, false
	}
	if v, err := t.Int64s(); err == nil {
		out := make([]content, len(v))
		for j, n := range v {
			out[j] = exactly(n)
		}
		return out, true
	}
	if !t.DType().IsFloat() {
		return nil, false
	}
	v, err := t.Float64s()
	if err != nil {
		return nil, false
	}
	out := make([]content, len(v))
	for j, x := range v {
		if x != math.Trunc(x) || math.Abs(x) > 1<<40 {
			out[j] = unknownContent
			continue
		}
		out[j] = exactly(int64(x))
	}
	return out, true
}

// setContents states the elements of output i, unless nothing at all is known.
func setContents(c *ir.InferCtx, i int, v []content) {
	d := make([]ir.Dim, len(v))
	for j, x := range v {
		if d[j] = x.dim; x.exact && x.dim.Size == -1 {
			d[j].Name = minusOne
		}
	}
	c.SetDims(i, d)
}

// passContents copies what is known of input 0's elements to output 0: for ops that
// do not change values, or only their shape.
func passContents(c *ir.InferCtx) {
	if v, ok := contents(c, 0); ok {
		setContents(c, 0, v)
	}
}

// zipContents states the elements of output 0 as f of those of inputs 0 and 1, when
// both are scalars or vectors that broadcast.
func zipContents(c *ir.InferCtx, f func(a, b content) content) {
	if c.In(0).Rank() > 1 || c.In(1).Rank() > 1 {
		return
	}
	a, ok1 := contents(c, 0)
	b, ok2 := contents(c, 1)
	if !ok1 || !ok2 {
		return
	}
	n := len(a)
	if n == 1 {
		n = len(b)
	}
	if len(a) != n && len(a) != 1 || len(b) != n && len(b) != 1 {
		return
	}
	out := make([]content, n)
	for i := range out {
		out[i] = f(a[min(i, len(a)-1)], b[min(i, len(b)-1)])
	}
	setContents(c, 0, out)
}

func addContent(a, b content) content {
	switch {
	case a.exact && b.exact:
		return exactly(a.dim.Size + b.dim.Size)
	case b.exact && b.dim.Size < 0:
		return content{dim: ir.SubDim(a.dim, ir.Known(-b.dim.Size))}
	case a.exact && a.dim.Size < 0:
		return content{dim: ir.SubDim(b.dim, ir.Known(-a.dim.Size))}
	}
	return content{dim: ir.AddDim(a.dim, b.dim)}
}

func subContent(a, b content) content {
	switch {
	case a.exact && b.exact:
		return exactly(a.dim.Size - b.dim.Size)
	case b.exact:
		return addContent(a, exactly(-b.dim.Size))
	case a.exact && a.dim.Size < 0:
		return unknownContent
	}
	return content{dim: ir.SubDim(a.dim, b.dim)}
}

func mulContent(a, b content) content {
	switch {
	case a.exact && b.exact:
		return exactly(a.dim.Size * b.dim.Size)
	case a.exact && a.dim.Size < 0, b.exact && b.dim.Size < 0:
		return unknownContent
	}
	return content{dim: ir.MulDim(a.dim, b.dim)}
}

// divContent is a/b truncated, or, when the elements are floats, only where exact.
func divContent(isFloat bool) func(a, b content) content {
	return func(a, b content) content {
		if a.exact && b.exact {
			if b.dim.Size == 0 || isFloat && a.dim.Size%b.dim.Size != 0 {
				return unknownContent
			}
			return exactly(a.dim.Size / b.dim.Size)
		}
		if a.exact && a.dim.Size < 0 || b.exact && b.dim.Size <= 0 {
			return unknownContent
		}
		return content{dim: ir.DivDim(a.dim, b.dim)}
	}
}

func modContent(a, b content) content {
	if !b.exact || b.dim.Size <= 0 {
		return unknownContent
	}
	if a.exact {
		if a.dim.Size < 0 {
			return unknownContent // depends on fmod
		}
		return exactly(a.dim.Size % b.dim.Size)
	}
	if d := ir.DivDim(a.dim, b.dim); d.IsKnown() || d.Name != "" {
		return exactly(0)
	}
	return unknownContent
}

func maxContent(a, b content) content {
	switch {
	case a.exact && b.exact:
		return exactly(max(a.dim.Size, b.dim.Size))
	case a.dim.Same(b.dim):
		return a
	case a.exact && a.dim.Size <= 0 && b.dim.Name != "":
		return b // a named dim is never negative
	case b.exact && b.dim.Size <= 0 && a.dim.Name != "":
		return a
	}
	return unknownContent
}

func minContent(a, b content) content {
	switch {
	case a.exact && b.exact:
		return exactly(min(a.dim.Size, b.dim.Size))
	case a.dim.Same(b.dim):
		return a
	}
	return unknownContent
}

func boolContent(b bool) content {
	if b {
		return exactly(1)
	}
	return exactly(0)
}

func equalContent(a, b content) content {
	switch {
	case a.exact && b.exact:
		return boolContent(a.dim.Size == b.dim.Size)
	case a.dim.Same(b.dim):
		return exactly(1)
	case a.exact && a.dim.Size < 0 && b.dim.Name != "", b.exact && b.dim.Size < 0 && a.dim.Name != "":
		return exactly(0)
	}
	return unknownContent
}

// orderContent decides a comparison of exact numbers, and of a named dim with a
// negative one.
func orderContent(holds func(a, b int64) bool) func(a, b content) content {
	return func(a, b content) content {
		switch {
		case a.exact && b.exact:
			return boolContent(holds(a.dim.Size, b.dim.Size))
		case a.dim.Same(b.dim):
			return boolContent(holds(0, 0))
		case a.dim.Name != "" && b.exact && b.dim.Size < 0:
			return boolContent(holds(0, -1))
		case b.dim.Name != "" && a.exact && a.dim.Size < 0:
			return boolContent(holds(-1, 0))
		}
		return unknownContent
	}
}
