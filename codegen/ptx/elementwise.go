package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
)

// Elementwise is a chain of elementwise functions over an iteration space, in one launch. Each input and
// output is read or written through its own strides (in elements, one per dimension of Shape; 0 repeats
// an element), which covers broadcasting, permutation, slicing and expansion.
type Elementwise struct {
	Name    string // base of the kernel's name; "elementwise" if empty
	Shape   []Expr
	Inputs  []View // one per input of Prog
	Outputs []View // one per output of Prog
	Prog    Program
}

// View is how a tensor is walked: element offset = Offset + sum of coordinate*stride.
type View struct {
	Strides []Expr
	Offset  Expr
}

// Contiguous returns the strides of a row-major tensor of the given shape.
func Contiguous(shape []Expr) View {
	s := make([]Expr, len(shape))
	n := N(1)
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n = n.Mul(shape[i])
	}
	return View{Strides: s}
}

// Elems is the product of a shape.
func Elems(shape []Expr) Expr {
	n := N(1)
	for _, d := range shape {
		n = n.Mul(d)
	}
	return n
}

const elementwiseThreads = 256

// Kernel writes the kernel. Buffers are called in0, in1, ... and out0, out1, ...
func (s Elementwise) Kernel() (*Kernel, error) {
	if _, err := s.Prog.check(); err != nil {
		return nil, err
	}
	if len(s.Inputs) != len(s.Prog.Inputs) || len(s.Outputs) != len(s.Prog.Outputs) {
		return nil, fmt.Errorf("ptx: elementwise: %d views for %d inputs, %d for %d outputs",
			len(s.Inputs), len(s.Prog.Inputs), len(s.Outputs), len(s.Prog.Outputs))
	}
	for _, v := range append(append([]View{}, s.Inputs...), s.Outputs...) {
		if len(v.Strides) != len(s.Shape) {
			return nil, fmt.Errorf("ptx: elementwise: %d strides for %d dimensions", len(v.Strides), len(s.Shape))
		}
	}
	shape, inputs, outputs := s.Shape, s.Inputs, s.Outputs
	if !s.Prog.usesCoord() {
		shape, inputs, outputs = collapse(s.Shape, s.Inputs, s.Outputs)
	}
	for _, in := range s.Prog.Body {
		if in.Fn == Coord && (in.C[0] < 0 || int(in.C[0]) >= len(shape)) {
			return nil, fmt.Errorf("ptx: elementwise: coordinate of dimension %v of %d", in.C[0], len(shape))
		}
	}
	name := s.Name
	if name == "" {
		name = "elementwise"
	}
	// Four neighbours of the innermost dimension per thread where that always divides evenly.
	width := 1
	if last := len(shape) - 1; shape[last].DivisibleBy(4) {
		width = 4
	}
	b := newKernel(name, elementwiseThreads)
	b.doc("%s over %v", name, shape)
	total := Elems(shape)
	b.k.Grid = [3]Expr{total.CeilDiv(elementwiseThreads * width), N(1), N(1)}
	b.k.Limits = Limits{Registers: 255}
	b.k.Cost = s.cost(total)

	var in, out []asm.U64
	for i, dt := range s.Prog.Inputs {
		in = append(in, b.buffer(fmt.Sprintf("in%d", i), dt, Read))
	}
	for i, o := range s.Prog.Outputs {
		out = append(out, b.buffer(fmt.Sprintf("out%d", i), o.DType, Write))
	}
	sizes := make([]asm.U32, len(shape))
	for i := range shape {
		sizes[i] = b.dim(shape[i])
	}
	inOff, outOff := b.viewDims(inputs), b.viewDims(outputs)
	n := b.dim(total)

	i := b.BlockX().MadI(elementwiseThreads, b.Tid()).MulI(width).As("index")
	b.ExitIf(i.Ge(n))
	coords := make([]asm.U32, len(shape))
	rest := i
	for d := len(shape) - 1; d > 0; d-- {
		rest, coords[d] = rest.DivRem(sizes[d])
	}
	coords[0] = rest

	loaded := make([][]value, len(in)) // per input, width values
	for j, base := range in {
		dt := s.Prog.Inputs[j]
		at := base.At(inOff[j].at(coords), dt.Size())
		loaded[j] = b.loadRun(at, inputs[j], s.Prog, j, width, inOff[j])
	}
	results := make([][]value, len(out))
	for e := range width {
		args := make([]value, len(in))
		for j := range in {
			args[j] = loaded[j][e]
		}
		here := append([]asm.U32{}, coords...)
		here[len(here)-1] = here[len(here)-1].AddI(e)
		for j, v := range s.Prog.emit(b.Func, args, here...) {
			results[j] = append(results[j], v)
		}
	}
	for j, base := range out {
		dt := s.Prog.Outputs[j].DType
		at := base.At(outOff[j].at(coords), dt.Size())
		stride := outputs[j].Strides[len(shape)-1]
		if width > 1 && stride.Is(1) && outputs[j].aligned(4) {
			storeN(b.Func, at, dt, results[j])
			continue
		}
		for e, v := range results[j] {
			store(b.Func, at, dt, 0, v)
			if e+1 < width {
				at = at.At(outOff[j].strides[len(shape)-1], dt.Size())
			}
		}
	}
	return b.done(), nil
}

// loadRun loads width neighbours along the last dimension.
func (b *builder) loadRun(at asm.U64, v View, p Program, j, width int, off viewDims) []value {
	dt := p.Inputs[j]
	last := v.Strides[len(v.Strides)-1]
	out := make([]value, 0, width)
	switch {
	case width == 4 && last.Is(1) && v.aligned(4):
		w := load4(at, dt)
		return w[:]
	case last.Is(0):
		x := load(at, dt, 0)
		for range width {
			out = append(out, x)
		}
	default:
		for e := range width {
			out = append(out, load(at, dt, 0))
			if e+1 < width {
				at = at.At(off.strides[len(off.strides)-1], dt.Size())
			}
		}
	}
	return out
}

// aligned reports whether every row of the innermost dimension starts at a multiple of n elements.
func (v View) aligned(n int) bool {
	for _, s := range v.Strides[:len(v.Strides)-1] {
		if !s.DivisibleBy(n) {
			return false
		}
	}
	return v.Offset.DivisibleBy(n)
}

// viewDims are a view's numbers in registers.
type viewDims struct {
	strides []asm.U32
	offset  asm.U32
}

func (b *builder) viewDims(vs []View) []viewDims {
	out := make([]viewDims, len(vs))
	for i, v := range vs {
		for _, s := range v.Strides {
			out[i].strides = append(out[i].strides, b.dim(s))
		}
		out[i].offset = b.dim(v.Offset)
	}
	return out
}

// at is the element offset of the coordinates.
func (v viewDims) at(coords []asm.U32) asm.U32 {
	off := v.offset
	for d, c := range coords {
		off = c.Mad(v.strides[d], off)
	}
	return off
}

// collapse merges neighbouring dimensions that every view walks as one, and drops those of size 1, so that
// index arithmetic is paid only where the tensors really differ. At least one dimension stays.
func collapse(shape []Expr, groups ...[]View) ([]Expr, []View, []View) {
	views := make([][]View, len(groups))
	for g := range groups {
		for _, v := range groups[g] {
			views[g] = append(views[g], View{Offset: v.Offset})
		}
	}
	var out []Expr
	for d, size := range shape {
		if size.Is(1) {
			continue
		}
		merge := len(out) > 0
		for g := range groups {
			for i, v := range groups[g] {
				w := views[g][i]
				if merge && !w.Strides[len(out)-1].Equal(v.Strides[d].Mul(size)) {
					merge = false
				}
			}
		}
		if merge {
			out[len(out)-1] = out[len(out)-1].Mul(size)
		} else {
			out = append(out, size)
		}
		for g := range groups {
			for i, v := range groups[g] {
				w := &views[g][i]
				if merge {
					w.Strides[len(out)-1] = v.Strides[d]
				} else {
					w.Strides = append(w.Strides, v.Strides[d])
				}
			}
		}
	}
	if len(out) == 0 {
		out = []Expr{N(1)}
		for g := range views {
			for i := range views[g] {
				views[g][i].Strides = []Expr{N(1)}
			}
		}
	}
	return out, views[0], views[1]
}

// cost counts each distinct element once and one operation per instruction.
func (s Elementwise) cost(total Expr) Cost {
	c := Cost{FLOPs: total.MulN(len(s.Prog.Body))}
	add := func(v View, size int) {
		n := N(size)
		for d, st := range v.Strides {
			if !st.Is(0) {
				n = n.Mul(s.Shape[d])
			}
		}
		c.Bytes = c.Bytes.Add(n)
	}
	for i, v := range s.Inputs {
		add(v, s.Prog.Inputs[i].Size())
	}
	for i, v := range s.Outputs {
		add(v, s.Prog.Outputs[i].DType.Size())
	}
	return c
}
