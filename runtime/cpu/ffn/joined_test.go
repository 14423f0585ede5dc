package ffn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
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

// An expert that no token selects leaves no trace, whatever its hidden units are: those of a
// joined mixture are computed, and not multiplied by zero but set to it.
func TestUnselectedExpertsDoNotCount(t *testing.T) {
	rs := threads(t)
	joined := 0
	for level, k := range variants() {
		for _, p := range precisions {
			for _, n := range []int{1, 2, 3, 7, 50} {
				rng := rand.New(rand.NewPCG(4, uint64(n)))
				s := moeShape{n, 24, 16, 37, 9, 3}
				l := randomMoE(t, k, p, rng, s)
				join(t, p, rng, l)
				l.Joined.UpBias = floats(rng, s.e*s.g)
				if l.Joined.Gate != nil {
					l.Joined.GateBias = floats(rng, s.e*s.g)
				}
				l.Router = Router{Gating: []Gating{GateSigmoid, GateNone, GateSoftmax}[n%3], K: s.k, Logits: gemm.Rows{Data: floats(rng, n*s.e), Stride: s.e}}
				for i := range n {
					l.Router.Logits.Data[i*s.e+4] = -100
				}
				run := func(r int, x float32) []float32 {
					for i := range s.g {
						l.Joined.UpBias[4*s.g+i] = x
					}
					for e := range l.Experts {
						w := &l.Experts[e]
						w.UpBias, w.DownBias = l.Joined.UpBias[e*s.g:(e+1)*s.g], make([]float32, s.dv)
						if w.Gate != nil {
							w.GateBias = l.Joined.GateBias[e*s.g : (e+1)*s.g]
						}
						if e == 4 {
							w.DownBias[0] = x
						}
					}
					l.Y = gemm.Rows{Data: poison(n * s.dv), Stride: s.dv}
					if err := l.Run(rs[r], poison(l.Scratch(rs[r].Workers()))); err != nil {
						t.Fatal(err)
					}
					return l.Y.Data
				}
				if l.isJoined() {
					joined++
				}
				want := run(0, 1)
				for r := range rs {
					for _, x := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1e38} {
						sameBits(t, fmt.Sprintf("%s %v %d tokens, biases of %v", level, p, n, x), run(r, x), want)
					}
				}
			}
		}
	}
	t.Logf("%d mixtures were joined", joined)
}
