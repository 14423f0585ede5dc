package ffn

import (
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// Selection is exact: the K greatest scores, the lower index first among equals;
// -0 equals 0, and NaN ranks below minus infinity.
//
// Floats are mapped to unsigned integers of the same order, and the K-th greatest
// is found bit by bit from the top, by counting: about ten passes over keys in L1
// when exactly K are left early, 32 at most, without a branch on the data.

// key is the unsigned integer that orders v.
func key(v float32) uint32 {
	if v != v {
		return 0
	}
	b := math.Float32bits(v + 0) // -0 becomes 0
	if b == 1<<31 {
		b = 0
	}
	if b>>31 != 0 {
		return ^b
	}
	return b | 1<<31
}

// padKeys is the length of a buffer for the keys of n scores.
func padKeys(n int) int { return pad(n) }

func fillKeysPortable(dst []uint32, x []float32) {
	for i, v := range x {
		dst[i] = key(v)
	}
	clear(dst[len(x):padKeys(len(x))])
}

func thresholdPortable(keys []uint32, k int) uint32 {
	t := uint32(0)
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		count := 0
		for _, v := range keys {
			if v >= t|bit {
				count++
			}
		}
		if count >= k {
			t |= bit
		}
		if count == k {
			break
		}
	}
	return t
}

// selectTopK writes the indexes of the k greatest of scores to dst, ascending,
// and returns how many: k, or all if there are fewer. dst has room for all of the
// scores, and keys is scratch of padKeys.
func selectTopK(f isa.Features, dst []int32, scores []float32, k int, keys []uint32) int {
	n := len(scores)
	if k >= n {
		for i := range n {
			dst[i] = int32(i)
		}
		return n
	}
	if k <= 0 {
		return 0
	}
	fillKeys(f, keys, scores)
	t := threshold(f, keys, n, k)
	if c := pick(f, dst, keys[:n], t); c == k {
		return c
	}
	// Several keys equal t: of them, as many as the ones above leave room for.
	above := 0
	for _, v := range keys[:n] {
		if v > t {
			above++
		}
	}
	equal, c := k-above, 0
	for i, v := range keys[:n] {
		if v > t || v == t && equal > 0 {
			if v == t {
				equal--
			}
			dst[c] = int32(i)
			c++
		}
	}
	return c
}

func pickPortable(dst []int32, keys []uint32, t uint32) int {
	c := 0
	for i, v := range keys {
		if v >= t {
			dst[c] = int32(i)
			c++
		}
	}
	return c
}
