package ptx

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
)

// The goldens were computed by the paper authors' code (tests/testdata/goldens). Those without dropout run here through
// the kernels, on the emulator, in f32: the bound is 1e-4 of the largest magnitude, and of 1.

const goldenBound = 1e-4

type golden struct {
	Name    string
	Variant string
	Hyper   struct {
		K, Heads, KNN  int
		Activation     string
		SelectionMode  string `json:"selection_mode"`
		AfterTopK      bool   `json:"activation_after_topk"`
		Training       bool
		ExpertDropout  float64 `json:"expert_dropout"`
		Dropout        float64
		SinkhornNIters int `json:"sinkhorn_n_iters"`
	}
	shape map[string][]int
	data  map[string][]float32
}

func goldens(t *testing.T) map[string]*golden {
	dir := filepath.Join("..", "..", "tests", "testdata", "goldens")
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	// Python writes infinities, which are no JSON; no number of interest here is one.
	for _, word := range []string{"-Infinity", "Infinity", "NaN"} {
		b = bytes.ReplaceAll(b, []byte(" "+word), []byte(" null"))
	}
	var m struct{ Cases []*golden }
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	out := map[string]*golden{}
	for _, g := range m.Cases {
		out[g.Name] = g
	}
	return out
}

func (g *golden) load(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "tests", "testdata", "goldens", g.Name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := tensorio.DecodeSafetensors(b)
	if err != nil {
		t.Fatal(err)
	}
	g.shape, g.data = map[string][]int{}, map[string][]float32{}
	for _, n := range list {
		if n.Tensor.DType() == tensor.I64 {
			continue
		}
		v, err := n.Tensor.Float64s()
		if err != nil {
			continue // masks
		}
		f := make([]float32, len(v))
		for i := range v {
			f[i] = float32(v[i])
		}
		g.shape[n.Name], g.data[n.Name] = n.Tensor.Shape(), f
	}
}

// check runs the Op and compares y.
func (g *golden) check(t *testing.T, op *Op, tokens int, weights map[string][]float32) {
	in := map[string][]byte{}
	for _, b := range op.Buffers {
		v, ok := weights[b.Name]
		if !ok {
			continue
		}
		in[b.Name] = packAs(tensor.F32, v)
		if b.Pack != nil {
			p, err := b.Pack.Bytes(v)
			if err != nil {
				t.Fatalf("%s: %v", b.Name, err)
			}
			in[b.Name] = p
		}
	}
	out := run(t, op, map[string]int64{"T": int64(tokens)}, in)
	want := make([]float64, len(g.data["y"]))
	for i, x := range g.data["y"] {
		want[i] = float64(x)
	}
	near(t, g.Name, unpack(tensor.F32, out["y"]), want, goldenBound)
}

func TestGoldenMoE(t *testing.T) {
	all := goldens(t)
	for name, gate := range map[string]Gate{
		"sigma_k1": GateSigmoid, "sigma_k2": GateSigmoid, "sigma_k4": GateSigmoid, "sigma_k4_batch1_token1": GateSigmoid,
		"sigma_k2_bias_vdim_gelu": GateSigmoid, "softmax_before_topk_k2": GateSoftmaxBefore, "softmax_after_topk_k4": GateSoftmaxAfter,
		"sinkmoid_train_k2": GateSigmoid, "sinkmoid_eval_k2": GateSigmoid, "sbase_train_k1": GateSigmoid,
		"switch_train_k1": GateSoftmaxBefore, "switch_train_k4_f64": GateSoftmaxBefore, "switch_eval_k1": GateSoftmaxBefore,
	} {
		t.Run(name, func(t *testing.T) {
			g := all[name]
			g.load(t)
			if g.Hyper.ExpertDropout+g.Hyper.Dropout != 0 {
				t.Fatal("a golden with dropout is not for this test")
			}
			keys, x := g.shape["p.keys"], g.shape["x"]
			tokens := x[0] * x[1]
			s := MoE{
				Tokens: Sym("T"), E: keys[0], D: keys[1], G: keys[2], Dv: g.shape["p.values"][2], K: g.Hyper.K, DType: tensor.F32,
				Gate: gate, Activation: Fn(g.Hyper.Activation), Bias: g.data["p.bias"] != nil, OBias: g.data["p.o_bias"] != nil,
			}
			if s.Activation == "" {
				s.Activation = "relu" // what every experiment of the authors uses
			}
			w := map[string][]float32{
				"x": g.data["x"], "sel": g.data["p.expert_sel"], "w1": g.data["p.keys"], "w2": g.data["p.values"],
				"bias": g.data["p.bias"], "o_bias": g.data["p.o_bias"], "logits": g.data["aux.logits"],
			}
			if g.data["aux.sinkhorn"] != nil {
				// Training: experts rank by the balanced matrix of each sequence.
				k, err := Sinkhorn{Sequences: N(x[0]), Tokens: N(x[1]), MaxTokens: x[1], E: s.E, Iters: max(g.Hyper.SinkhornNIters, 3)}.Kernel()
				op := single(t, k, err, map[string]Expr{"x": N(tokens * s.E), "ranks": N(tokens * s.E)})
				out := run(t, op, nil, map[string][]byte{"x": packAs(tensor.F32, w["logits"])})
				s.Logits, s.Ranks, w["ranks"] = true, true, unpack(tensor.F32, out["ranks"])
			}
			op, err := s.Prefill()
			if err != nil {
				t.Fatal(err)
			}
			g.check(t, op, tokens, w)
			if s.Ranks {
				return
			}
			if op, err = s.Decode(); err != nil {
				t.Fatal(err)
			}
			g.check(t, op, tokens, w)
		})
	}
}

func TestGoldenPKM(t *testing.T) {
	all := goldens(t)
	for _, name := range []string{"pkm_relu_h1", "pkm_relu_h4_rect_linproj", "pkm_softmax_h2", "pkm_dense_relu_h4", "pkm_dense_softmax_h2_f64", "pkm_lample_h3"} {
		for _, densify := range []bool{false, true} {
			t.Run(fmt.Sprint(name, densify), func(t *testing.T) {
				g := all[name]
				g.load(t)
				x, values := g.shape["x"], g.shape["p.values.weight"]
				s := PKM{Tokens: Sym("T"), D: x[2], Dv: values[1], KNN: g.Hyper.KNN, H: g.Hyper.Heads, DType: tensor.F32, Bias: true, Densify: densify}
				switch g.Hyper.Activation {
				case "softmax":
					s.Softmax = true
				case "softmax per head":
					s.SoftmaxHead = true
				default:
					s.Weighting = Fn(g.Hyper.Activation)
				}
				query, queryBias := g.data["p.query_proj.weight"], g.data["p.query_proj.bias"]
				var tables [2]PKMKeys
				for i := range tables {
					k := &tables[i]
					*k = PKMKeys{H: s.H, Keys: g.data[fmt.Sprint("p.keys.", i)], D: s.D}
					if shape := g.shape[fmt.Sprint("p.keys.", i)]; shape != nil {
						k.N, k.Len = shape[1], shape[2]
					} else { // Lample's: keys [H, 2, n, len]
						query, queryBias = g.data["p.query_proj.0.weight"], g.data["p.query_proj.0.bias"]
						shape := g.shape["p.keys"]
						k.N, k.Len = shape[2], shape[3]
						for h := range s.H {
							at := (h*2 + i) * k.N * k.Len
							k.Keys = append(k.Keys, g.data["p.keys"][at:at+k.N*k.Len]...)
						}
					}
					k.Query, k.QueryBias = query, queryBias
				}
				s.N1, s.N2, s.D1, s.D2, s.X2 = tables[0].N, tables[1].N, tables[0].Len, tables[1].Len, tables[0].Len
				tables[1].From = tables[0].Len
				if query != nil {
					s.D1, s.D2, s.X2 = s.D, s.D, 0
				}
				w := map[string][]float32{"x": g.data["x"], "values": g.data["p.values.weight"]}
				for i := range tables {
					tables[i].QueryLen = tables[0].Len + tables[1].Len
					w[fmt.Sprint("keys", i+1)], w[fmt.Sprint("key_bias", i+1)] = tables[i].Fold(s.Dense())
				}
				op, err := s.Op()
				if err != nil {
					t.Fatal(err)
				}
				g.check(t, op, x[0]*x[1], w)
			})
		}
	}
}

func TestGoldenTopK(t *testing.T) {
	g := goldens(t)["topk_k8"]
	g.load(t)
	w1, x := g.shape["p.linear1.weight"], g.shape["x"]
	transposed := func(name string) []float32 {
		rows, cols := g.shape[name][0], g.shape[name][1]
		out := make([]float32, rows*cols)
		for i := range rows {
			for j := range cols {
				out[j*rows+i] = g.data[name][i*cols+j]
			}
		}
		return out
	}
	s := MLP{Tokens: Sym("T"), D: w1[1], F: w1[0], Dv: g.shape["p.linear2.weight"][0], DType: tensor.F32, Activation: "relu", Bias1: true, Bias2: true, TopK: g.Hyper.K}
	op, err := s.Op()
	if err != nil {
		t.Fatal(err)
	}
	g.check(t, op, x[0]*x[1], map[string][]float32{
		"x": g.data["x"], "w1": transposed("p.linear1.weight"), "b1": g.data["p.linear1.bias"],
		"w2": transposed("p.linear2.weight"), "b2": g.data["p.linear2.bias"],
	})
}
