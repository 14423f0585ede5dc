package ptx

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

var updateDocs = flag.Bool("update-docs", false, "rewrite the tables in docs that tests generate")

const projectionDoc = "../../docs/PERFORMANCE.md"

// projected is the layer of the projections: sigma-MoE of 32 experts of 128 units, 4 per token, on vectors of 1024
// in bf16, against the dense layer of as many parameters.
func projected() (MoE, MLP) {
	t := Sym("T")
	moe := MoE{Tokens: t, D: 1024, E: 32, G: 128, Dv: 1024, K: 4, DType: tensor.BF16, Math: Tensor16, Activation: "relu"}
	return moe, MLP{Tokens: t, D: 1024, F: 4096, Dv: 1024, DType: tensor.BF16, Math: Tensor16, Activation: "relu"}
}

// projections is the table of what the planner chooses and how long it should take.
func projections(t *testing.T) string {
	var b strings.Builder
	fmt.Fprintln(&b, "| GPU | tokens | launches | kB per token | us, limited by | dense: launches | kB per token | us | ratio |")
	fmt.Fprintln(&b, "|---|---:|---:|---:|---|---:|---:|---:|---:|")
	for _, name := range []string{"3090", "a100", "h100", "h200"} {
		gpu, err := GPUByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, tokens := range []int{1, 16, 256, 4096, 32768} {
			p := Planner{GPU: gpu, Tokens: tokens}
			moe, mlp := projected()
			sparse, err := p.MoE(moe)
			if err != nil {
				t.Fatal(err)
			}
			dense, err := p.MLP(mlp)
			if err != nil {
				t.Fatal(err)
			}
			dims := map[string]int64{"T": int64(tokens)}
			bound := func(op *Op) (Bound, float64) {
				x, err := gpu.Bound(op, Tensor16, dims)
				if err != nil {
					t.Fatal(err)
				}
				n, err := op.Cost().Bytes.Eval(dims)
				if err != nil {
					t.Fatal(err)
				}
				return x, float64(n) / float64(tokens) / 1e3
			}
			s, sb := bound(sparse)
			d, db := bound(dense)
			if len(sparse.Launches) > 3 {
				t.Errorf("%s, %d tokens: %d launches, at most 3 are allowed", name, tokens, len(sparse.Launches))
			}
			fmt.Fprintf(&b, "| %s | %d | %d | %s | %s, %s | %d | %s | %s | %.1f |\n", name, tokens, len(sparse.Launches), short(sb), short(s.Micros), s.Limit,
				len(dense.Launches), short(db), short(d.Micros), d.Micros/s.Micros)
		}
	}
	return b.String()
}

// TestProjections keeps the table in the documentation current: go test ./codegen/ptx -run TestProjections -update-docs
// rewrites it.
func TestProjections(t *testing.T) {
	const begin, end = "<!-- projections: begin -->\n", "<!-- projections: end -->"
	doc, err := os.ReadFile(filepath.FromSlash(projectionDoc))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), begin)
	table, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", projectionDoc)
	}
	want := projections(t)
	if table == want {
		return
	}
	if !*updateDocs {
		t.Fatalf("%s is not current; go test ./codegen/ptx -run TestProjections -update-docs rewrites it. The table is:\n%s", projectionDoc, want)
	}
	if err := os.WriteFile(projectionDoc, []byte(head+begin+want+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestProjectedRegisters prints registers, spills and shared memory of the layer's kernels and of products at the
// tiles of the paper authors' kernels, where there is a ptxas; run it with -v.
func TestProjectedRegisters(t *testing.T) {
	bins := ptxasPath()
	if len(bins) == 0 {
		t.Skip("no ptxas")
	}
	moe, _ := projected()
	op, err := moe.Prefill()
	if err != nil {
		t.Fatal(err)
	}
	decode, err := moe.Decode()
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		what string
		k    *Kernel
	}
	var rows []row
	for _, l := range append(op.Launches, decode.Launches...) {
		rows = append(rows, row{l.Kernel.Doc, l.Kernel})
	}
	for _, c := range []struct {
		dt   tensor.DType
		math Math
		tile Tile
	}{
		{tensor.F16, Tensor16, Tile{128, 128, 32, 2, 4, 3}},
		{tensor.F16, Tensor16, Tile{64, 64, 32, 2, 2, 3}},
		{tensor.F32, Exact, Tile{128, 128, 16, 4, 2, 3}},
		{tensor.F32, Exact, Tile{64, 64, 16, 2, 2, 3}},
		{tensor.F32, TF32x3, Tile{128, 128, 16, 2, 4, 3}},
	} {
		n := N(1024)
		m := func() Matrix { return Matrix{DType: c.dt, Row: n, Col: N(1)} }
		k, err := Gemm{M: Sym("T"), N: n, K: n, A: m(), B: m(), C: m(), Weight: true, Math: c.math, Tile: c.tile}.Kernel()
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row{fmt.Sprintf("product, %s, %s, tile %s", c.dt, c.math, c.tile), k})
	}
	for _, r := range rows {
		line := "| " + r.what + " |"
		for _, arch := range []string{"sm_80", "sm_90"} {
			u, err := runPtxas(bins[0], arch, r.k)
			if err != nil {
				t.Fatal(err)
			}
			line += fmt.Sprintf(" %d/%d/%d |", u.regs, u.spill, r.k.StaticShared+r.k.DynamicShared)
		}
		t.Log(line)
	}
}
