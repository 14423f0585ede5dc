package ir

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Dim is one dimension of a value: a size known now, or a name (or an expression
// over names, such as "batch*12") for one that the inputs will settle. Two dims
// with the same non-empty name are the same size in every run.
type Dim struct {
	Size int64  // the size when Name is empty; -1 when nothing is known
	Name string // the symbol otherwise
}

// Known makes a dimension of a known size.
func Known(n int64) Dim { return Dim{Size: n} }

// Sym makes a dimension known by name only.
func Sym(name string) Dim { return Dim{Size: -1, Name: name} }

// Unknown is a dimension nothing is known of.
func Unknown() Dim { return Dim{Size: -1} }

// IsKnown reports whether the size is known.
func (d Dim) IsKnown() bool { return d.Size >= 0 }

// Same reports whether two dims are certain to be equal in every run.
func (d Dim) Same(e Dim) bool {
	if d.IsKnown() || e.IsKnown() {
		return d.Size == e.Size
	}
	return d.Name != "" && d.Name == e.Name
}

// String is the size, the name, or "?".
func (d Dim) String() string {
	switch {
	case d.IsKnown():
		return strconv.FormatInt(d.Size, 10)
	case d.Name != "":
		return d.Name
	}
	return "?"
}

// Type is what is known of a value before the program runs: element type and shape.
// The zero Type stands for an absent or wholly unknown value.
type Type struct {
	DType  tensor.DType
	Shape  []Dim
	Ranked bool // false: not even the number of dimensions is known, and Shape is nil
}

// TypeOf is the type of a tensor.
func TypeOf(t *tensor.Tensor) Type {
	return Type{DType: t.DType(), Shape: Dims(t.Shape()...), Ranked: true}
}

// MakeType is a ranked type.
func MakeType(dt tensor.DType, shape ...Dim) Type {
	return Type{DType: dt, Shape: shape, Ranked: true}
}

// Unranked is a type of which only the element type is known.
func Unranked(dt tensor.DType) Type { return Type{DType: dt} }

// Dims turns sizes into known dims.
func Dims(sizes ...int) []Dim {
	d := make([]Dim, len(sizes))
	for i, s := range sizes {
		d[i] = Known(int64(s))
	}
	return d
}

// Rank is the number of dimensions, -1 when unknown.
func (t Type) Rank() int {
	if !t.Ranked {
		return -1
	}
	return len(t.Shape)
}

// Static is the shape as sizes; ok is false unless every dimension is known.
func (t Type) Static() (shape []int, ok bool) {
	if !t.Ranked {
		return nil, false
	}
	shape = make([]int, len(t.Shape))
	for i, d := range t.Shape {
		if !d.IsKnown() {
			return nil, false
		}
		shape[i] = int(min(d.Size, math.MaxInt)) // the greatest is beyond every bound on elements
	}
	return shape, true
}

// fits refuses sizes that an int cannot hold on a platform of 32 bits.
func (t Type) fits() error {
	for _, d := range t.Shape {
		if d.IsKnown() && d.Size > math.MaxInt {
			return fmt.Errorf("%w: a dimension of %d is more than this platform can address", ErrLimit, d.Size)
		}
	}
	return nil
}

// Equal reports whether both types say the same.
func (t Type) Equal(u Type) bool {
	if t.DType != u.DType || t.Ranked != u.Ranked || len(t.Shape) != len(u.Shape) {
		return false
	}
	for i := range t.Shape {
		if t.Shape[i] != u.Shape[i] {
			return false
		}
	}
	return true
}

// String prints "f32[batch,128]", "f32[...]" when unranked.
func (t Type) String() string {
	if t.DType == tensor.Invalid {
		return "?"
	}
	if !t.Ranked {
		return t.DType.String() + "[...]"
	}
	s := make([]string, len(t.Shape))
	for i, d := range t.Shape {
		s[i] = d.String()
	}
	return t.DType.String() + "[" + strings.Join(s, ",") + "]"
}
