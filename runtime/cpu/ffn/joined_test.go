package ffn

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Lines are kept word by word as the portable loop does it, and nothing else is written.
func TestKeptRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for level, k := range variants() {
		for trial := range 40 {
			rows, lines, gap := 1+rng.IntN(5), 1+rng.IntN(7), rng.IntN(3)
			b := keptRows{rows: rows, lines: lines, stride: lineUnits * (lines + gap), laneStride: lines + gap}
			data := floats(rng, rows*b.stride)
			b.lanes = make([]uint16, rows*b.laneStride)
			for i := range b.lanes {
				a, c := rng.Uint32(), rng.Uint32()
				b.lanes[i] = uint16(a & c) // a quarter of the lanes
			}
			if trial%2 == 0 {
				b.gates = floats(rng, rows*b.laneStride)
			}
			want := append([]float32(nil), data...)
			b.words = words(want)
			b.portable()
			b.words = words(data)
			b.apply(k.Features())
			sameBits(t, fmt.Sprintf("%s trial %d", level, trial), data, want)
		}
	}
}
