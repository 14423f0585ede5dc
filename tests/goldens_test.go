package tests

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
)

// The goldens are layers and whole models run by their authors' code; manifest.json says
// what each case is. MOEC_GOLDENS names another folder of the same form. Tensors named
// "g.", final parameters and later losses belong to gradients, which moec does not
// compute; everything else must match.

// golden is one case: its line of the manifest and its tensors.
type golden struct {
	Name, File, Variant, Impl, DType string
	Hyper                            struct {
		DModel         int     `json:"d_model"`
		K              int64   `json:"k"`
		SelectionMode  string  `json:"selection_mode"`
		AfterTopK      bool    `json:"activation_after_topk"`
		Activation     string  `json:"activation"`
		Training       bool    `json:"training"`
		Dropout        float32 `json:"dropout"`
		SinkhornIters  int64   `json:"sinkhorn_n_iters"`
		Reg            string  `json:"reg"`
		RegCoef        float64 `json:"reg_coef"`
		NoiseEps       float32 `json:"noise_epsilon"`
		RenormEps      float32 `json:"renorm_eps"`
		CVEps          float32 `json:"cv_eps"`
		CVUnbiased     bool    `json:"cv_unbiased"`
		KNN            int64   `json:"knn"`
		UseNorm        bool    `json:"use_norm"`
		FFN            string  `json:"ffn"`
		AttentionHeads int     `json:"n_attn_heads"`
		HeadSize       int     `json:"head_size"`
		Layers         int     `json:"n_layers"`
		HeadMergeTopK  bool    `json:"head_merge_topk"`
	}
	T map[string]*tensor.Tensor `json:"-"`
}

// check is an expectation on an output of a case's graph.
type check struct {
	what string
	of   func(out *tensor.Tensor) []float64 // nil: the elements as they are
	want []float64
	// exact compares as they are; else within the tolerance of the case's type.
	exact bool
}

// goldenGraph is a case as a graph, with its inputs and a check per output.
type goldenGraph struct {
	g      *ir.Graph
	ins    []*tensor.Tensor
	checks []check
}

func (gg *goldenGraph) input(name string, t *tensor.Tensor) *ir.Value {
	gg.ins = append(gg.ins, t)
	return gg.g.AddInput(name, ir.TypeOf(t))
}

// constant is a parameter; nil for a tensor that the case lacks.
func (gg *goldenGraph) constant(name string, t *tensor.Tensor) *ir.Value {
	if t == nil {
		return nil
	}
	return gg.g.NewConst(name, t)
}

// expect makes v an output that is held to c.
func (gg *goldenGraph) expect(v *ir.Value, c check) {
	gg.g.Outputs = append(gg.g.Outputs, v)
	gg.checks = append(gg.checks, c)
}

// builders make the graph of each variant.
var builders = map[string]func(*testing.T, *golden) *goldenGraph{
	"sigma_moe":                  goldenMoE,
	"softmax":                    goldenMoE,
	"softmax_moe":                goldenMoE,
	"sinkmoid":                   goldenMoE,
	"sbase":                      goldenMoE,
	"switch":                     goldenMoE,
	"sigma_moe_train_trajectory": goldenTrajectory,
	"noisy_topk_gating":          goldenNoisy,
	"pkm":                        goldenPKM,
	"pkm_lample2019":             goldenLample,
	"topk_activation":            goldenTopK,
	"transformer_xl_lm":          goldenLM,
}

func TestGoldens(t *testing.T) {
	dir := os.Getenv("MOEC_GOLDENS")
	if dir == "" {
		dir = filepath.Join("testdata", "goldens")
	}
	for _, c := range readGoldens(t, dir) {
		t.Run(c.Name, func(t *testing.T) {
			c.T = readSafetensors(t, filepath.Join(dir, c.File))
			if c.Variant == "selector_renorm_init" {
				goldenRenorm(t, c)
				return
			}
			build := builders[c.Variant]
			if build == nil {
				t.Fatalf("no such variant: %q", c.Variant)
			}
			gg := build(t, c)
			if err := gg.g.Sort(); err != nil {
				t.Fatal(err)
			}
			if err := ir.Infer(gg.g); err != nil {
				t.Fatal(err)
			}
			if err := ir.Verify(gg.g); err != nil {
				t.Fatal(err)
			}
			for _, r := range runners {
				t.Run(r.name, func(t *testing.T) { holdGolden(t, c, gg, r) })
			}
		})
	}
}

func holdGolden(t *testing.T, c *golden, gg *goldenGraph, r runner) {
	t.Helper()
	outs, err := r.run(context.Background(), gg.g, gg.ins)
	if err != nil {
		t.Fatal(err)
	}
	for i, ck := range gg.checks {
		var got []float64
		if ck.of != nil {
			got = ck.of(outs[i])
		} else if got, err = outs[i].Float64s(); err != nil {
			t.Fatal(err)
		}
		c.hold(t, ck.what, got, ck.want, ck.exact)
	}
}

// hold compares within the tolerance of the case's type, relative to the largest value:
// 2e-6 for float32, 1e-12 for float64.
func (c *golden) hold(t *testing.T, what string, got, want []float64, exact bool) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d elements, want %d", what, len(got), len(want))
		return
	}
	largest, worst, at := 0.0, 0.0, 0
	for i := range want {
		if d := math.Abs(got[i] - want[i]); !(d <= worst) && !(math.IsInf(want[i], 0) && got[i] == want[i]) {
			worst, at = d, i
		}
		if !math.IsInf(want[i], 0) {
			largest = math.Max(largest, math.Abs(want[i]))
		}
	}
	tol := 2e-6 * largest
	if c.DType == "float64" {
		tol = 1e-12 * largest
	}
	if exact {
		tol = 0
	}
	if !(worst <= tol) {
		t.Errorf("%s: element %d is %.9g, want %.9g: off by %.3g, allowed %.3g", what, at, got[at], want[at], worst, tol)
	}
}

func readGoldens(t *testing.T, dir string) []*golden {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Cases []*golden
	}
	// Python writes Infinity, which JSON does not have.
	b = regexp.MustCompile(`:\s*-?(Infinity|NaN)`).ReplaceAll(b, []byte(": null"))
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Cases) == 0 {
		t.Fatalf("%s lists no cases", dir)
	}
	return m.Cases
}

// newGolden starts a case's graph.
func newGolden(c *golden) *goldenGraph {
	return &goldenGraph{g: ir.NewGraph(c.Name, ops.NewTable())}
}

// floats are the elements of a tensor of the case, which must be there.
func (c *golden) floats(t *testing.T, name string) []float64 {
	t.Helper()
	if c.T[name] == nil {
		t.Fatalf("the case has no tensor %q", name)
	}
	v, err := c.T[name].Float64s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// readSafetensors reads all tensors of a file.
func readSafetensors(t *testing.T, file string) map[string]*tensor.Tensor {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := tensorio.DecodeSafetensors(b)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	out := map[string]*tensor.Tensor{}
	for _, n := range list {
		out[n.Name] = n.Tensor
	}
	return out
}

// transposed is a matrix with rows and columns exchanged; nil of nil.
func transposed(m *tensor.Tensor) *tensor.Tensor {
	if m == nil {
		return nil
	}
	rows, cols, size := m.Shape()[0], m.Shape()[1], m.DType().Size()
	out := tensor.New(m.DType(), cols, rows)
	for i := range rows {
		for j := range cols {
			copy(out.Bytes()[(j*rows+i)*size:][:size], m.Bytes()[(i*cols+j)*size:][:size])
		}
	}
	return out
}

// sortedRows are the elements with each row of k sorted: a selection without its order.
func sortedRows(v []float64, k int) []float64 {
	v = slices.Clone(v)
	for i := 0; i+k <= len(v); i += k {
		slices.Sort(v[i : i+k])
	}
	return v
}

func sortedRowsOf(t *testing.T, k int) func(*tensor.Tensor) []float64 {
	return func(out *tensor.Tensor) []float64 {
		v, err := out.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		return sortedRows(v, k)
	}
}

func lastDim(t *tensor.Tensor) int { return t.Shape()[t.Rank()-1] }

func (c *golden) unsupported(t *testing.T, what string, value any) {
	t.Helper()
	t.Fatalf("hyper-parameter %s has value %v, which the runner does not know", what, value)
}
