package ptx

import (
	"math"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestCuts: candidates change where their times cross; what flickers by whole waves, or saves next to nothing, does not
// bring a cut, and impossible candidates serve nobody.
func TestCuts(t *testing.T) {
	linear := func(c, t int) float64 { return []float64{float64(t), 100}[c] }
	flicker := func(c, t int) float64 {
		if c == 0 {
			return float64(t)
		}
		return float64(t) * (1 + .05*math.Sin(float64(t)))
	}
	limited := func(c, t int) float64 {
		if c == 0 && t > 64 {
			return math.Inf(1)
		}
		return []float64{1, 2, 2}[c]
	}
	for name, c := range map[string]struct {
		n    int
		time func(c, t int) float64
		want []int
	}{
		"crossing": {2, linear, []int{100}},
		"flicker":  {2, flicker, nil},
		"limited":  {3, limited, []int{64}},
		"one":      {1, linear, nil},
	} {
		if got := cuts(c.n, c.time); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestMoECut: on an A100 a token's four experts of 128 units of 1024 in and out weigh 2.097 MB, 1.03 us of memory; three
// launches of a graph take 3.9 us, and the selector is 0.066 MB: three tokens are faster in one launch, four are not.
func TestMoECut(t *testing.T) {
	s := MoE{Tokens: Sym("T"), D: 1024, E: 32, G: 128, Dv: 1024, K: 4, DType: tensor.BF16, Math: Tensor16, Activation: "relu"}
	p := Planner{GPU: gpu(t, "a100")}
	got := p.MoECuts(s)
	if len(got) == 0 || got[0] != 3 {
		t.Fatalf("cuts at %v, want the first at 3", got)
	}
	for _, c := range []struct{ from, to, launches int }{{1, 3, 1}, {4, 0, 3}} {
		p.From, p.To, p.Tokens = c.from, c.to, c.from
		op, err := p.MoE(s)
		if err != nil {
			t.Fatal(err)
		}
		if len(op.Launches) != c.launches {
			t.Errorf("from %d tokens: %d launches, want %d", c.from, len(op.Launches), c.launches)
		}
	}
}

// TestRangesAgree: in the range that cuts give it, a choice is never much slower than the best one for a number of
// tokens, on every GPU: it differs by no more than what a further variant must save, and the launch it cannot save.
func TestRangesAgree(t *testing.T) {
	for _, g := range gpus {
		p := Planner{GPU: g}
		for _, m := range []Math{Exact, TF32x3, Tensor16} {
			for _, size := range [][2]int{{64, 64}, {1536, 384}, {384, 1536}, {4096, 4096}} {
				n, k := size[0], size[1]
				from := 1
				for _, to := range append(p.GemmCuts(m, 1, n, k), maxTokens) {
					q := p
					q.From, q.To, q.Tokens = from, to, from
					tile, _, _ := q.Gemm(m, 1, from, n, k)
					sum, count := 0.0, 0
					for _, rows := range samples(from, to) {
						best := math.Inf(1)
						for _, other := range tilesFor(m) {
							v, _ := p.gemmTime(m, other, 1, rows, n, k)
							best = min(best, v)
						}
						v, _ := p.gemmTime(m, tile, 1, rows, n, k)
						sum += math.Log(v / best)
						count++
					}
					if mean := math.Exp(sum / float64(count)); mean > 1.25 {
						t.Errorf("%s, %s, %dx%d, %d to %d rows: tile %s takes %.2f times the best tile's time on average", g.Name, m, k, n, from, to, tile, mean)
					}
					from = to + 1
				}
			}
		}
	}
}
