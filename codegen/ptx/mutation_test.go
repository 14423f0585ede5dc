package ptx

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu/mutate"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// mutationCase is an Op with numbers whose kernels are damaged one synchronisation or guard at a time.
type mutationCase struct {
	op   *Op
	dims map[string]int64
	in   map[string][]byte
	only int // the launch, counted from 1, to damage; 0: all
}

// What mutants of our kernels change nothing, and why.
const (
	runs       = "the loop runs at least once in every thread"
	elected    = "elects one of several lanes or warps that hold the same value; the others would store it again"
	allLanes   = "holds in all 32 lanes: 40 experts"
	inRange    = "always true in this launch: three blocks are fewer than the eight that a batch of loads covers"
	extraCol   = "columns past the last expert land in the padding of the row of logits"
	zeroWeight = "what it would copy meets the zero padding of the packed weight"
	zeroTerm   = "what it would copy meets zeros that the other operand was padded with, or keys that are hidden"
	firstTile  = "the first tile of keys lies inside the matrix"
	spare      = "starts a copy that nobody reads, of weights that exist"
	zeroSlot   = "the register of an element past the row's end is zero and adds nothing"
	implied    = "the branch around it has the same condition"
	scratch    = "zeros past the row's padding land where a later step writes before anybody reads"
	noUnit     = "units past the expert's have zero weights, and no bias here"
	neverZero  = "no gate is 0 in this launch; skipping saves work, not correctness"
	pastEnd    = "what it loads is of the next row, and every use of it has the same guard"
	idleWarp   = "a warp without queries multiplies zeros; skipping saves work, not correctness"
	sameRow    = "a row that is not live has a live one's number, and would be stored again"
)

var harmlessMutants = map[string]map[string]string{
	"moe/0": {
		"skip#5": extraCol, "skip#6": extraCol, "skip#7": extraCol, "skip#8": extraCol,
		"skip#9": runs, "skip#21": runs, "skip#28": runs,
		"skip#11": allLanes, "skip#16": implied, "skip#23": allLanes, "skip#24": allLanes,
		"skip#13": elected, "skip#22": elected, "skip#29": elected,
		"guard#0": inRange, "guard#1": inRange, "guard#2": inRange, "guard#8": inRange, "guard#9": inRange, "guard#10": inRange,
	},
	"moe/1": {"skip#0": runs, "skip#2": elected},
	"moe/2": {"zerofill#0": zeroWeight, "zerofill#1": zeroWeight, "skip#3": spare, "skip#17": runs, "skip#20": runs},
	"moe_decode/0": {
		"skip#0": scratch, "skip#2": runs, "skip#3": runs, "skip#6": allLanes, "skip#11": neverZero, "skip#12": zeroTerm,
		"skip#4": elected, "skip#8": elected, "skip#13": elected, "skip#14": elected, "skip#15": elected, "skip#16": elected,
		"skip#18": noUnit, "skip#20": neverZero, "skip#23": elected,
	},
	"attention_queries/0": {
		"skip#4": idleWarp, "skip#5": runs, "skip#6": runs, "skip#7": spare,
		"zerofill#6": firstTile, "zerofill#7": firstTile, "zerofill#8": firstTile, "zerofill#9": firstTile, "zerofill#10": firstTile,
	},
	"gemm_norm/0": {
		"skip#8": elected, "skip#9": runs, "skip#10": pastEnd, "skip#11": pastEnd,
		"skip#14": zeroSlot, "skip#15": zeroSlot, "skip#16": zeroSlot, "skip#17": zeroSlot,
		"skip#22": sameRow, "skip#24": sameRow, "skip#26": sameRow, "skip#28": sameRow,
	},
	"mlp_norm/0": {
		"zerofill#0": zeroWeight, "skip#17": runs,
		"skip#23": zeroSlot, "skip#24": zeroSlot, "skip#25": zeroSlot, "skip#26": zeroSlot,
		"skip#27": sameRow, "skip#29": sameRow, "skip#31": sameRow, "skip#33": sameRow,
	},
	"moe_norm/2": {
		"zerofill#0": zeroWeight, "skip#20": runs, "skip#23": runs, "skip#24": runs,
		"skip#30": zeroSlot, "skip#31": zeroSlot, "skip#32": zeroSlot, "skip#33": zeroSlot,
		"skip#38": sameRow, "skip#40": sameRow, "skip#42": sameRow, "skip#44": sameRow,
	},
	"moe_decode_norm/0": {
		"skip#10": neverZero, "skip#17": noUnit, "skip#19": neverZero, "skip#26": zeroSlot,
		"skip#4": elected, "skip#7": elected, "skip#12": elected, "skip#13": elected, "skip#14": elected, "skip#15": elected,
		"skip#22": elected, "skip#24": elected,
	},
	"topk/0":      {"skip#2": elected, "skip#3": elected},
	"layernorm/0": {"skip#1": zeroSlot, "skip#2": elected, "skip#4": elected},
	"attention/0": {
		"skip#0": runs, "skip#1": runs, "skip#2": spare,
		"zerofill#2": zeroTerm, "zerofill#3": zeroTerm, "zerofill#4": zeroTerm, "zerofill#5": zeroTerm,
		"zerofill#6": firstTile, "zerofill#7": firstTile,
	},
}

// TestMutants removes each barrier, wait, acquire and release order, and bounds predicate of our own kernels in turn;
// the emulator or the output must tell.
func TestMutants(t *testing.T) {
	for name, build := range mutationCases {
		t.Run(name, func(t *testing.T) {
			if name == "moe" && os.Getenv("MOEC_LONG") == "" {
				t.Skip("runs a hundred launches; set MOEC_LONG=1")
			}
			c := build(t)
			want, err := execute(t, c.op, c.dims, c.in, 1)
			if err != nil {
				t.Fatal(err)
			}
			for i, l := range c.op.Launches {
				if c.only > 0 && i+1 != c.only {
					continue
				}
				t.Run(fmt.Sprint(i), func(t *testing.T) {
					harmless := harmlessMutants[fmt.Sprintf("%s/%d", name, i)]
					whole := *l.Kernel
					defer func() { *l.Kernel = whole }()
					mutate.Check(t, whole.PTX, harmless, func(src string) error {
						l.Kernel.PTX = src
						got, err := execute(t, c.op, c.dims, c.in, 1)
						if err != nil {
							return err
						}
						for _, b := range c.op.Buffers {
							if b.Role == Output && !bytes.Equal(got[b.Name], want[b.Name]) {
								return fmt.Errorf("%s differs", b.Name)
							}
						}
						return nil
					})
				})
			}
		})
	}
}

var mutationCases = map[string]func(t *testing.T) mutationCase{
	"gemm_f64": func(t *testing.T) mutationCase {
		M := Sym("m")
		g := Gemm{
			M: M, N: N(7), K: N(9), A: Matrix{DType: tensor.F64, Row: N(9), Col: N(1)},
			B: Matrix{DType: tensor.F64, Row: N(7), Col: N(1)}, C: Matrix{DType: tensor.F64, Row: N(7), Col: N(1)},
		}
		k, err := g.Kernel()
		op := single(t, k, err, map[string]Expr{"a": M.MulN(9), "b": N(63), "c": M.MulN(7)})
		return mutationCase{op: op, dims: map[string]int64{"m": 5}, in: map[string][]byte{"a": packF64(gauss64(t, 45)), "b": packF64(gauss64(t, 63))}}
	},
	"softmax_f64": func(t *testing.T) mutationCase {
		k, err := Softmax{Outer: Sym("o"), D: N(5), Inner: N(3), DType: tensor.F64}.Kernel()
		all := Sym("o").MulN(15)
		op := single(t, k, err, map[string]Expr{"x": all, "y": all})
		return mutationCase{op: op, dims: map[string]int64{"o": 4}, in: map[string][]byte{"x": packF64(gauss64(t, 60))}}
	},
	"norm_f64": func(t *testing.T) mutationCase {
		k, err := Norm{Rows: Sym("n"), D: N(6), DType: tensor.F64, Scale: tensor.F64, Beta: true, Eps: 1e-5}.Kernel()
		all := Sym("n").MulN(6)
		op := single(t, k, err, map[string]Expr{"x": all, "y": all, "gamma": N(6), "beta": N(6)})
		return mutationCase{op: op, dims: map[string]int64{"n": 7}, in: map[string][]byte{"x": packF64(gauss64(t, 42)), "gamma": packF64(gauss64(t, 6)), "beta": packF64(gauss64(t, 6))}}
	},
	"reduce_f64": func(t *testing.T) mutationCase {
		s := Reduce{Kind: "logsumexp", Outer: []Expr{Sym("n")}, Inner: []Expr{N(4), N(3)}, DType: tensor.F64}
		s.In = View{Strides: []Expr{N(12), N(1), N(4)}}
		k, err := s.Kernel()
		op := single(t, k, err, map[string]Expr{"x": Sym("n").MulN(12), "y": Sym("n")})
		return mutationCase{op: op, dims: map[string]int64{"n": 9}, in: map[string][]byte{"x": packF64(gauss64(t, 108))}}
	},
	"rank": func(t *testing.T) mutationCase {
		k, err := Rank{Outer: Sym("n"), D: N(9), Inner: N(2), K: N(4), DType: tensor.F64}.Kernel()
		few := Sym("n").MulN(8)
		op := single(t, k, err, map[string]Expr{"x": Sym("n").MulN(18), "values": few, "indices": few})
		return mutationCase{op: op, dims: map[string]int64{"n": 3}, in: map[string][]byte{"x": packF64(gauss64(t, 54))}}
	},
	"topk": func(t *testing.T) mutationCase {
		k, err := TopK{Rows: Sym("n"), D: N(300), K: 3, DType: tensor.F32}.Kernel()
		op := single(t, k, err, map[string]Expr{"x": Sym("n").MulN(300), "values": Sym("n").MulN(3), "indices": Sym("n").MulN(3)})
		x := gauss(seeded(t), 600)
		for i := range x {
			x[i] = -1 - x[i]*x[i] // below the zeros that stand past the row's end
		}
		return mutationCase{op: op, dims: map[string]int64{"n": 2}, in: map[string][]byte{"x": packAs(tensor.F32, x)}}
	},
	"gather_elements": func(t *testing.T) mutationCase {
		k, err := GatherElements{Shape: []Expr{N(4), N(5)}, Count: []Expr{Sym("n"), N(3)}, Axis: 1, DType: tensor.F32, Index: tensor.I64}.Kernel()
		op := single(t, k, err, map[string]Expr{"x": N(20), "index": Sym("n").MulN(3), "y": Sym("n").MulN(3)})
		return mutationCase{op: op, dims: map[string]int64{"n": 3}, in: map[string][]byte{
			"x": packAs(tensor.F32, gauss(seeded(t), 20)), "index": packI64([]int64{0, 4, -1, 2, 2, 2, -5, 1, 3}),
		}}
	},
	"conv_transpose": func(t *testing.T) mutationCase {
		s := ConvTranspose{
			Batch: Sym("b"), InC: 2, OutC: 2, Groups: 1, DType: tensor.F32,
			H: Window{Size: 2, Stride: 2, Dilation: 1, In: N(3), Out: N(6)}, W: Window{Size: 3, Stride: 2, Dilation: 1, Pad: 1, In: N(3), Out: N(5)},
		}
		k, err := s.Kernel()
		op := single(t, k, err, map[string]Expr{"x": Sym("b").MulN(18), "w": N(24), "y": Sym("b").MulN(60)})
		r := seeded(t)
		return mutationCase{op: op, dims: map[string]int64{"b": 2}, in: map[string][]byte{"x": packAs(tensor.F32, gauss(r, 36)), "w": packAs(tensor.F32, gauss(r, 24))}}
	},
	"scatter_nd": func(t *testing.T) mutationCase {
		k, err := ScatterND{Axes: []Expr{Sym("n"), N(3)}, Inner: N(2), Count: N(3), DType: tensor.F32, Reduce: "add"}.Kernel()
		op := single(t, k, err, map[string]Expr{"data": Sym("n").MulN(6), "y": Sym("n").MulN(6), "index": N(6), "updates": N(6)})
		r := seeded(t)
		return mutationCase{op: op, dims: map[string]int64{"n": 2}, in: map[string][]byte{
			"data": packAs(tensor.F32, gauss(r, 12)), "updates": packAs(tensor.F32, gauss(r, 6)), "index": packI64([]int64{0, 2, -1, 1, 0, 2}),
		}}
	},
	"scatter": func(t *testing.T) mutationCase {
		k, err := Scatter{Shape: []Expr{Sym("n"), N(5)}, Count: []Expr{N(2), N(3)}, Axis: 1, DType: tensor.F32, Index: tensor.I64, Reduce: "add"}.Kernel()
		op := single(t, k, err, map[string]Expr{"data": Sym("n").MulN(5), "y": Sym("n").MulN(5), "index": N(6), "updates": N(6)})
		r := seeded(t)
		return mutationCase{op: op, dims: map[string]int64{"n": 4}, in: map[string][]byte{
			"data": packAs(tensor.F32, gauss(r, 20)), "updates": packAs(tensor.F32, gauss(r, 6)), "index": packI64([]int64{0, 4, -1, 2, 2, 2}),
		}}
	},
	"gemm": func(t *testing.T) mutationCase {
		g := Gemm{
			M: Sym("m"), N: N(70), K: N(84), Weight: true, Tile: Tile{16, 64, 16, 1, 2, 3},
			A: Matrix{DType: tensor.F32, Row: N(84), Col: N(1)}, B: Matrix{DType: tensor.F32, Row: N(70), Col: N(1)}, C: Matrix{DType: tensor.F32, Row: N(70), Col: N(1)},
		}
		return gemmMutation(t, g, tensor.F32, 17)
	},
	"gemm_bf16": func(t *testing.T) mutationCase {
		g := Gemm{
			M: Sym("m"), N: N(70), K: N(168), Weight: true, Math: Tensor16, Tile: Tile{32, 64, 32, 2, 2, 3},
			A: Matrix{DType: tensor.BF16, Row: N(168), Col: N(1)}, B: Matrix{DType: tensor.BF16, Row: N(70), Col: N(1)}, C: Matrix{DType: tensor.BF16, Row: N(70), Col: N(1)},
		}
		return gemmMutation(t, g, tensor.BF16, 33)
	},
	"gemm_norm": func(t *testing.T) mutationCase {
		g := residualNorm(Sym("m"), 84, 24, tensor.F32, Exact, RowNorm{Scale: tensor.F32, Beta: true, Eps: 1e-5}, Tile{16, 64, 16, 1, 2, 3})
		in, _, _, _ := normNumbers(t, g, 19)
		return mutationCase{op: g.normOp(t), dims: map[string]int64{"m": 19}, in: in}
	},
	"moe": func(t *testing.T) mutationCase {
		s := MoE{Tokens: Sym("T"), D: 72, E: 40, G: 40, Dv: 20, K: 2, DType: tensor.F32, Activation: "relu"}
		op, err := s.Prefill()
		if err != nil {
			t.Fatal(err)
		}
		m := newMoEData(seeded(t), s, 67)
		return mutationCase{op: op, dims: map[string]int64{"T": 67}, in: m.bytes(t, op)}
	},
	"moe_decode": func(t *testing.T) mutationCase {
		s := MoE{Tokens: Sym("T"), D: 40, E: 40, G: 13, Dv: 20, K: 2, DType: tensor.F32, Activation: "relu"}
		op, err := s.Decode()
		if err != nil {
			t.Fatal(err)
		}
		m := newMoEData(seeded(t), s, 2)
		return mutationCase{op: op, dims: map[string]int64{"T": 2}, in: m.bytes(t, op)}
	},
	"moe_norm": func(t *testing.T) mutationCase { return normMutation(t, MoE.Prefill, 35) },
	"mlp_norm": func(t *testing.T) mutationCase {
		s := MLP{Tokens: Sym("T"), D: 24, F: 30, Dv: 20, DType: tensor.F32, Activation: "relu", Fused: true}
		s.Norm = &RowNorm{Scale: tensor.F32, RMS: true, Eps: 1e-5}
		op, err := s.Op()
		if err != nil {
			t.Fatal(err)
		}
		r := seeded(t)
		in := map[string][]byte{"x": packAs(tensor.F32, gauss(r, 67*24)), "gamma": packAs(tensor.F32, gauss(r, 20))}
		for name, n := range map[string]int{"w1": 24 * 30, "w2": 30 * 20} {
			b, _ := op.Buffer(name)
			if in[name], err = b.Pack.Bytes(gauss(r, n)); err != nil {
				t.Fatal(err)
			}
		}
		return mutationCase{op: op, dims: map[string]int64{"T": 67}, in: in}
	},
	"moe_decode_norm": func(t *testing.T) mutationCase { return normMutation(t, MoE.Decode, 2) },
	"layernorm": func(t *testing.T) mutationCase {
		k, err := Norm{Rows: Sym("T"), D: N(1100), DType: tensor.F32, Scale: tensor.F32, Beta: true, Eps: 1e-5}.Kernel()
		all := Sym("T").MulN(1100)
		op := single(t, k, err, map[string]Expr{"x": all, "y": all, "gamma": N(1100), "beta": N(1100)})
		r := seeded(t)
		return mutationCase{op: op, dims: map[string]int64{"T": 2}, in: map[string][]byte{
			"x": packAs(tensor.F32, gauss(r, 2200)), "gamma": packAs(tensor.F32, gauss(r, 1100)), "beta": packAs(tensor.F32, gauss(r, 1100)),
		}}
	},
	"attention_queries": func(t *testing.T) mutationCase {
		const n, d = 67, 52
		s := Attention{
			Batch: N(1), Heads: 2, KVHeads: 2, Queries: Sym("s"), Keys: Sym("s"), HeadDim: 16, VHeadDim: 16, DType: tensor.F32, Math: TF32x3, Scale: 0.3,
			Project: &QueryProjection{D: d, Bias: true},
		}
		s.Q, s.K = Heads{Row: N(d)}, Heads{Head: N(16), Row: N(32)}
		s.V, s.Y = s.K, s.K
		p := s.PackQuery()
		k, err := s.Kernel()
		all := Sym("s").MulN(32)
		op := single(t, k, err, map[string]Expr{"x": Sym("s").MulN(d), "wq": N(p.Elems), "bias": N(32), "k": all, "v": all, "y": all})
		r := seeded(t)
		w, err := p.Bytes(gauss(r, d*32))
		if err != nil {
			t.Fatal(err)
		}
		return mutationCase{op: op, dims: map[string]int64{"s": n}, in: map[string][]byte{
			"x": packAs(tensor.F32, gauss(r, n*d)), "wq": w, "bias": packAs(tensor.F32, gauss(r, 32)),
			"k": packAs(tensor.F32, gauss(r, n*32)), "v": packAs(tensor.F32, gauss(r, n*32)),
		}}
	},
	"attention": func(t *testing.T) mutationCase {
		s := Attention{
			Batch: N(1), Heads: 2, KVHeads: 2, Queries: Sym("s"), Keys: Sym("s"), HeadDim: 12, VHeadDim: 20, DType: tensor.F32, Scale: 0.3,
		}
		s.Q = Heads{Head: N(12), Row: N(24)}
		s.K, s.V = s.Q, Heads{Head: N(20), Row: N(40)}
		s.Y = s.V
		k, err := s.Kernel()
		op := single(t, k, err, map[string]Expr{"q": Sym("s").MulN(24), "k": Sym("s").MulN(24), "v": Sym("s").MulN(40), "y": Sym("s").MulN(40)})
		r := seeded(t)
		const n = 131
		return mutationCase{op: op, dims: map[string]int64{"s": n}, in: map[string][]byte{
			"q": packAs(tensor.F32, gauss(r, n*24)), "k": packAs(tensor.F32, gauss(r, n*24)), "v": packAs(tensor.F32, gauss(r, n*40)),
		}}
	},
}

// normMutation is a mixture that normalises its rows; only the launch that does is damaged.
func normMutation(t *testing.T, build func(MoE) (*Op, error), tokens int) mutationCase {
	s := MoE{
		Tokens: Sym("T"), D: 24, E: 3, G: 20, Dv: 20, K: 2, DType: tensor.F32, Activation: "relu",
		Norm: &RowNorm{Scale: tensor.F32, Beta: true, Eps: 1e-5},
	}
	op, err := build(s)
	if err != nil {
		t.Fatal(err)
	}
	m := newMoEData(seeded(t), s, tokens)
	in := m.bytes(t, op)
	normParams(t, s.Norm, s.Dv, in)
	return mutationCase{op: op, dims: map[string]int64{"T": int64(tokens)}, in: in, only: len(op.Launches)}
}

func gemmMutation(t *testing.T, g Gemm, dt tensor.DType, m int) mutationCase {
	n, _ := g.N.Const()
	k, _ := g.K.Const()
	p, err := g.Pack()
	if err != nil {
		t.Fatal(err)
	}
	kern, err := g.Kernel()
	op := single(t, kern, err, map[string]Expr{"a": g.M.Mul(g.K), "b": N(p.Elems), "c": g.M.Mul(g.N)})
	r := seeded(t)
	w, err := p.Bytes(gauss(r, int(n*k)))
	if err != nil {
		t.Fatal(err)
	}
	return mutationCase{op: op, dims: map[string]int64{"m": int64(m)}, in: map[string][]byte{"a": packAs(dt, gauss(r, m*int(k))), "b": w}}
}

// TestOrderOfBlocks: the same bits come out whatever the order in which blocks and warps run.
func TestOrderOfBlocks(t *testing.T) {
	s := MoE{Tokens: Sym("T"), D: 24, E: 6, G: 130, Dv: 20, K: 2, DType: tensor.F32, Activation: "relu", OBias: true}
	normed := s
	normed.Norm = &RowNorm{Scale: tensor.F32, Beta: true, Eps: 1e-5}
	same := func(op *Op, dims map[string]int64, in map[string][]byte) {
		var first []byte
		for seed := range uint64(4) {
			out, err := execute(t, op, dims, in, seed)
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = out["y"]
			} else if !bytes.Equal(first, out["y"]) {
				t.Errorf("%s: seed %d gives other bits than seed 0", op.Name, seed)
			}
		}
	}
	for _, s := range []MoE{s, normed} {
		for _, build := range []func(MoE) (*Op, error){MoE.Prefill, MoE.Decode} {
			op, err := build(s)
			if err != nil {
				t.Fatal(err)
			}
			m := newMoEData(seeded(t), s, 35)
			in := m.bytes(t, op)
			if s.Norm != nil {
				normParams(t, s.Norm, s.Dv, in)
			}
			same(op, map[string]int64{"T": 35}, in)
		}
	}
	g := residualNorm(Sym("m"), 200, 12, tensor.F32, Exact, *normed.Norm, Tile{16, 64, 16, 1, 2, 3})
	in, _, _, _ := normNumbers(t, g, 35)
	same(g.normOp(t), map[string]int64{"m": 35}, in)
}
