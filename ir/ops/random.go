package ops

import "math/rand/v2"

// newRandom is the generator of all random ops: the same seed gives the same numbers
// on every machine.
func newRandom(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x6d6f6563))
}
