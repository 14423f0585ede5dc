package attn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
	"github.com/seed-c851cfd2/moec/runtime/cpu/rows"
)

func aligned(n int) []float32 {
	b := make([]float32, n+16)
	off := int(-uintptr(unsafe.Pointer(&b[0]))&63) / 4
	return b[off : off+n]
}

func random(rng *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(rng.NormFloat64())
	}
	return s
}

// reference is the definition, in float64.
func reference(a *Attention, b, h, q int) []float64 {
	kv := h / (a.Heads / a.KVHeads)
	s := make([]float64, a.Keys)
	top := math.Inf(-1)
	for k := range s {
		var dot float64
		for d := range a.Dim {
			dot += float64(a.Q.Data[a.Q.at(b, h, q)+d]) * float64(a.K.Data[a.K.at(b, kv, k)+d])
		}
		s[k] = dot * float64(a.Scale)
		if a.Softcap != 0 {
			s[k] = float64(a.Softcap) * math.Tanh(s[k]/float64(a.Softcap))
		}
		m := a.Mask
		at := b*m.Batch + h*m.Head + q*m.Query + k*m.Key
		if m.Add != nil {
			s[k] += float64(m.Add[at])
		}
		if m.Keep != nil && !m.Keep[at] {
			s[k] = float64(m.Fill)
		}
		if a.Causal && k > q {
			s[k] = math.Inf(-1)
		}
		top = max(top, s[k])
	}
	out := make([]float64, a.VDim)
	var sum float64
	for k := range s {
		p := math.Exp(s[k] - top)
		if a.NaNToZero && p != p {
			p = 0
		}
		sum += p
		for d := range out {
			if p != 0 {
				out[d] += p * float64(a.V.Data[a.V.at(b, kv, k)+d])
			}
		}
	}
	for d := range out {
		if out[d] /= sum; sum == 0 && (a.NaNToZero || a.Keys == 0) { // no keys: a sum of nothing
			out[d] = 0
		}
	}
	return out
}

// bf16Error bounds what products in bf16 change of a query's output. Rounding q and k
// moves each score by at most a factor 2^-8 of the magnitudes that it sums up, and so
// each probability by a factor of e^2d; probabilities and values are rounded by 2^-9
// each.
func bf16Error(a *Attention, b, h, q int) float64 {
	kv := h / (a.Heads / a.KVHeads)
	var delta, value float64
	for k := range a.Keys {
		var mag float64
		for d := range a.Dim {
			mag += math.Abs(float64(a.Q.Data[a.Q.at(b, h, q)+d]) * float64(a.K.Data[a.K.at(b, kv, k)+d]))
		}
		delta = max(delta, 1.01*0x1p-8*mag*float64(a.Scale))
		for d := range a.VDim {
			value = max(value, math.Abs(float64(a.V.Data[a.V.at(b, kv, k)+d])))
		}
	}
	return (math.Expm1(2*delta) + 1.01*0x1p-8) * value
}

func TestAttentionAgainstDefinition(t *testing.T) {
	base, err := isa.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, level := range isa.Levels() {
		f, err := base.Cap(level)
		if err != nil {
			t.Fatal(err)
		}
		ks := gemm.New(f)
		precisions := native(ks)
		for _, c := range []struct{ batch, heads, kv, sq, sk, d, dv int }{
			{1, 1, 1, 1, 1, 1, 1},
			{2, 4, 2, 7, 33, 8, 5},
			{1, 3, 3, 49, 50, 32, 32},
			{1, 2, 1, 3, 1100, 17, 40},
			{2, 2, 2, 96, 600, 16, 16},
			{0, 2, 2, 3, 3, 4, 4},
			{1, 2, 2, 0, 3, 4, 4},
			{1, 2, 1, 5, 0, 4, 4},
			{2, 6, 2, 1, 1100, 24, 33}, // where they lie
			{1, 3, 3, 1, 33, 67, 19},
			{1, 8, 1, 1, 515, 64, 128},
			{3, 5, 5, 1, 7, 5, 100},
			{2, 2, 2, 20, 1030, 9, 8}, // streamed
		} {
			kinds := []string{"plain", "causal", "add", "keep", "blind", "capped"}
			for i, kind := range append(kinds, kinds...) {
				if i/len(kinds) >= len(precisions) {
					continue
				}
				p := precisions[i/len(kinds)]
				t.Run(fmt.Sprintf("%s/%v/%v/%s", level, p, c, kind), func(t *testing.T) {
					a := &Attention{
						Precision: p, Kernels: ks, Rows: rows.New(f), Batch: c.batch, Heads: c.heads, KVHeads: c.kv, Queries: c.sq, Keys: c.sk, Dim: c.d, VDim: c.dv, Scale: 0.3,
						Q:   View{random(rng, c.batch*c.sq*c.heads*c.d), c.sq * c.heads * c.d, c.d, c.heads * c.d},
						K:   View{random(rng, c.batch*c.sk*c.kv*c.d), c.sk * c.kv * c.d, c.d, c.kv * c.d},
						V:   View{random(rng, c.batch*c.kv*c.sk*c.dv), c.kv * c.sk * c.dv, c.sk * c.dv, c.dv},
						Out: View{make([]float32, c.batch*c.sq*c.heads*c.dv), c.sq * c.heads * c.dv, c.dv, c.heads * c.dv},
					}
					switch kind {
					case "causal":
						a.Causal = true
					case "add":
						a.Mask = Mask{Add: random(rng, c.batch*c.sk), Batch: c.sk, Key: 1}
						for i := range a.Mask.Add {
							if i%5 == 1 {
								a.Mask.Add[i] = float32(math.Inf(-1))
							}
						}
					case "keep":
						keep := make([]bool, c.sq*c.sk)
						for i := range keep {
							keep[i] = i%3 != 0 || i%c.sk == 0
						}
						a.Mask = Mask{Keep: keep, Query: c.sk, Key: 1, Fill: float32(math.Inf(-1))}
					case "capped":
						a.Softcap = 0.7
						a.Mask = Mask{Add: random(rng, c.batch*c.sk), Batch: c.sk, Key: 1}
					case "blind": // some queries see nothing
						a.NaNToZero = true
						keep := make([]bool, c.sq*c.sk)
						for i := range keep {
							keep[i] = c.sk > 0 && (i/c.sk)%2 == 0
						}
						a.Mask = Mask{Keep: keep, Query: c.sk, Key: 1, Fill: float32(math.Inf(-1))}
					}
					run(t, a)
					if (c.d|c.dv)%2 == 0 {
						checkHalves(t, ks, a)
					}
					for b := range c.batch {
						for h := range c.heads {
							for q := range c.sq {
								want := reference(a, b, h, q)
								got := a.Out.Data[a.Out.at(b, h, q):]
								tol := 2e-5
								if p == layout.BF16 {
									tol += bf16Error(a, b, h, q)
								}
								for d := range want {
									if e := math.Abs(float64(got[d]) - want[d]); !(e <= tol) && !(got[d] != got[d] && want[d] != want[d]) {
										t.Fatalf("(%d,%d,%d,%d) is %v, want %v", b, h, q, d, got[d], want[d])
									}
								}
							}
						}
					}
				})
			}
		}
	}
}

// checkHalves runs a on operands that are bf16 already: the output has the bits that it has on
// the same values in f32, rounded where it is bf16 too.
func checkHalves(t *testing.T, ks *gemm.Kernels, a *Attention) {
	t.Helper()
	rounded := func(x []float32) []float32 {
		y := make([]float32, len(x))
		for i, v := range x {
			y[i] = math.Float32frombits(uint32(layout.RoundBF16(v)) << 16)
		}
		return y
	}
	f := *a
	f.states = nil
	f.Q.Data, f.K.Data, f.V.Data, f.Out.Data = rounded(a.Q.Data), rounded(a.K.Data), rounded(a.V.Data), make([]float32, len(a.Out.Data))
	run(t, &f)
	words := func(x []float32) []float32 {
		w := make([]float32, len(x)/2)
		if len(x) > 0 {
			ks.RoundBF16(w, 0, x, 0, 1, len(x))
		}
		return w
	}
	for _, out := range []bool{false, true} {
		h := *a
		h.states, h.HalfIn, h.HalfOut = nil, true, out
		h.Q.Data, h.K.Data, h.V.Data = words(a.Q.Data), words(a.K.Data), words(a.V.Data)
		want := f.Out.Data
		if out {
			want = words(want)
		}
		h.Out.Data = make([]float32, len(want))
		run(t, &h)
		for i, v := range h.Out.Data {
			if math.Float32bits(v) != math.Float32bits(want[i]) {
				t.Fatalf("of bf16 operands, word %d is %#x, want %#x", i, math.Float32bits(v), math.Float32bits(want[i]))
			}
		}
	}
}

// native are the precisions that attention may be asked for.
func native(ks *gemm.Kernels) []layout.Precision {
	if ks.Native(layout.BF16) {
		return []layout.Precision{layout.F32, layout.BF16}
	}
	return []layout.Precision{layout.F32}
}

func run(t *testing.T, a *Attention) {
	t.Helper()
	if err := a.Run(pool.Serial{}, aligned(a.Scratch(1))); err != nil {
		t.Fatal(err)
	}
}

// A query's bits depend on its own row only: not on the queries beside it, if there are any.
func TestQueriesAreIndependent(t *testing.T) {
	f, err := isa.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	const sq, sk, d = 101, 700, 32
	ks := gemm.New(f)
	for _, p := range native(ks) {
		a := &Attention{
			Precision: p, Kernels: ks, Rows: rows.New(f), Batch: 1, Heads: 1, KVHeads: 1, Queries: sq, Keys: sk, Dim: d, VDim: d, Scale: 0.2,
			Q: View{random(rng, sq*d), 0, 0, d}, K: View{random(rng, sk*d), 0, 0, d}, V: View{random(rng, sk*d), 0, 0, d},
			Out: View{make([]float32, sq*d), 0, 0, d},
		}
		run(t, a)
		whole := append([]float32(nil), a.Out.Data...)
		for q := range sq {
			two := *a
			two.Queries, two.Q.Pos = 2, 0 // the same one twice
			two.Q.Data = a.Q.Data[q*d:]
			two.Out.Data = make([]float32, 2*d)
			run(t, &two)
			for j, x := range two.Out.Data {
				if math.Float32bits(x) != math.Float32bits(whole[q*d+j%d]) {
					t.Fatalf("%v: query %d beside itself gives %v, among others %v", p, q, x, whole[q*d+j%d])
				}
			}
		}
	}
}

// Every way to cut the work gives the same bits, and none allocates after the first run.
func TestModesAgreeAndDoNotAllocate(t *testing.T) {
	f, err := isa.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	pools := []*pool.Pool{pool.New(1), pool.New(2), pool.New(3)}
	for _, p := range pools {
		defer p.Close()
	}
	seen := map[mode]bool{}
	for _, c := range []struct{ batch, heads, kv, sq, sk, d int }{{1, 4, 2, 1, 700, 32}, {2, 3, 3, 20, 530, 16}, {1, 3, 3, 100, 90, 32}, {4, 6, 3, 50, 50, 8}} {
		for _, prec := range native(gemm.New(f)) {
			a := &Attention{
				Precision: prec, Kernels: gemm.New(f), Rows: rows.New(f), Batch: c.batch, Heads: c.heads, KVHeads: c.kv, Queries: c.sq, Keys: c.sk, Dim: c.d, VDim: c.d, Scale: 0.2,
				Q:   View{random(rng, c.batch*c.sq*c.heads*c.d), c.sq * c.heads * c.d, c.d, c.heads * c.d},
				K:   View{random(rng, c.batch*c.sk*c.kv*c.d), c.sk * c.kv * c.d, c.d, c.kv * c.d},
				V:   View{random(rng, c.batch*c.sk*c.kv*c.d), c.sk * c.kv * c.d, c.d, c.kv * c.d},
				Out: View{make([]float32, c.batch*c.sq*c.heads*c.d), c.sq * c.heads * c.d, c.d, c.heads * c.d},
			}
			a.Mask = Mask{Add: random(rng, c.batch*c.sk), Batch: c.sk, Key: 1}
			var want []float32
			for _, p := range pools {
				scratch := aligned(a.Scratch(p.Workers()))
				once := func() {
					if err := a.Run(p, scratch); err != nil {
						t.Fatal(err)
					}
				}
				once()
				seen[a.mode] = true
				if want == nil {
					want = append(want, a.Out.Data...)
				}
				for i, x := range a.Out.Data {
					if math.Float32bits(x) != math.Float32bits(want[i]) {
						t.Fatalf("%v, %d workers: element %d is %v, with one worker %v", c, p.Workers(), i, x, want[i])
					}
				}
				if n := testing.AllocsPerRun(5, once); n != 0 {
					t.Errorf("%v, %d workers: %v allocations per run", c, p.Workers(), n)
				}
			}
		}
	}
	for _, m := range []mode{modeStream, modeWhole, modeAttend} {
		if !seen[m] {
			t.Errorf("no case ran mode %d", m)
		}
	}
}

func BenchmarkAttention(b *testing.B) {
	f, err := isa.FromEnv()
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 8))
	for _, c := range []struct{ batch, heads, sq, sk, d int }{{1, 12, 16, 16, 32}, {8, 12, 128, 128, 32}, {1, 12, 512, 512, 64}, {1, 16, 1, 4096, 64}} {
		for _, p := range native(gemm.New(f)) {
			b.Run(fmt.Sprintf("%v/b%d_h%d_q%d_k%d_d%d", p, c.batch, c.heads, c.sq, c.sk, c.d), func(b *testing.B) {
				w := c.heads * c.d
				a := &Attention{
					Precision: p, Kernels: gemm.New(f), Rows: rows.New(f), Batch: c.batch, Heads: c.heads, KVHeads: c.heads, Queries: c.sq, Keys: c.sk, Dim: c.d, VDim: c.d, Scale: 0.2,
					Q:   View{random(rng, c.batch*c.sq*w), c.sq * w, c.d, w},
					K:   View{random(rng, c.batch*c.sk*w), c.sk * w, c.d, w},
					V:   View{random(rng, c.batch*c.sk*w), c.sk * w, c.d, w},
					Out: View{make([]float32, c.batch*c.sq*w), c.sq * w, c.d, w},
				}
				a.Mask = Mask{Add: random(rng, c.batch*c.sk), Batch: c.sk, Key: 1}
				scratch := aligned(a.Scratch(1))
				for b.Loop() {
					if err := a.Run(pool.Serial{}, scratch); err != nil {
						b.Fatal(err)
					}
				}
				sec := b.Elapsed().Seconds() / float64(b.N)
				b.ReportMetric(4*float64(c.batch*c.sq*c.sk*w)/sec/1e9, "GFLOP/s")
				b.ReportMetric(8*float64(c.batch*c.sk*w)/sec/1e9, "GB/s")
			})
		}
	}
}
