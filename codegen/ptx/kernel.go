// Package ptx writes the GPU programs of a compiled model: kernels specialised on shape and number format,
// as PTX text.
//
// A kernel is a pure function from a spec (a plain struct: shapes, strides, formats, what to fuse) to a
// *Kernel; operations that need several launches return an *Op. Both are data: text, grid and sizes as
// expressions over the run-time dimensions, packed layouts of the weights, limits and costs. Nothing here
// knows the graph IR or a device. The number of tokens is a run-time dimension; weight shapes are
// compile-time constants.
//
// All kernels are deterministic: no atomic decides the order of an addition.
package ptx

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// dtype is short for the element type of tensors.
type dtype = tensor.DType

// Access says what a kernel does with a buffer.
type Access uint8

// Read, Write and ReadWrite are the ways a kernel uses a buffer.
const (
	Read Access = iota
	Write
	ReadWrite
)

// Param is one kernel parameter in order of declaration: a buffer, or a 32-bit scalar computed from the
// run-time dimensions when the kernel is launched.
type Param struct {
	Name   string
	Scalar bool
	Value  Expr         // of a scalar
	DType  tensor.DType // of a buffer
	Access Access       // of a buffer
}

// Limits are the ceilings that ptxas must stay under for a kernel, on every target.
type Limits struct {
	Registers int // per thread
	Spills    int // bytes of spill stores and loads; 0 for every kernel that matters
}

// Cost models one launch: arithmetic and bytes that must move between device memory and the chip.
type Cost struct {
	FLOPs, Bytes Expr
}

// Kernel is one specialised GPU program and how to launch it.
type Kernel struct {
	Name          string // entry name, unique for the text
	Doc           string // one line
	PTX           string
	Threads       int     // block size, one-dimensional
	Grid          [3]Expr // blocks; a launch with a zero product is skipped
	StaticShared  int     // bytes
	DynamicShared int     // bytes; above 48 KB the driver must be asked for it
	Params        []Param
	Limits        Limits
	Cost          Cost
}

// Counters is the number of i32 counters, zero before and after, by which the blocks of a product tell who finishes the
// rows of a tile; none where one block does.
func (k *Kernel) Counters() (n Expr, ok bool) {
	return k.Grid[0], slices.ContainsFunc(k.Params, func(p Param) bool { return p.Name == "arrivals" })
}

// builder is a kernel being written.
type builder struct {
	*asm.Func
	k       *Kernel
	scalars map[string]asm.U32
}

func newKernel(base string, threads int) *builder {
	return &builder{
		Func:    asm.New(base, threads),
		k:       &Kernel{Name: base, Threads: threads, Limits: Limits{Registers: 255}},
		scalars: map[string]asm.U32{},
	}
}

// doc sets the kernel's one-line description, printed above the entry.
func (b *builder) doc(format string, args ...any) {
	b.k.Doc = fmt.Sprintf(format, args...)
	b.Doc("%s", b.k.Doc)
}

// buffer declares a pointer parameter.
func (b *builder) buffer(name string, dt tensor.DType, a Access) asm.U64 {
	b.k.Params = append(b.k.Params, Param{Name: name, DType: dt, Access: a})
	return b.ParamPtr(name)
}

// dim is the value of a run-time expression: an immediate when it is constant, else a scalar parameter.
func (b *builder) dim(e Expr) asm.U32 {
	if v, ok := e.Const(); ok {
		return b.Const(int(v))
	}
	key := e.String()
	if v, ok := b.scalars[key]; ok {
		return v
	}
	name := "n"
	if s, ok := e.Symbol(); ok {
		name = identifier(s)
	}
	name = fmt.Sprintf("%s_%d", name, len(b.k.Params))
	b.k.Params = append(b.k.Params, Param{Name: name, Scalar: true, Value: e})
	v := b.ParamU32(name)
	b.scalars[key] = v
	return v
}

// identifier turns a dimension's name, which a user's model chose, into a PTX identifier.
func identifier(s string) string {
	out := []byte("d_")
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			out = append(out, c)
		} else {
			out = append(out, '_')
		}
	}
	return string(out[:min(len(out), 24)])
}

// done prints the kernel under a name that ends in a hash of its text.
func (b *builder) done() *Kernel {
	h := fnv.New64a()
	h.Write([]byte(b.Text()))
	b.k.Name = fmt.Sprintf("%s_%08x", b.Name(), uint32(h.Sum64()^h.Sum64()>>32))
	b.Rename(b.k.Name)
	b.k.PTX = b.Text()
	b.k.StaticShared = b.StaticShared()
	return b.k
}
