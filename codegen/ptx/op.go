package ptx

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Role says where a buffer of an Op comes from.
type Role uint8

// Input and Output belong to the caller. Weight is constant, packed at compile time. Scratch lives while the
// Op runs. State is zeroed once when it is allocated and belongs to this Op alone; each run leaves it zero.
const (
	Input Role = iota
	Output
	Weight
	Scratch
	State
)

// Buffer is a piece of device memory that an Op's launches share.
type Buffer struct {
	Name  string
	Role  Role
	DType tensor.DType
	Elems Expr
	Pack  *Pack // of a Weight that needs packing; nil means plain row-major
}

// Launch runs a kernel; Args name the Op's buffers in the order of the kernel's buffer parameters.
type Launch struct {
	Kernel *Kernel
	Args   []string
}

// Op is an operation of one or more launches in order, the buffers between them, and what the planner has
// to say about it.
type Op struct {
	Name     string
	Launches []Launch
	Buffers  []Buffer
	Reason   string // why this variant was chosen
	Bound    string // the time it should reach on the planned GPU, and what limits it
}

// Buffer finds a buffer by name.
func (o *Op) Buffer(name string) (Buffer, bool) {
	for _, b := range o.Buffers {
		if b.Name == name {
			return b, true
		}
	}
	return Buffer{}, false
}

// FLOPs and Bytes add the launches' costs.
func (o *Op) Cost() Cost {
	var c Cost
	for _, l := range o.Launches {
		c.FLOPs = c.FLOPs.Add(l.Kernel.Cost.FLOPs)
		c.Bytes = c.Bytes.Add(l.Kernel.Cost.Bytes)
	}
	return c
}

// Single wraps one kernel as an Op whose buffers are called like the kernel's parameters. Sizes are in
// elements; a buffer read is an Input, one written an Output.
func (k *Kernel) Single(elems map[string]Expr) (*Op, error) {
	op := &Op{Name: k.Name}
	l := Launch{Kernel: k}
	for _, p := range k.Params {
		if p.Scalar {
			continue
		}
		n, ok := elems[p.Name]
		if !ok {
			return nil, fmt.Errorf("ptx: kernel %s: no size for buffer %s", k.Name, p.Name)
		}
		role := Input
		if p.Access != Read {
			role = Output
		}
		op.Buffers = append(op.Buffers, Buffer{Name: p.Name, Role: role, DType: p.DType, Elems: n})
		l.Args = append(l.Args, p.Name)
	}
	op.Launches = []Launch{l}
	return op, nil
}

// Pack says how a weight is laid out for its kernel.
type Pack struct {
	Layout string // one line, for the plan
	Elems  int    // packed length
	DType  tensor.DType
	order  func(i int) int // packed position -> source position, -1 for a zero
	source int             // source length
}

// Bytes packs a row-major weight of the length the layout expects.
func (p *Pack) Bytes(src []float32) ([]byte, error) {
	if len(src) != p.source {
		return nil, fmt.Errorf("ptx: packing %q: got %d numbers, want %d", p.Layout, len(src), p.source)
	}
	out := make([]byte, p.Elems*p.DType.Size())
	for i := range p.Elems {
		if j := p.order(i); j >= 0 {
			putFloat(out, i, p.DType, src[j])
		}
	}
	return out, nil
}

// putFloat stores v as element i of a buffer of the given float format, rounding to nearest even.
func putFloat(b []byte, i int, dt tensor.DType, v float32) {
	switch dt {
	case tensor.F32:
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
	case tensor.BF16:
		binary.LittleEndian.PutUint16(b[2*i:], uint16(tensor.ToBFloat16(v)))
	case tensor.F16:
		binary.LittleEndian.PutUint16(b[2*i:], uint16(tensor.ToFloat16(v)))
	default:
		panic("ptx: packing floats as " + dt.String())
	}
}
