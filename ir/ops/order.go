package ops

import (
	"cmp"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ordering compares elements i and j of a tensor: floats by value with NaN above all
// (as NumPy sorts), integers exactly, false before true, strings by bytes, complex
// numbers by real and then imaginary part.
func ordering(t *tensor.Tensor) (func(i, j int) int, error) {
	switch dt := t.DType(); {
	case dt == tensor.String:
		s := t.Strings()
		return func(i, j int) int { return cmp.Compare(s[i], s[j]) }, nil
	case dt == tensor.U64:
		v := tensor.Data[uint64](t)
		return func(i, j int) int { return cmp.Compare(v[i], v[j]) }, nil
	case dt == tensor.C64:
		v := tensor.Data[complex64](t)
		return func(i, j int) int { return compareComplex(complex128(v[i]), complex128(v[j])) }, nil
	case dt == tensor.C128:
		v := tensor.Data[complex128](t)
		return func(i, j int) int { return compareComplex(v[i], v[j]) }, nil
	case dt == tensor.Bool || dt.IsInt():
		v, err := intsOf(t)
		return func(i, j int) int { return cmp.Compare(v[i], v[j]) }, err
	}
	v, err := floatsOf(t)
	return func(i, j int) int { return compareFloats(v[i], v[j]) }, err
}

func compareFloats(a, b float64) int {
	switch {
	case a != a && b != b:
		return 0
	case a != a:
		return 1
	case b != b:
		return -1
	}
	return cmp.Compare(a, b)
}

func compareComplex(a, b complex128) int {
	if c := compareFloats(real(a), real(b)); c != 0 {
		return c
	}
	return compareFloats(imag(a), imag(b))
}
