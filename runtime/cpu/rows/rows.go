// Package rows works on rows of floats: sums, maxima, exponentials and normalisation,
// vectorised where the CPU allows. A row's result depends on its own contents and
// length alone (per instruction set), not on its place in memory or beside what it lies.
package rows

import (
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// Kernels is a set of row kernels for the features of a CPU; immutable.
type Kernels struct{ feat isa.Features }

// New picks the kernels that f allows.
func New(f isa.Features) *Kernels { return &Kernels{f} }

// Add sets dst to x + y, element by element; dst may be either.
func (k *Kernels) Add(dst, x, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	if len(dst) == 0 || k.addVector(dst, x, y) {
		return
	}
	for i := range dst {
		dst[i] = x[i] + y[i]
	}
}

// Sum adds up x.
func (k *Kernels) Sum(x []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	if s, ok := k.sumVector(x); ok {
		return s
	}
	var s [8]float32
	for i, v := range x {
		s[i&7] += v
	}
	return (s[0] + s[4]) + (s[1] + s[5]) + ((s[2] + s[6]) + (s[3] + s[7]))
}

// Squares adds up (x - mean)^2.
func (k *Kernels) Squares(x []float32, mean float32) float32 {
	if len(x) == 0 {
		return 0
	}
	if s, ok := k.squaresVector(x, mean); ok {
		return s
	}
	var s [8]float32
	for i, v := range x {
		d := v - mean
		s[i&7] += d * d
	}
	return (s[0] + s[4]) + (s[1] + s[5]) + ((s[2] + s[6]) + (s[3] + s[7]))
}

// Affine sets dst to (x-mean)*factor*scale + bias, element by element.
func (k *Kernels) Affine(dst, x []float32, mean, factor float32, scale, bias []float32) {
	x, scale, bias = x[:len(dst)], scale[:len(dst)], bias[:len(dst)]
	if len(dst) == 0 || k.affineVector(dst, x, mean, factor, scale, bias) {
		return
	}
	for i, v := range x {
		dst[i] = (v-mean)*factor*scale[i] + bias[i]
	}
}

// Max is the largest of floor and x; NaN in x is passed over.
func (k *Kernels) Max(x []float32, floor float32) float32 {
	if len(x) == 0 {
		return floor
	}
	if m, ok := k.topVector(x, floor); ok {
		return m
	}
	for _, v := range x {
		if v > floor {
			floor = v
		}
	}
	return floor
}

// ExpSum sets every x to e^(x-top) and returns their sum. No x may be greater than top;
// more than 87.3 below it the result is 0. The error is below 2 units in the last place.
func (k *Kernels) ExpSum(x []float32, top float32) float32 {
	if len(x) == 0 {
		return 0
	}
	if s, ok := k.expSumVector(x, top); ok {
		return s
	}
	var sum float32
	for i, v := range x {
		e := Exp(v - top)
		x[i] = e
		sum += e
	}
	return sum
}

// Scale sets dst to x times factor; dst may be x.
func (k *Kernels) Scale(dst, x []float32, factor float32) {
	x = x[:len(dst)]
	if len(dst) == 0 || k.scaleVector(dst, x, factor) {
		return
	}
	for i, v := range x {
		dst[i] = v * factor
	}
}

// ScaleMax sets x to x*factor, plus add unless that is nil, and returns the largest of
// floor and the new x; NaN is passed over.
func (k *Kernels) ScaleMax(x []float32, factor float32, add []float32, floor float32) float32 {
	if add != nil {
		add = add[:len(x)]
	}
	if len(x) == 0 {
		return floor
	}
	if m, ok := k.scaleMaxVector(x, factor, add, floor); ok {
		return m
	}
	for i := range x {
		v := float32(x[i] * factor) // rounded before add, on arm64 too
		if add != nil {
			v += add[i]
		}
		x[i] = v
		if v > floor {
			floor = v
		}
	}
	return floor
}

// SelectMax sets x to x*factor where keep and to fill elsewhere, and returns the largest
// of floor and the new x; NaN is passed over.
func (k *Kernels) SelectMax(x []float32, keep []bool, factor, fill, floor float32) float32 {
	keep = keep[:len(x)]
	floor, n := k.selectMaxVector(x, keep, factor, fill, floor)
	for i := n; i < len(x); i++ {
		v := fill
		if keep[i] {
			v = x[i] * factor
		}
		x[i] = v
		if v > floor {
			floor = v
		}
	}
	return floor
}

// Transpose sets dst[j*dstStride+i] to src[i*srcStride+j] for i < rows and j < cols.
func (k *Kernels) Transpose(dst []float32, dstStride int, src []float32, srcStride, rows, cols int) {
	if rows == 0 || cols == 0 {
		return
	}
	_, _ = dst[(cols-1)*dstStride+rows-1], src[(rows-1)*srcStride+cols-1]
	if rows == 3 { // the colours of an image
		a, b, c := src[:cols], src[srcStride:][:cols], src[2*srcStride:][:cols]
		for j := range cols {
			out := dst[j*dstStride:][:3]
			out[0], out[1], out[2] = a[j], b[j], c[j]
		}
		return
	}
	r, c := k.transposeVector(dst, dstStride, src, srcStride, rows, cols)
	for i := range rows {
		from := 0
		if i < r {
			from = c
		}
		row := src[i*srcStride:][:cols]
		for j := from; j < cols; j++ {
			dst[j*dstStride+i] = row[j]
		}
	}
}

// Softmax replaces a row by its softmax. A row of only -Inf, and a row with a NaN or
// +Inf, becomes NaN, as the formula gives.
func (k *Kernels) Softmax(x []float32) {
	top := k.Max(x, float32(math.Inf(-1)))
	if math.IsInf(float64(top), 0) {
		for i := range x {
			x[i] = float32(math.NaN())
		}
		return
	}
	k.Scale(x, x, 1/k.ExpSum(x, top))
}

// Exp is e^x for x <= 0 or NaN, by the formula of the vector kernels.
func Exp(x float32) float32 {
	if x < -87.3 {
		return 0
	}
	if x != x || x > 0 {
		return float32(math.Exp(float64(x)))
	}
	n := float32(int32(x*math.Log2E - 0.5))
	r := x - n*ln2Hi
	r -= n * ln2Lo
	p := float32(0.001375138177536428)
	p = p*r + 0.00836892332881689
	p = p*r + 0.04166953265666962
	p = p*r + 0.166665181517601
	p = p*r + 0.49999988079071045
	p = p*r + 1
	p = p*r + 1
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

const (
	ln2Hi = 0.693145751953125      // 11 bits: n*ln2Hi is exact
	ln2Lo = 1.4286068202862268e-06 // ln 2 - ln2Hi
)
