package gemm

import "github.com/seed-c851cfd2/moec/codegen/plan/layout"

// serialTime: handing work to another thread costs about a microsecond when that
// thread is awake and 5 to 50 when it sleeps, per phase, so that work which one
// thread does in less than this gains too little from a second.
const serialTime = 12e-6

// ShareFrom returns kernels that divide work among threads if one thread would
// need at least so many seconds for it; New sets 12 microseconds.
func (k *Kernels) ShareFrom(seconds float64) *Kernels {
	c := *k
	c.serial = seconds
	return &c
}

// Serial reports whether work of so many operations on so many bytes of weights,
// at precision p, is better done by one thread. The rates are the order of what a
// core of an AVX-512 machine reaches: they need not be right, since both ways give
// the same bits.
func (k *Kernels) Serial(p layout.Precision, flops, bytes float64) bool {
	rate, stream := 100e9, 30e9
	if p == layout.I8 {
		rate = 400e9
	}
	if bytes < 1<<20 {
		stream = 80e9 // from L2
	}
	return max(flops/rate, bytes/stream) < k.serial
}
