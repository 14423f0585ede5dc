//go:build !amd64

package ffn

import "github.com/seed-c851cfd2/moec/runtime/cpu/isa"

// fillKeys writes the keys of x to dst, of length padKeys(len(x)).
func fillKeys(_ isa.Features, dst []uint32, x []float32) { fillKeysPortable(dst, x) }

// threshold returns a key t such that at least k of the n keys are not below it
// and fewer than k above it; or exactly k not below it. 0 < k <= n.
func threshold(_ isa.Features, keys []uint32, n, k int) uint32 {
	return thresholdPortable(keys[:n], k)
}
