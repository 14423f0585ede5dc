package ffn

import "github.com/seed-c851cfd2/moec/runtime/cpu/isa"

//go:generate go run ./gen

//go:noescape
func keysZ(dst *uint32, x *float32, n int)

//go:noescape
func kthZ(x *uint32, n, k int) uint32

// fillKeys writes the keys of x to dst, of length padKeys(len(x)).
func fillKeys(f isa.Features, dst []uint32, x []float32) {
	if f.AVX512 && len(x) > 0 {
		keysZ(&dst[:padKeys(len(x))][0], &x[0], len(x))
		return
	}
	fillKeysPortable(dst, x)
}

// threshold returns a key t such that at least k of the n keys are not below it
// and fewer than k above it; or exactly k not below it. 0 < k <= n.
func threshold(f isa.Features, keys []uint32, n, k int) uint32 {
	if f.AVX512 {
		return kthZ(&keys[:padKeys(n)][0], n, k)
	}
	return thresholdPortable(keys[:n], k)
}
