package tests

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

var updateDocs = flag.Bool("update-docs", false, "rewrite the tables in docs that tests generate")

// familyRow is a line of the table of the family at its reference sizes.
type familyRow struct {
	name, formula, use string
	op                 string
	attrs              any
	shapes             [][]int // of the parameters, x aside; nil for absent ones
}

// familyRows take a layer of 4096 hidden units on vectors of 1024.
func familyRows(table *ops.Table) []familyRow {
	const d, f, e, g, k, keys, half = 1024, 4096, 32, 128, 4, 64, 512
	moe := func(gate ops.Gate) *ops.MoEAttrs {
		a := table.Lookup(ir.DomainMoec, "MoE").Attrs().(*ops.MoEAttrs)
		a.Gate, a.K = gate, k
		return a
	}
	experts := [][]int{{e, d, g}, {e, g, d}, {e, d}}
	gated := [][]int{{e, d, g}, {e, g, d}, {e, d}, nil, nil, nil, nil, {e, d, g}}
	return []familyRow{
		{"MLP", "`act(x W1 + b1) W2 + b2`", "the dense layer that everything is compared with", "moec::MLP", &ops.MLPAttrs{Activation: ops.ActReLU}, [][]int{{d, f}, {f, d}, {f}, {d}}},
		{"GatedMLP", "`(act(x Wg) * (x Wu)) Wd`", "dense layers of models trained with SwiGLU, GEGLU or ReGLU", "moec::GatedMLP", &ops.GatedMLPAttrs{Activation: ops.ActSiLU}, [][]int{{d, f}, {d, f}, {f, d}}},
		{"TopKMLP, k=512", "`keep the k largest of act(x W1 + b1), times W2`", "ReLU layers with few active units: exact once k covers them; saves the second product only", "moec::TopKMLP", &ops.TopKMLPAttrs{Activation: ops.ActReLU, K: 512}, [][]int{{d, f}, {f, d}, {f}, {d}}},
		{"PKM, 64x64 keys, 1 head, knn 32", "`sum over the best knn of s1[i] + s2[j] of act(s) v[i n2 + j]`", "very many values at little cost per token; trained as such, not converted into", "moec::PKM", &ops.PKMAttrs{KNN: 32, Weighting: "relu"}, [][]int{{1, keys, half}, {1, keys, half}, {keys * keys, d}}},
		{"MoE, sigmoid (sigma-MoE)", "`sum over the top K of sigmoid(l_e) act(x W1_e) W2_e`, `l = x S'`", "the default; its paper reports the quality of dense layers of as many parameters", "moec::MoE", moe(ops.GateSigmoid), experts},
		{"MoE, softmax-after", "gate softmax over the selected `l`", "models of the Mixtral kind", "moec::MoE", moe(ops.GateSoftmaxAfter), experts},
		{"MoE, switch, K=1", "gate `softmax(l)_e` of the best expert", "Switch Transformers", "moec::MoE", func() *ops.MoEAttrs { a := moe(ops.GateSwitch); a.K = 1; return a }(), [][]int{{e / 4, d, 4 * g}, {e / 4, 4 * g, d}, {e / 4, d}}},
		{"MoE, none", "the selected experts weigh 1", "dense layers split into experts: all kept is exact", "moec::MoE", moe(ops.GateNone), experts},
		{"MoE of gated experts", "`act(x W1_e) * (x Up_e)` inside", "gated layers split into experts", "moec::MoE", moe(ops.GateSigmoid), gated},
	}
}

func familyTable(t *testing.T) string {
	t.Helper()
	table := ops.NewTable()
	var b bytes.Buffer
	fmt.Fprintf(&b, "| layer | formula | MFLOP per token | MB read for one token | kB moved per token of 512 | when |\n|---|---|---:|---:|---:|---|\n")
	for _, r := range familyRows(table) {
		cost := func(tokens int) ir.Cost {
			op := table.Lookup(ir.DomainMoec, r.op[len("moec::"):])
			c := &ir.InferCtx{Attrs: r.attrs, Ins: []ir.Type{ir.MakeType(tensor.F32, ir.Dims(tokens, 1024)...)}, Outs: make([]ir.Type, 1)}
			for _, s := range r.shapes {
				var typ ir.Type
				if s != nil {
					typ = ir.MakeType(tensor.F32, ir.Dims(s...)...)
				}
				c.Ins = append(c.Ins, typ)
			}
			if err := op.Infer(c); err != nil {
				t.Fatalf("%s: %v", r.name, err)
			}
			return op.Cost(&ir.CostCtx{Attrs: r.attrs, Ins: c.Ins, Outs: c.Outs})
		}
		one, many := cost(1), cost(512)
		fmt.Fprintf(&b, "| %s | %s | %.2f | %.2f | %.1f | %s |\n", r.name, r.formula, float64(one.FLOPs)/1e6, float64(one.Bytes)/1e6, float64(many.Bytes)/512/1e3, r.use)
	}
	return b.String()
}

// TestFamilyTableIsCurrent: the tables in the README and docs/FAMILY.md are what Cost says.
func TestFamilyTableIsCurrent(t *testing.T) {
	for _, file := range []string{filepath.Join("..", "README.md"), filepath.Join("..", "docs", "FAMILY.md")} {
		keepCurrent(t, file, "<!-- table: go test ./tests -run TestFamilyTable -update-docs -->\n", "<!-- end of table -->\n", familyTable(t))
	}
}

// TestOperatorTableIsCurrent: the README lists the operators of the table.
func TestOperatorTableIsCurrent(t *testing.T) {
	byDomain := map[string][]string{}
	var domains []string
	for _, op := range ops.NewTable().All() {
		d := op.Domain
		if d == "" {
			d = "ai.onnx"
		}
		if byDomain[d] == nil {
			domains = append(domains, d)
		}
		byDomain[d] = append(byDomain[d], op.Name)
	}
	var b strings.Builder
	b.WriteString("| domain | operators |\n|---|---|\n")
	for _, d := range domains {
		fmt.Fprintf(&b, "| `%s` (%d) | %s |\n", d, len(byDomain[d]), strings.Join(byDomain[d], " "))
	}
	keepCurrent(t, filepath.Join("..", "README.md"), "<!-- operators: go test ./tests -run TestOperatorTable -update-docs -->\n", "<!-- end of operators -->\n", b.String())
}

// keepCurrent holds what stands between two marks of a document to want, or with
// -update-docs makes it so.
func keepCurrent(t *testing.T, file, begin, end, want string) {
	t.Helper()
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	i, j := bytes.Index(doc, []byte(begin)), bytes.Index(doc, []byte(end))
	if i < 0 || j < i {
		t.Fatalf("%s lacks the marks around its table", file)
	}
	i += len(begin)
	if string(doc[i:j]) == want {
		return
	}
	if *updateDocs {
		doc = append(append(append([]byte(nil), doc[:i]...), want...), doc[j:]...)
		if err := os.WriteFile(file, doc, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("the table in %s is not current; run go test ./tests -run %s -update-docs\n%s", file, t.Name(), want)
}
