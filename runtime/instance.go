package runtime

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// instance is a function of the program with known input shapes: every value's type
// where it follows from those shapes, the values that shapes alone decide, and the
// steps that remain to be run.
type instance struct {
	fn    *plan.Func
	types []ir.Type        // per value; not static for what only the data decides
	known []*tensor.Tensor // per value: constants and what shapes alone decide
	steps []int            // indices of the steps to run
	// dynamic marks the steps (by position in steps) whose output shapes depend on data:
	// their outputs live on the heap.
	dynamic []bool
}

// knownLimit bounds the elements of values computed when a shape is instantiated:
// shape arithmetic is tiny, and anything larger is work for every run.
const knownLimit = 1 << 16

// instantiate settles what the input types and known inputs decide.
func (s *Session) instantiate(fn *plan.Func, ins []ir.Type) (*instance, error) {
	in := &instance{
		fn:    fn,
		types: make([]ir.Type, len(fn.Values)),
		known: make([]*tensor.Tensor, len(fn.Values)),
	}
	for i, v := range fn.Values {
		if v.Const < 0 {
			continue
		}
		c := s.program.Consts[v.Const]
		in.types[i] = ir.MakeType(c.DType, ir.Dims(c.Shape...)...)
		if c.Layout == "" {
			in.known[i] = c.Data
		}
	}
	for i, v := range fn.Inputs {
		in.types[v] = ins[i]
	}
	isDynamic := make([]bool, len(fn.Values))
	for si, st := range fn.Steps {
		c := in.inferCtx(st)
		c.Sub = func(i int, sub []ir.Type) ([]ir.Type, error) {
			return s.inferSub(in, st, i, sub)
		}
		if st.Op.Infer != nil {
			if err := st.Op.Infer(c); err != nil {
				return nil, stepError(st, err)
			}
		}
		if in.settle(st, c) {
			continue
		}
		dyn := len(st.Subs) > 0
		for _, v := range st.In {
			dyn = dyn || v >= 0 && isDynamic[v]
		}
		for i, v := range st.Out {
			if v < 0 {
				continue
			}
			in.types[v] = c.Outs[i]
			if _, ok := c.Outs[i].Static(); !ok || c.Outs[i].DType == tensor.String {
				dyn = true
			}
		}
		for _, v := range st.Out {
			if v >= 0 {
				isDynamic[v] = dyn
			}
		}
		in.steps = append(in.steps, si)
		in.dynamic = append(in.dynamic, dyn)
	}
	return in, nil
}

func (in *instance) inferCtx(st *plan.Step) *ir.InferCtx {
	own := len(st.In) - st.Captures
	c := &ir.InferCtx{
		Attrs:  st.Attrs,
		Ins:    make([]ir.Type, own),
		Consts: make([]*tensor.Tensor, own),
		Syms:   make([][]ir.Dim, own),
		Outs:   make([]ir.Type, len(st.Out)),
	}
	for i, v := range st.In[:own] {
		if v >= 0 {
			c.Ins[i], c.Consts[i] = in.types[v], in.known[v]
		}
	}
	return c
}

// settle computes a step's outputs now if shapes alone decide them, and reports
// whether they all are known.
func (in *instance) settle(st *plan.Step, c *ir.InferCtx) bool {
	if st.Op.Random || len(st.Subs) > 0 || st.Kernel != plan.KernelRef && st.Kernel != plan.KernelView {
		return false
	}
	outs := make([]*tensor.Tensor, len(st.Out))
	fromSyms := true
	small := true
	for i, v := range st.Out {
		if v < 0 {
			continue
		}
		shape, ok := c.Outs[i].Static()
		if !ok || tensor.NumElems(shape) > knownLimit {
			small = false
		}
		if ok && i < len(c.OutSyms) {
			outs[i] = fromDims(c.Outs[i].DType, shape, c.OutSyms[i])
		}
		fromSyms = fromSyms && outs[i] != nil
	}
	if !fromSyms {
		if !small {
			return false
		}
		ins := make([]*tensor.Tensor, len(st.In))
		for i, v := range st.In {
			if v < 0 {
				continue
			}
			if ins[i] = in.known[v]; ins[i] == nil {
				return false
			}
		}
		ev := &ir.EvalCtx{Attrs: st.Attrs, Ins: ins, Outs: outs, Want: wanted(st), MaxElems: knownLimit}
		if st.Op.Eval == nil || st.Op.Eval(ev) != nil {
			return false // the run will meet the same error, and report it
		}
	}
	for i, v := range st.Out {
		if v >= 0 {
			if outs[i] == nil {
				return false
			}
			in.known[v], in.types[v] = outs[i], ir.TypeOf(outs[i])
		}
	}
	return true
}

// fromDims makes an integer tensor of known dims, nil when they are not all known.
func fromDims(dt tensor.DType, shape []int, dims []ir.Dim) *tensor.Tensor {
	if dims == nil || tensor.NumElems(shape) != len(dims) {
		return nil
	}
	for _, d := range dims {
		if d.Name != "" {
			return nil
		}
		if d.Size == -1 {
			return nil // unknown, or the number -1: leave it to Eval
		}
	}
	switch dt {
	case tensor.I64:
		v := make([]int64, len(dims))
		for i, d := range dims {
			v[i] = d.Size
		}
		return tensor.Of(v, shape...)
	case tensor.I32:
		v := make([]int32, len(dims))
		for i, d := range dims {
			v[i] = int32(d.Size)
		}
		return tensor.Of(v, shape...)
	}
	return nil
}

// inferSub infers a body's output types for given input types; captures are added.
func (s *Session) inferSub(outer *instance, st *plan.Step, i int, sub []ir.Type) ([]ir.Type, error) {
	fn := s.program.Funcs[st.Subs[i]]
	ins := append([]ir.Type(nil), sub...)
	for _, v := range st.In[len(st.In)-st.Captures:] {
		ins = append(ins, outer.types[v])
	}
	if len(ins) != len(fn.Inputs) {
		return nil, fmt.Errorf("%w: body %q takes %d inputs, is given %d", ir.ErrGraph, fn.Name, len(fn.Inputs), len(ins))
	}
	in, err := s.instantiate(fn, ins)
	if err != nil {
		return nil, err
	}
	outs := make([]ir.Type, len(fn.Outputs))
	for j, v := range fn.Outputs {
		outs[j] = in.types[v]
	}
	return outs, nil
}

func wanted(st *plan.Step) []bool {
	w := make([]bool, len(st.Out))
	for i, v := range st.Out {
		w[i] = v >= 0
	}
	return w
}

func stepError(st *plan.Step, err error) error {
	origin := st.Origin
	if len(origin) == 0 {
		origin = []string{st.Name}
	}
	return &ir.Error{Origin: origin, Op: st.Op.String(), Err: err}
}
