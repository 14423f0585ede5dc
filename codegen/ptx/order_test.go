package ptx

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestTilesKeepOrder: the planner's variants of a product, and of a mixture in three launches, differ in their tiles
// only: whatever the tile, the same bits come out.
func TestTilesKeepOrder(t *testing.T) {
	same := func(t *testing.T, ops []*Op, dims map[string]int64, in func(*Op) map[string][]byte) {
		t.Helper()
		var first []byte
		for i, op := range ops {
			var got []byte
			for name, b := range run(t, op, dims, in(op)) {
				if buf, _ := op.Buffer(name); buf.Role == Output {
					got = b
				}
			}
			if first == nil {
				first = got
			} else if !bytes.Equal(first, got) {
				t.Errorf("variant %d gives other bits than the first", i)
			}
		}
	}
	for _, m := range []Math{Exact, TF32x3, Tensor16} {
		dt := tensor.F32
		if m == Tensor16 {
			dt = tensor.BF16
		}
		t.Run("product_"+m.String(), func(t *testing.T) {
			const rows, n, k = 70, 75, 100
			g := Gemm{M: Sym("m"), N: N(n), K: N(k), Weight: true, Math: m}
			g.A, g.B, g.C = Matrix{DType: dt, Row: N(k), Col: N(1)}, Matrix{DType: dt, Row: N(n), Col: N(1)}, Matrix{DType: tensor.F32, Row: N(n), Col: N(1)}
			pack, err := g.Pack()
			if err != nil {
				t.Fatal(err)
			}
			r := seeded(t)
			a, w := packAs(dt, gauss(r, rows*k)), gauss(r, k*n)
			b, err := pack.Bytes(w)
			if err != nil {
				t.Fatal(err)
			}
			var ops []*Op
			for _, tile := range tilesFor(m) {
				g := g
				g.Tile = tile
				kern, err := g.Kernel()
				ops = append(ops, single(t, kern, err, map[string]Expr{"a": Sym("m").MulN(k), "b": N(pack.Elems), "c": Sym("m").MulN(n)}))
			}
			same(t, ops, map[string]int64{"m": rows}, func(*Op) map[string][]byte { return map[string][]byte{"a": a, "b": b} })
		})
		for _, gated := range []bool{false, true} {
			t.Run(fmt.Sprintf("mixture_%s_gated_%t", m, gated), func(t *testing.T) {
				const tokens = 70
				s := MoE{Tokens: Sym("T"), D: 40, E: 5, G: 140, Dv: 36, K: 2, DType: dt, Math: m, Activation: "gelu", Gated: gated, Bias: true, OutBias: true}
				data := newMoEData(seeded(t), s, tokens)
				var ops []*Op
				for _, c := range s.moeChoices() {
					if c.decode {
						continue
					}
					s := s
					s.TileRows, s.RouterRows = c.tile, c.router
					op, err := s.Prefill()
					if err != nil {
						t.Fatal(err)
					}
					ops = append(ops, op)
				}
				same(t, ops, map[string]int64{"T": tokens}, func(op *Op) map[string][]byte { return data.bytes(t, op) })
			})
		}
	}
}
