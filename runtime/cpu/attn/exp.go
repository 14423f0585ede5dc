package attn

import "math"

// expSum sets every x to e^(x-top) and returns their sum, added in order. Below
// e^-87.3 the result is 0. The error is below 2 units in the last place.
func expSum(x []float32, top float32) float32 {
	var sum float32
	for i, v := range x {
		e := exp32(v - top)
		x[i] = e
		sum += e
	}
	return sum
}

const (
	ln2Hi = 0.693145751953125      // 11 bits: n*ln2Hi is exact
	ln2Lo = 1.4286068202862268e-06 // ln 2 - ln2Hi
)

// exp32 is e^x for x <= 0 or NaN: 2^n times a polynomial on |r| <= ln2/2 (degree 6,
// Taylor with the last terms refitted: 4e-9 relative before rounding).
func exp32(x float32) float32 {
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
