package runtime

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Instance is a function of the program with known input shapes: every value's type
// where it follows from those shapes, the values that shapes alone decide, and the
// steps that remain to be run.
type Instance struct {
	Fn    *plan.Func
	Types []ir.Type        // per value; not static for what only the data decides
	Known []*tensor.Tensor // per value: constants and what shapes alone decide
	Steps []int            // indices of the steps to run
	// Dynamic marks the steps (by position in Steps) whose output shapes depend on data:
	// their outputs live on the heap.
	Dynamic []bool

	limit int  // elements of a value computed here
	host  bool // the program runs on the CPU
}

// shapeKernels are the CPU kernels whose ops do the arithmetic of shapes, too: what
// shapes alone decide is computed once, by Eval.
var shapeKernels = []string{plan.KernelRef, plan.KernelView, "binary", "unary", "where", "cast", "clip", "move", "gather", "reduce"}

// settles reports whether a step may be run when a shape is instantiated.
func (in *Instance) settles(st *plan.Step) bool {
	if st.Op.Random || len(st.Subs) > 0 {
		return false
	}
	if in.host {
		return slices.Contains(shapeKernels, st.Kernel)
	}
	return st.Kernel == plan.KernelRef || st.Kernel == plan.KernelView
}

// knownLimit bounds the elements of values computed when a shape is instantiated:
// shape arithmetic is tiny, and anything larger is work for every run.
const knownLimit = 1 << 16

// Instantiate settles what the input types and constants decide. Values of up to limit
// elements that shapes alone decide are computed; 0 stands for the bound of sessions on the CPU.
func Instantiate(p *plan.Program, fn *plan.Func, ins []ir.Type, limit int) (*Instance, error) {
	if limit == 0 {
		limit = knownLimit
	}
	in := &Instance{
		Fn:    fn,
		Types: make([]ir.Type, len(fn.Values)),
		Known: make([]*tensor.Tensor, len(fn.Values)),
		limit: limit,
		host:  p.Target.Device == "cpu" || p.Target.Device == "",
	}
	for i, v := range fn.Values {
		if v.Const < 0 {
			continue
		}
		c := p.Consts[v.Const]
		in.Types[i] = ir.MakeType(c.DType, ir.Dims(c.Shape...)...)
		if c.Layout == "" {
			in.Known[i] = c.Data
		}
	}
	for i, v := range fn.Inputs {
		in.Types[v] = ins[i]
	}
	isDynamic := make([]bool, len(fn.Values))
	for si, st := range fn.Steps {
		c := in.inferCtx(st)
		c.Sub = func(i int, sub []ir.Type) ([]ir.Type, error) {
			return inferSub(p, in, st, i, sub)
		}
		if st.Op.Infer != nil {
			if err := st.Op.Infer(c); err != nil {
				return nil, StepError(st, err)
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
			in.Types[v] = c.Outs[i]
			if _, ok := c.Outs[i].Static(); !ok || c.Outs[i].DType == tensor.String {
				dyn = true
			}
		}
		for _, v := range st.Out {
			if v >= 0 {
				isDynamic[v] = dyn
			}
		}
		in.Steps = append(in.Steps, si)
		in.Dynamic = append(in.Dynamic, dyn)
	}
	return in, nil
}

func (in *Instance) inferCtx(st *plan.Step) *ir.InferCtx {
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
			c.Ins[i], c.Consts[i] = in.Types[v], in.Known[v]
		}
	}
	return c
}

// settle computes a step's outputs now if shapes alone decide them, and reports
// whether they all are known.
func (in *Instance) settle(st *plan.Step, c *ir.InferCtx) bool {
	if !in.settles(st) {
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
		if !ok || tensor.NumElems(shape) > in.limit {
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
			if ins[i] = in.Known[v]; ins[i] == nil {
				return false
			}
		}
		ev := &ir.EvalCtx{Attrs: st.Attrs, Ins: ins, Outs: outs, Want: wanted(st), MaxElems: in.limit}
		if st.Op.Eval == nil || st.Op.Eval(ev) != nil {
			return false // the run will meet the same error, and report it
		}
	}
	for i, v := range st.Out {
		if v >= 0 {
			if outs[i] == nil {
				return false
			}
			in.Known[v], in.Types[v] = outs[i], ir.TypeOf(outs[i])
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
func inferSub(p *plan.Program, outer *Instance, st *plan.Step, i int, sub []ir.Type) ([]ir.Type, error) {
	fn := p.Funcs[st.Subs[i]]
	ins := append([]ir.Type(nil), sub...)
	for _, v := range st.In[len(st.In)-st.Captures:] {
		ins = append(ins, outer.Types[v])
	}
	if len(ins) != len(fn.Inputs) {
		return nil, fmt.Errorf("%w: body %q takes %d inputs, is given %d", ir.ErrGraph, fn.Name, len(fn.Inputs), len(ins))
	}
	in, err := Instantiate(p, fn, ins, outer.limit)
	if err != nil {
		return nil, err
	}
	outs := make([]ir.Type, len(fn.Outputs))
	for j, v := range fn.Outputs {
		outs[j] = in.Types[v]
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

// StepError names the step that an error comes from.
func StepError(st *plan.Step, err error) error {
	origin := st.Origin
	if len(origin) == 0 {
		origin = []string{st.Name}
	}
	return &ir.Error{Origin: origin, Op: st.Op.String(), Err: err}
}
