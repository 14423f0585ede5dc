package cpu

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/conv"
)

const (
	// maxPadded bounds the elements of a channel with its padding against those of input,
	// output and window. What the compiler moves to channels last stays far below:
	// padding and windows of 64 elements an axis at the most, or of 16 for three axes.
	maxPadded = 16
	// anyPadded is allowed whatever the sizes.
	anyPadded = 1 << 20
)

// checkExtent refuses windows that a program compiled here does not have, for which the
// padded copy of an image would take memory out of all proportion to the image.
func checkExtent(axes [3]conv.Axis) error {
	in, out, taps, padded := 1.0, 1.0, 1.0, 1.0 // floats: products of wild sizes overflow integers
	for _, a := range axes {
		in *= float64(a.In)
		out *= float64(a.Out)
		taps *= float64(a.Kernel)
		padded *= max(1, float64(a.Out-1)*float64(a.Stride)+float64(a.Kernel-1)*float64(a.Dilation)+1)
	}
	if padded > maxPadded*(in+out+taps)+anyPadded {
		return fmt.Errorf("%w: windows %v reach over %.3g elements of %.3g: compile the model again", ir.ErrLimit, axes, padded, in)
	}
	return nil
}

// noWindows is bound in place of windows of which there are none: along the other axes there
// may be so many that listing them alone takes all memory.
func noWindows(b *Binding) (Bound, bool) {
	return Bound{Run: func(*Call) error { return nil }}, slices.Contains(shapeOf(b.Outs[0]), 0)
}

// checkTaps holds the weights of a depthwise convolution by taps to what the kernel reads.
func (l *lastConv) checkTaps(w *tensor.Tensor) error {
	n := l.c
	for _, a := range l.axes {
		n *= a.Kernel
	}
	if l.groups != l.c || l.m != l.c || w.DType() != tensor.F32 || w.Len() != n {
		return fmt.Errorf("%w: %s of weights by taps for %d channels in %d groups to %d, want %d", ir.ErrShape, w, l.c, l.groups, l.m, n)
	}
	return nil
}

// tapsBelow is how many taps of a window lie less than n elements after its first one.
func tapsBelow(a ops.WindowAxis, n int) int {
	if n <= 0 {
		return 0
	}
	return min(a.Kernel, (n+a.Dilation-1)/a.Dilation)
}
