package asmgen

// Coefficients of the approximations that generators share, so that kernels of different
// packages give the same bits: least-squares fits on Chebyshev nodes.
var (
	// ExpP approximates e^r on |r| <= ln2/2 within 3.6e-9 relative, constant term first.
	ExpP = []float32{1, 1, 0.49999988079071045, 0.166665181517601, 0.04166953265666962, 0.00836892332881689, 0.001375138177536428}
	// GeluP and GeluQ approximate Phi(x)-1/2 as x*P(x^2)/Q(x^2) on |x| <= GeluEnd within
	// 4.1e-9 absolute.
	GeluP = []float32{0.3989422619342804, 0.032935839146375656, 0.004627997521311045, 0.00016033519932534546, 6.379075784934685e-06, 2.405030485874704e-08}
	GeluQ = []float32{1, 0.24922414124011993, 0.02813885733485222, 0.001836575334891677, 7.135260239010677e-05, 1.2371694992907578e-06}
)

const (
	// GeluEnd is where Gelu's quotient is held: the rest is below 6e-8.
	GeluEnd = 5.3
	// Ln2Hi has 11 bits, so that a whole number times it is exact; Ln2Lo is the rest of ln 2.
	Ln2Hi = 0.693145751953125
	Ln2Lo = 1.4286068202862268e-06
)
