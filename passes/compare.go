package passes

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Difference is how far two tensors are apart.
type Difference struct {
	Shape   string  // how types or shapes differ, if they do
	Max     float64 // largest difference of two elements
	Scale   float64 // largest finite magnitude of the first
	NaN     int     // positions where only one of the two is not a number, or infinite
	Bits    int     // positions that differ at all; the sign of zero and the kind of NaN aside
	Epsilon float64 // the spacing of the element type at 1
}

// String tells the largest difference beside the largest magnitude.
func (d Difference) String() string {
	if d.Shape != "" {
		return d.Shape
	}
	return fmt.Sprintf("largest difference %.3g beside magnitudes up to %.3g, %d elements differ, %d in NaN or infinity", d.Max, d.Scale, d.Bits, d.NaN)
}

// roundingBound is how many epsilons, relative to the largest magnitude, a rounding pass
// may move an output: reordering a sum of n terms moves it by up to n/2 epsilons of the
// sum of magnitudes, by sqrt(n) typically; 500 leaves a factor of ten over sums of a few
// thousand terms in some dozens of layers. For f32 it is 6e-5 of the largest magnitude.
const roundingBound = 500

// halvingBound is how far, relative to the largest magnitude, a halving pass may move an output:
// bf16 moves an intermediate by 2^-9 of itself; a factor of eight leaves room for a few
// dozen in a row, which add up by the root of their number.
const halvingBound = 0x1p-6

// allows reports whether a difference is within what an effect declares.
func (e Effect) allows(d Difference) bool {
	switch {
	case d.Shape != "":
		return false
	case e == Exact:
		return d.Bits == 0
	case e == Rounding:
		return d.NaN == 0 && d.Max <= roundingBound*d.Epsilon*max(1, d.Scale)
	case e == Halving:
		return d.NaN == 0 && d.Max <= halvingBound*max(1, d.Scale)
	}
	return true
}

// Compare measures how far b is from a.
func Compare(a, b *tensor.Tensor) Difference {
	d := Difference{Epsilon: epsilon(a.DType())}
	if a.String() != b.String() {
		d.Shape = fmt.Sprintf("%s before, %s after", a, b)
		return d
	}
	if a.DType() == tensor.String {
		for i, s := range a.Strings() {
			if s != b.Strings()[i] {
				d.Bits++
				d.NaN++
			}
		}
		return d
	}
	x, err1 := a.Float64s()
	y, err2 := b.Float64s()
	if err1 != nil || err2 != nil {
		if !tensor.Equal(a, b) {
			d.Bits, d.NaN = 1, 1
		}
		return d
	}
	for i := range x {
		if !math.IsInf(x[i], 0) && !math.IsNaN(x[i]) {
			d.Scale = max(d.Scale, math.Abs(x[i]))
		}
		switch {
		case x[i] == y[i], x[i] != x[i] && y[i] != y[i]:
			continue
		case math.IsNaN(x[i] - y[i]), math.IsInf(x[i]-y[i], 0):
			d.NaN++
		default:
			d.Max = max(d.Max, math.Abs(x[i]-y[i]))
		}
		d.Bits++
	}
	return d
}

func epsilon(dt tensor.DType) float64 {
	switch dt {
	case tensor.F64:
		// Constants of fused ops are f32 attributes at times.
		return 0x1p-52
	case tensor.F16:
		return 0x1p-10
	case tensor.BF16:
		return 0x1p-7
	case tensor.F32:
		return 0x1p-23
	}
	return 0
}
