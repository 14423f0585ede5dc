package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// plain is the product in f64: one thread per output, the terms in order of k. B lies as its strides say, also when it
// is a weight.
func (g Gemm) plain() (*Kernel, error) {
	if g.B.DType != tensor.F64 {
		return nil, fmt.Errorf("ptx: gemm: an f64 product by %s", g.B.DType)
	}
	for _, m := range append([]Matrix{g.A, g.B, g.C}, g.Extra...) {
		if len(m.Batch) != len(g.Batch) {
			return nil, fmt.Errorf("ptx: gemm: %d batch strides for %d batch dimensions", len(m.Batch), len(g.Batch))
		}
	}
	if len(g.Epilogue.Inputs) == 0 {
		g.Epilogue = Program{Inputs: []tensor.DType{tensor.F64}, Outputs: []Result{{0, tensor.F64}}}
	}
	if len(g.Epilogue.Inputs) != len(g.Extra)+1 || len(g.Epilogue.Outputs) != 1 || g.Epilogue.Inputs[0] != tensor.F64 || g.Epilogue.usesCoord() {
		return nil, fmt.Errorf("ptx: gemm: epilogue of %d inputs and %d outputs, with %d extra matrices", len(g.Epilogue.Inputs), len(g.Epilogue.Outputs), len(g.Extra))
	}
	if _, err := g.Epilogue.check(); err != nil {
		return nil, err
	}
	name := g.Name
	if name == "" {
		name = "gemm"
	}
	total := Elems(g.Batch).Mul(g.M).Mul(g.N)
	b, index := plainKernel(name+"_f64", total)
	b.doc("%s: C[%v,%v] = A[.,%v] B in f64", name, g.M, g.N, g.K)
	b.k.Cost = g.cost(Elems(g.Batch))
	a, w := b.buffer("a", tensor.F64, Read), b.buffer("b", tensor.F64, Read)
	var extra []asm.U64
	for i, dt := range g.Epilogue.Inputs[1:] {
		extra = append(extra, b.buffer(fmt.Sprintf("extra%d", i+1), dt, Read))
	}
	out := g.Epilogue.Outputs[0].DType
	c := b.buffer("c", out, Write)
	n, all := b.dim(g.N), b.dim(total)
	sizes := append(b.dims(g.Batch), b.dim(g.M), n)
	kEnd := b.dim(g.K)
	at := make([]func(p asm.U64, coords []asm.U32, size int) asm.U64, 0, 3+len(extra))
	for _, m := range append([]Matrix{g.A, g.B, g.C}, g.Extra...) {
		strides, offset := append(b.dims(m.Batch), b.dim(m.Row), b.dim(m.Col)), b.dim(m.Offset)
		at = append(at, func(p asm.U64, coords []asm.U32, size int) asm.U64 {
			p = p.At(offset, size)
			for i, x := range coords {
				p = p.AtMul(x, strides[i], size)
			}
			return p
		})
	}
	b.ExitIf(index.Ge(all))
	coords := b.split(index, sizes)
	batch, row, col := coords[:len(g.Batch)], coords[len(g.Batch)], coords[len(g.Batch)+1]
	place := func(x, y asm.U32) []asm.U32 { return append(append([]asm.U32{}, batch...), x, y) }
	acc := b.ConstD(0).Var("acc")
	b.For("k", b.Const(0), kEnd, 1, func(k asm.U32) {
		acc.FmaTo(at[0](a, place(row, k), 8).LdF64(0), at[1](w, place(k, col), 8).LdF64(0))
	})
	args := []value{{kind: doubleKind, d: acc}}
	for i, p := range extra {
		dt := g.Epilogue.Inputs[i+1]
		args = append(args, load(at[3+i](p, coords, dt.Size()), dt, 0))
	}
	store(b.Func, at[2](c, coords, out.Size()), out, 0, g.Epilogue.emit(b.Func, args)[0])
	return b.done(), nil
}
