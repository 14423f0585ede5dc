package ptx

import (
	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// epilogue finishes outputs that sit in registers: it loads the extra inputs at their place, runs the
// program and stores.
type epilogue struct {
	b        *builder
	prog     Program
	c        Matrix
	extra    []Matrix
	m, n     asm.U32
	mE, nE   Expr
	row, col asm.U32 // the lane's first output
	cPtr     asm.U64
	ptrs     []asm.U64
	// given is the number of the program's inputs that are accumulators: 2 for a gated product, whose values come
	// as those of the gate, then those of its partner.
	given int
}

func newEpilogue(b *builder, p Program, c Matrix, extra []Matrix, m, n Expr) epilogue {
	e := epilogue{b: b, prog: p, c: c, extra: extra, mE: m, nE: n, m: b.dim(m), n: b.dim(n), given: len(p.Inputs) - len(extra)}
	// Parameters are read here, before any branch.
	for _, x := range append([]Matrix{c}, extra...) {
		b.dim(x.Row)
		b.dim(x.Col)
		b.dim(x.Offset)
		for _, s := range x.Batch {
			b.dim(s)
		}
	}
	return e
}

// place applies the batch to the pointers.
func (e *epilogue) place(c asm.U64, extra []asm.U64, coords []asm.U32) {
	at := func(p asm.U64, m Matrix, dt tensor.DType) asm.U64 {
		p = p.At(e.b.dim(m.Offset), dt.Size())
		for i, s := range m.Batch {
			p = p.AtMul(coords[i], e.b.dim(s), dt.Size())
		}
		return p
	}
	e.cPtr = at(c, e.c, e.prog.Outputs[0].DType)
	for i, p := range extra {
		e.ptrs = append(e.ptrs, at(p, e.extra[i], e.dtype(i)))
	}
}

// dtype is the format of extra input i.
func (e *epilogue) dtype(i int) dtype { return e.prog.Inputs[e.given+i] }

// together reports whether width neighbouring columns of m can move in one access.
func (m Matrix) together(width int) bool {
	return m.Col.Is(1) && m.Row.DivisibleBy(width) && m.alignedBatch(width)
}

// column handles width neighbouring columns, col columns right of the lane's first. rows calls its argument
// with each row offset and the accumulators of that row. tileN is the width of the block's tile, for
// knowing whether columns can pass the edge.
func (e *epilogue) column(col, width, tileN int, rows func(each func(row int, v []asm.F32))) {
	b := e.b
	c := e.col.AddI(col)
	if e.nE.DivisibleBy(width) {
		inside := b.Bool(true)
		if !e.nE.DivisibleBy(tileN) {
			inside = c.Lt(e.n)
		}
		b.If(inside, func() { e.group(c, width, rows) })
		return
	}
	for q := range width {
		b.If(c.AddI(q).Lt(e.n), func() {
			e.group(c.AddI(q), 1, func(each func(int, []asm.F32)) {
				rows(func(row int, v []asm.F32) {
					one := v[q : q+1]
					if e.given > 1 {
						one = []asm.F32{v[q], v[width+q]}
					}
					each(row, one)
				})
			})
		})
	}
}

// group finishes width columns that are all inside the matrix.
func (e *epilogue) group(c asm.U32, width int, rows func(each func(row int, v []asm.F32))) {
	b := e.b
	fixed := make([][]value, len(e.extra))
	for i, m := range e.extra {
		if m.Row.Is(0) {
			fixed[i] = e.loadRow(i, e.ptrs[i], c, width)
		}
	}
	rows(func(row int, v []asm.F32) {
		r := e.row.AddI(row)
		b.If(r.Lt(e.m), func() {
			in := make([][]value, len(e.extra))
			for i, m := range e.extra {
				in[i] = fixed[i]
				if in[i] == nil {
					in[i] = e.loadRow(i, e.ptrs[i].AtMul(r, b.dim(m.Row), e.dtype(i).Size()), c, width)
				}
			}
			out := make([]value, width)
			for q := range width {
				var args []value
				for g := range e.given {
					args = append(args, value{f: v[g*width+q]})
				}
				for i := range in {
					args = append(args, in[i][q])
				}
				out[q] = e.prog.emit(b.Func, args)[0]
			}
			dt := e.prog.Outputs[0].DType
			at := e.cPtr.AtMul(r, b.dim(e.c.Row), dt.Size()).AtMul(c, b.dim(e.c.Col), dt.Size())
			if width > 1 && e.c.together(width) {
				storeN(b.Func, at, dt, out)
				return
			}
			for q, x := range out {
				store(b.Func, at, dt, 0, x)
				if q+1 < width {
					at = at.At(b.dim(e.c.Col), dt.Size())
				}
			}
		})
	})
}

// loadRow loads width neighbours of extra input i from a row that starts at p.
func (e *epilogue) loadRow(i int, p asm.U64, c asm.U32, width int) []value {
	b, m, dt := e.b, e.extra[i], e.dtype(i)
	at := p.AtMul(c, b.dim(m.Col), dt.Size())
	var out []value
	switch {
	case m.Col.Is(0):
		v := load(at, dt, 0)
		for range width {
			out = append(out, v)
		}
	case width == 4 && m.together(4):
		v := load4(at, dt)
		return v[:]
	default:
		for q := range width {
			out = append(out, load(at, dt, 0))
			if q+1 < width {
				at = at.At(b.dim(m.Col), dt.Size())
			}
		}
	}
	return out
}
