package ops

import (
	"fmt"
	"strconv"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// The feedforward family, domain "moec". One idea in several sparsities: a sum over
// key/value pairs, y = sum_i g_i(x) v_i, of which few are kept. x is [..., D] of any rank
// from 1 up; "act" is an Activation; ? marks an optional input (nil) or output. Weights
// multiply from the right as in MatMul, except selectors, keys and the query projection,
// which keep the row-per-unit form of the sigma-MoE authors.
//
//	MLP       x, w1[D,F], w2[F,Dv], b1?[F], b2?[Dv]                          -> y[..., Dv]
//	          y = act(x w1 + b1) w2 + b2
//	GatedMLP  x, wg[D,F], wu[D,F], wd[F,Dv], bg?[F], bu?[F], bd?[Dv]         -> y[..., Dv]
//	          y = (act(x wg + bg) * (x wu + bu)) wd + bd     silu: SwiGLU, gelu: GEGLU, relu: ReGLU
//	TopKMLP   x, w1[D,F], w2[F,Dv], b1?[F], b2?[Dv], keep?[..., F]           -> y[..., Dv], hidden?[..., F]
//	          keeps the k largest units of each token; see TopKMLPAttrs
//	PKM       x, keys0[H,n1,d1], keys1[H,n2,d2], values[n1*n2,Dv], query?[H*(d1+d2),D],
//	          query_bias?[H*(d1+d2)], key_bias0?[H,n1], key_bias1?[H,n2], b2?[Dv]
//	                                          -> y[..., Dv], indices? i64[..., H,k], scores?[..., H,k]
//	          product keys; see PKMAttrs
//	MoE       see MoEAttrs and the MoEIn... and MoEOut... constants
//
// Element types: f32, f64, f16, bf16; x and every parameter share one. Arithmetic is in
// float64 whatever the type (a reference, not a kernel), rounded once into each output.
//
// Ranking, everywhere: the higher score first, then the lower index; -0 equals +0; a NaN
// ranks below -Inf. So a selection is always made of valid, distinct indices. Weights of
// what was selected follow their formula: a selected NaN score gives a NaN output row,
// and a softmax over scores that hold +Inf or only -Inf gives NaN. A row never affects
// another row (sinkhorn in training and the regularisers excepted).
//
// Masks are bool or u8, non-zero meaning true. Float attributes stand for the shortest
// decimal that names them, so that a rate of 0.1 is 0.1 in f64 models too.

// Activation is the non-linearity of a feedforward op.
type Activation string

// The activations of the family.
const (
	ActReLU     Activation = "relu"
	ActGELU     Activation = "gelu"      // x/2 (1 + erf(x/sqrt 2))
	ActGELUTanh Activation = "gelu-tanh" // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
	ActSiLU     Activation = "silu"      // x sigmoid(x)
	ActIdentity Activation = "identity"
)

// Valid reports whether a is one of the activations above.
func (a Activation) Valid() bool {
	switch a {
	case ActReLU, ActGELU, ActGELUTanh, ActSiLU, ActIdentity:
		return true
	}
	return false
}

func (a Activation) check() error {
	if !a.Valid() {
		return fmt.Errorf("%w: activation %q, want relu, gelu, gelu-tanh, silu or identity", ir.ErrAttr, string(a))
	}
	return nil
}

// familyOps are the feedforward ops, and onnxruntime's mixtures of experts.
func familyOps() []*ir.Op {
	return []*ir.Op{mlpOp(), gatedMLPOp(), topKMLPOp(), pkmOp(), moeOp(), msMoEOp(), msQMoEOp()}
}

// decimal is the number that the shortest decimal form of f names: 0.1 for float32(0.1).
func decimal(f float32) float64 {
	d, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	if err != nil {
		return float64(f)
	}
	return d
}

// shapes unifies named dimensions over the inputs of a node: what Infer of the family
// consists of.
type shapes struct {
	c    *ir.InferCtx
	dt   tensor.DType
	lead []ir.Dim // dims of x before the last
	dims map[string]ir.Dim
	err  error
}

// newShapes takes input 0 as x[..., D].
func newShapes(c *ir.InferCtx) *shapes {
	s := &shapes{c: c, dims: map[string]ir.Dim{}}
	x := c.In(0)
	s.dt = x.DType
	switch {
	case s.dt != tensor.Invalid && !s.dt.IsFloat():
		s.fail(ir.ErrType, "x is %s, want f32, f64, f16 or bf16", s.dt)
	case x.Ranked && x.Rank() == 0:
		s.fail(ir.ErrShape, "x is a scalar, want [..., D]")
	case x.Ranked:
		s.lead = x.Shape[:x.Rank()-1]
		s.bind("x", "D", x.Shape[x.Rank()-1])
	}
	return s
}

func (s *shapes) fail(kind error, format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
	}
}

func (s *shapes) bind(what, name string, d ir.Dim) {
	old, ok := s.dims[name]
	switch {
	case !ok || !old.IsKnown():
		s.dims[name] = d
	case d.IsKnown() && d.Size != old.Size:
		s.fail(ir.ErrShape, "%s has %s=%d where %d is expected", what, name, d.Size, old.Size)
	}
}

// param checks input i, when present, as a parameter with the named dims.
func (s *shapes) param(i int, what string, names ...string) {
	if !s.c.Has(i) {
		return
	}
	t := s.c.In(i)
	if s.dt != tensor.Invalid && t.DType != s.dt {
		s.fail(ir.ErrType, "%s is %s, x is %s", what, t.DType, s.dt)
	}
	s.shape(t, what, names)
}

func (s *shapes) shape(t ir.Type, what string, names []string) {
	if !t.Ranked {
		return
	}
	if t.Rank() != len(names) {
		s.fail(ir.ErrShape, "%s has shape %s, want %d dimensions %v", what, t, len(names), names)
		return
	}
	for j, n := range names {
		s.bind(what, n, t.Shape[j])
	}
}

// rows checks input i, when present, as [..., names] with the leading dims of x.
func (s *shapes) rows(i int, what string, dt []tensor.DType, names ...string) {
	if !s.c.Has(i) {
		return
	}
	t := s.c.In(i)
	ok := false
	for _, d := range dt {
		ok = ok || t.DType == d
	}
	if !ok {
		s.fail(ir.ErrType, "%s is %s, want one of %v", what, t.DType, dt)
	}
	if !t.Ranked || !s.c.In(0).Ranked {
		return
	}
	if t.Rank() != len(s.lead)+len(names) {
		s.fail(ir.ErrShape, "%s has shape %s, want the leading dimensions of x and %v", what, t, names)
		return
	}
	for j, d := range s.lead {
		if e := t.Shape[j]; d.IsKnown() && e.IsKnown() && d.Size != e.Size {
			s.fail(ir.ErrShape, "%s has shape %s, want the leading dimensions %v of x", what, t, s.lead)
		}
	}
	s.shape(ir.MakeType(t.DType, t.Shape[len(s.lead):]...), what, names)
}

// dim is the named dim, unknown when nothing was bound to it.
func (s *shapes) dim(name string) ir.Dim {
	if d, ok := s.dims[name]; ok {
		return d
	}
	return ir.Unknown()
}

// out states output i as [lead of x..., dims].
func (s *shapes) out(i int, dt tensor.DType, dims ...ir.Dim) {
	if !s.c.In(0).Ranked {
		s.c.SetOut(i, ir.Unranked(dt))
		return
	}
	s.c.SetOut(i, ir.MakeType(dt, append(append([]ir.Dim(nil), s.lead...), dims...)...))
}

var maskTypes = []tensor.DType{tensor.Bool, tensor.U8}
