package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// pairTable makes the left operand of a product from two tables: element (row, i*n2+j) is w(s1[row,i] + s2[row,j]),
// or s1[row,i] * s2[row,j]. s1 is the Gemm's A.
type pairTable struct {
	n1, n2  int
	weight  Fn
	product bool
	second  asm.U64
}

// element gives the function that computes one element for the loader.
func (p *pairTable) element(w *gemmKernel, s1 asm.U64) func(k asm.U32, c *chunk) asm.F32 {
	es := w.A.DType.Size()
	return func(k asm.U32, c *chunk) asm.F32 {
		i, j := k.DivRem(w.Const(p.n2))
		a := loadF(s1.AtMul(c.x, w.Const(p.n1), es).At(i, es), w.A.DType, 0)
		b := loadF(p.second.AtMul(c.x, w.Const(p.n2), es).At(j, es), w.A.DType, 0)
		if p.product {
			return a.Mul(b)
		}
		s := value{f: a.Add(b)}
		if p.weight != "" {
			s = functions[p.weight].emit(w.Func, []value{s}, nil)
		}
		return s.f
	}
}

// PKM is a product-key memory. The scores of both key tables are linear in x, so the query projection and its
// bias are folded into the keys at compile time (see Fold): s1 = x keys1 + bias1, per head. Where nothing is
// pruned (KNN 0, or no more keys than KNN) the heads' scores are added, also at compile time, and all values take
// part: a product whose left operand is computed from the two score tables while it is loaded. Else per token
// and head the KNN best of both tables, then of their sums; sums that cannot be among the best, given
// the order of both tables, are never formed; equal sums of which one cannot be pruned go to the lower value.
// The chosen values are gathered, or (Densify) the weights are spread into a row over all values for a product.
type PKM struct {
	Tokens      Expr
	H, N1, N2   int
	D1, D2      int // length of x that each table meets after folding, and where: see X2
	X2          int // first element of x for the second table
	D           int // length of x
	Dv, KNN     int
	DType       dtype
	Math        Math
	Weighting   Fn   // "" is the identity; ignored with a softmax
	Softmax     bool // over the slots of all heads
	SoftmaxHead bool // over the slots of each head
	Bias        bool // the folded scores have biases
	B2          bool
	Densify     bool
	ScoreTiles  [2]Tile // of the scores' products; zero: chosen from the shape
	ValueTile   Tile    // of the product with the values
	PlainValues bool    // the product reads the values as gathering does, row-major: for programs that do both
}

// Dense reports whether all values take part.
func (s *PKM) Dense() bool {
	return !s.SoftmaxHead && (s.KNN == 0 || s.N1 <= s.KNN && s.N2 <= s.KNN)
}

// heads is the number of score tables: 1 when heads are added.
func (s *PKM) heads() int {
	if s.Dense() {
		return 1
	}
	return s.H
}

// scores is the number of columns and terms of the t-th product of scores.
func (s *PKM) scores(t int) (cols, depth int) {
	if t == 0 {
		return s.heads() * s.N1, s.D1
	}
	return s.heads() * s.N2, s.D2
}

func (s *PKM) knn() (k1, k2, slots int) {
	k := s.KNN
	if k == 0 {
		k = s.N1 * s.N2
	}
	k1, k2 = min(k, s.N1), min(k, s.N2)
	return k1, k2, min(k, k1*k2)
}

// Op writes the launches.
func (s PKM) Op() (*Op, error) {
	if s.H < 1 || s.N1 < 1 || s.N2 < 1 || s.N1 > 1024 || s.N2 > 1024 || s.D1 < 1 || s.D2 < 1 {
		return nil, fmt.Errorf("ptx: pkm of %d heads, %d x %d keys (at most 1024 each)", s.H, s.N1, s.N2)
	}
	op := &Op{Name: "pkm_gather"}
	if s.Dense() || s.Densify {
		op.Name = "pkm_product"
	}
	add := func(name string, role Role, dt dtype, elems Expr, p *Pack) {
		op.Buffers = append(op.Buffers, Buffer{name, role, dt, elems, p})
	}
	add("x", Input, s.DType, s.Tokens.MulN(s.D), nil)
	// scores
	scoreType := tensor.F32 // selection and weighting in f32
	if s.Dense() && s.DType != tensor.F32 {
		scoreType = s.DType // they feed a 16-bit product
	}
	for t, from := range []int{0, s.X2} {
		cols, depth := s.scores(t)
		name := fmt.Sprint(t + 1)
		g := Gemm{
			Name: "pkm_scores", M: s.Tokens, N: N(cols), K: N(depth), Weight: true, Math: s.Math, Tile: s.ScoreTiles[t],
			A: Matrix{DType: s.DType, Row: N(s.D), Col: N(1), Offset: N(from)},
			B: Matrix{DType: s.DType, Row: N(cols), Col: N(1)}, C: Matrix{DType: scoreType, Row: N(cols), Col: N(1)},
		}
		var p Program
		v := p.In(tensor.F32)
		args := []string{"x", "keys" + name}
		if s.Bias {
			bias := p.In(tensor.F32)
			g.Extra = []Matrix{{DType: tensor.F32, Row: N(0), Col: N(1)}}
			v = p.Do("add", v, bias)
			args = append(args, "key_bias"+name)
			add("key_bias"+name, Weight, tensor.F32, N(cols), nil)
		}
		p.Out(v, scoreType)
		g.Epilogue = p
		pack, err := g.Pack()
		if err != nil {
			return nil, err
		}
		add("keys"+name, Weight, s.DType, N(pack.Elems), pack)
		add("scores"+name, Scratch, scoreType, s.Tokens.MulN(cols), nil)
		k, err := g.Kernel()
		if err != nil {
			return nil, err
		}
		op.Launches = append(op.Launches, Launch{k, append(args, "scores"+name)})
	}
	add("y", Output, s.DType, s.Tokens.MulN(s.Dv), nil)
	if s.B2 {
		add("b2", Weight, s.DType, N(s.Dv), nil)
	}
	if s.Dense() {
		return op, s.dense(op, add)
	}
	return op, s.sparse(op, add)
}

// values is the product with the value table; its left operand is [T, N1*N2].
func (s *PKM) values(op *Op, add func(string, Role, dtype, Expr, *Pack), pairs *pairTable, a Matrix, args ...string) error {
	n := s.N1 * s.N2
	g := Gemm{
		Name: "pkm_values", M: s.Tokens, N: N(s.Dv), K: N(n), Weight: !s.PlainValues, Math: s.Math, Tile: s.ValueTile, A: a, pairs: pairs,
		B: Matrix{DType: s.DType, Row: N(s.Dv), Col: N(1)}, C: Matrix{DType: s.DType, Row: N(s.Dv), Col: N(1)},
	}
	if s.B2 {
		var p Program
		acc, b2 := p.In(tensor.F32), p.In(s.DType)
		p.Out(p.Do("add", acc, b2), s.DType)
		g.Epilogue, g.Extra = p, []Matrix{{DType: s.DType, Row: N(0), Col: N(1)}}
		args = append(args, "b2")
	}
	if s.PlainValues {
		add("values", Weight, s.DType, N(n*s.Dv), nil)
	} else {
		pack, err := g.Pack()
		if err != nil {
			return err
		}
		add("values", Weight, s.DType, N(pack.Elems), pack)
	}
	k, err := g.Kernel()
	if err != nil {
		return err
	}
	// Buffers are in the order a, b, a2, extras, c.
	args = append([]string{args[0], "values"}, args[1:]...)
	op.Launches = append(op.Launches, Launch{k, append(args, "y")})
	return nil
}

// dense: y = w(s1 + s2) V. The softmax of sums is the product of the tables' softmaxes.
func (s *PKM) dense(op *Op, add func(string, Role, dtype, Expr, *Pack)) error {
	t := &pairTable{n1: s.N1, n2: s.N2, weight: s.Weighting, product: s.Softmax}
	first, second := "scores1", "scores2"
	if s.Softmax {
		for i, n := range []int{s.N1, s.N2} {
			k, err := Softmax{Outer: s.Tokens, D: N(n), Inner: N(1), DType: s.DType}.Kernel()
			if err != nil {
				return err
			}
			to := fmt.Sprintf("weights%d", i+1)
			add(to, Scratch, s.DType, s.Tokens.MulN(n), nil)
			op.Launches = append(op.Launches, Launch{k, []string{fmt.Sprintf("scores%d", i+1), to}})
		}
		first, second = "weights1", "weights2"
	}
	return s.values(op, add, t, Matrix{DType: s.DType, Row: N(s.N1), Col: N(1)}, first, second)
}

func (s *PKM) sparse(op *Op, add func(string, Role, dtype, Expr, *Pack)) error {
	b := newKernel("pkm_select", rowThreads)
	k := &pkmKernel{builder: b, PKM: s}
	k.write()
	kern := b.done()
	l := Launch{Kernel: kern, Args: []string{"scores1", "scores2"}}
	if s.Densify {
		add("weights", Scratch, s.DType, s.Tokens.MulN(s.N1*s.N2), nil)
		l.Args = append(l.Args, "weights")
		op.Launches = append(op.Launches, l)
		return s.values(op, add, nil, Matrix{DType: s.DType, Row: N(s.N1 * s.N2), Col: N(1)}, "weights")
	}
	add("values", Weight, s.DType, N(s.N1*s.N2*s.Dv), nil)
	l.Args = append(l.Args, "values")
	if s.B2 {
		l.Args = append(l.Args, "b2")
	}
	l.Args = append(l.Args, "y")
	op.Launches = append(op.Launches, l)
	return nil
}

// gatherBatch is the number of values that a thread has under way at a time.
const gatherBatch = 8

// pkmKernel selects, weighs and gathers (or spreads) the values of one token per block; a warp per head.
type pkmKernel struct {
	*builder
	*PKM
	half   [2]asm.U32 // shared, per warp: {index, score} of the best of each table, in order
	index  asm.U32    // shared [H*slots]: chosen values
	weight asm.U32    // shared [H*slots]: their scores, then weights
}

func (p *pkmKernel) write() {
	k1, k2, slots := p.knn()
	p.doc("%d heads: best %d of %d x %d keys, %d candidates after pruning", p.H, slots, p.N1, p.N2, countStairs(k1, k2, slots))
	p.k.Grid = [3]Expr{p.Tokens, N(1), N(1)}
	all := p.H * slots
	es := p.DType.Size()
	p.k.Cost = Cost{
		FLOPs: p.Tokens.MulN(2 * all * p.Dv),
		Bytes: p.Tokens.MulN(4*p.H*(p.N1+p.N2) + all*p.Dv*es + p.Dv*es),
	}
	if p.Densify {
		p.k.Cost = Cost{Bytes: p.Tokens.MulN(4*p.H*(p.N1+p.N2) + p.N1*p.N2*es)}
	}
	p.k.Limits = Limits{Registers: 168}
	s1, s2 := p.buffer("scores1", tensor.F32, Read), p.buffer("scores2", tensor.F32, Read)
	var values, b2, y, weights asm.U64
	if p.Densify {
		weights = p.buffer("weights", p.DType, Write)
	} else {
		values = p.buffer("values", p.DType, Read)
		if p.B2 {
			b2 = p.buffer("b2", p.DType, Read)
		}
		y = p.buffer("y", p.DType, Write)
	}
	token := p.BlockX()
	warps := rowThreads / asm.WarpSize
	smem := p.DynamicShared()
	half := (k1 + k2) * 8
	p.index = smem.AddI(warps * half)
	p.weight = p.index.AddI(all * 4)
	rowAt := p.weight.AddI(all * 4)
	p.k.DynamicShared = warps*half + all*8
	mine := smem.Add(p.Warp().MulI(half))
	p.half = [2]asm.U32{mine, mine.AddI(k1 * 8)}

	p.For("head", p.Warp(), p.Const(p.H), warps, func(h asm.U32) {
		p.Comment("the best keys of each table, in order")
		for t, n := range []int{p.N1, p.N2} {
			row := s1
			if t == 1 {
				row = s2
			}
			p.bestKeys(row.AtMul(token.MadI(p.H, h), p.Const(n), 4), n, [2]int{k1, k2}[t], p.half[t])
		}
		p.SyncWarp()
		p.bestSums(h, k1, k2, slots)
		p.SyncWarp()
	})
	p.Barrier()
	p.weigh(slots)
	p.Barrier()
	if p.Densify {
		p.spread(rowAt, weights.AtMul(token, p.Const(p.N1*p.N2), es), slots)
		return
	}
	p.Comment("y = sum of weight * value, in slot order")
	p.For("col", p.Tid(), p.Const(p.Dv), rowThreads, func(col asm.U32) {
		acc := p.ConstF(0).Var("acc")
		if p.B2 {
			acc.Set(loadF(b2.At(col, es), p.DType, 0))
		}
		p.batches(p.Const(0), all, 1, gatherBatch, func(is []asm.U32) {
			v := make([]asm.F32, len(is))
			for u, i := range is {
				v[u] = loadF(values.AtMul(p.index.Add(i.MulI(4)).LdsU32(0), p.Const(p.Dv), es).At(col, es), p.DType, 0)
			}
			for u, i := range is {
				acc.FmaTo(p.weight.Add(i.MulI(4)).LdsF32(0), v[u])
			}
		})
		storeF(p.Func, y.AtMul(token, p.Const(p.Dv), es).At(col, es), p.DType, 0, acc)
	})
}

// bestKeys writes the k best of n scores in order, as {index, score}.
func (p *pkmKernel) bestKeys(row asm.U64, n, k int, to asm.U32) {
	var keys, ids []asm.U32
	for first := 0; first < n; first += asm.WarpSize {
		id, key := p.Lane().AddI(first), p.Const(0).Var("")
		p.If(id.LtI(n), func() { key.Set(rankKey(row.At(id, 4).LdF32(0))) })
		keys, ids = append(keys, key), append(ids, id)
	}
	p.best(keys, ids, k, func(round, id, key asm.U32) {
		p.If(p.Lane().EqI(0), func() {
			at := to.Add(round.MulI(8))
			at.StsU32(0, id)
			at.StsF32(4, rankValue(key))
		})
	})
}

// countStairs is the number of pairs (a, b) with (a+1)(b+1) <= n: others have n pairs at least as good.
func countStairs(k1, k2, n int) int {
	c := 0
	for a := range k1 {
		c += min(k2, n/(a+1))
	}
	return c
}

// bestSums writes a head's best sums. Candidates are laid over the lanes so that few are empty: for the
// best rows of the first table the lanes run along the second, for the rest the other way round.
func (p *pkmKernel) bestSums(h asm.U32, k1, k2, slots int) {
	var keys, ids []asm.U32
	lane := p.Lane()
	candidate := func(a, b asm.U32) {
		key, id := p.Const(0).Var(""), p.Const(-2).Var("")
		p.If(a.LtI(k1).And(b.LtI(k2)).And(a.AddI(1).Mul(b.AddI(1)).Le(p.Const(slots))), func() {
			x, y := p.half[0].Add(a.MulI(8)), p.half[1].Add(b.MulI(8))
			key.Set(rankKey(x.LdsF32(4).Add(y.LdsF32(4))))
			id.Set(x.LdsU32(0).MadI(p.N2, y.LdsU32(0)))
		})
		keys, ids = append(keys, key), append(ids, id)
	}
	// rows 0..turn-1 along b, the columns of the rest along a
	cost := func(turn int) int {
		n := 0
		for a := range min(turn, k1) {
			n += (min(k2, slots/(a+1)) + 31) / 32
		}
		for b := range k2 {
			if rest := min(k1, slots/(b+1)) - turn; rest > 0 {
				n += (rest + 31) / 32
			}
		}
		return n
	}
	turn := 0
	for t := range k1 + 1 {
		if cost(t) < cost(turn) {
			turn = t
		}
	}
	for a := range min(turn, k1) {
		for first := 0; first < min(k2, slots/(a+1)); first += asm.WarpSize {
			candidate(p.Const(a), lane.AddI(first))
		}
	}
	for b := range k2 {
		for first := turn; first < min(k1, slots/(b+1)); first += asm.WarpSize {
			candidate(lane.AddI(first), p.Const(b))
		}
	}
	p.best(keys, ids, slots, func(round, id, key asm.U32) {
		p.If(lane.EqI(0), func() {
			at := h.MadI(slots, round).MulI(4)
			p.index.Add(at).StsU32(0, id)
			p.weight.Add(at).StsF32(0, rankValue(key))
		})
	})
}

// weigh turns scores into weights.
func (p *pkmKernel) weigh(slots int) {
	all := p.H * slots
	if !p.Softmax && !p.SoftmaxHead {
		p.For("slot", p.Tid(), p.Const(all), rowThreads, func(i asm.U32) {
			at := p.weight.Add(i.MulI(4))
			v := value{f: at.LdsF32(0)}
			if p.Weighting != "" {
				v = functions[p.Weighting].emit(p.Func, []value{v}, nil)
			}
			at.StsF32(0, v.f)
		})
		return
	}
	groups, n := 1, all
	if p.SoftmaxHead {
		groups, n = p.H, slots
	}
	p.For("group", p.Warp(), p.Const(groups), rowThreads/asm.WarpSize, func(g asm.U32) {
		base := p.weight.Add(g.MulI(n * 4))
		top, sum := p.ConstF(lowest).Var("top"), p.ConstF(0).Var("sum")
		p.For("i", p.Lane(), p.Const(n), asm.WarpSize, func(i asm.U32) { top.MaxTo(base.Add(i.MulI(4)).LdsF32(0)) })
		most := top.WarpMax(asm.WarpSize)
		p.For("i", p.Lane(), p.Const(n), asm.WarpSize, func(i asm.U32) {
			sum.AddTo(expF(base.Add(i.MulI(4)).LdsF32(0).Sub(most), p.Func))
		})
		scale := p.ConstF(1).Div(sum.WarpSum(asm.WarpSize))
		p.For("i", p.Lane(), p.Const(n), asm.WarpSize, func(i asm.U32) {
			at := base.Add(i.MulI(4))
			at.StsF32(0, expF(at.LdsF32(0).Sub(most), p.Func).Mul(scale))
		})
	})
}

// spread adds the weights into a row over all values, head by head, and stores it.
func (p *pkmKernel) spread(row asm.U32, to asm.U64, slots int) {
	n := p.N1 * p.N2
	p.k.DynamicShared += n * 4
	p.For("i", p.Tid(), p.Const(n), rowThreads, func(i asm.U32) { row.Add(i.MulI(4)).StsF32(0, p.ConstF(0)) })
	p.Barrier()
	p.Comment("a head's values are distinct; heads take turns")
	p.For("head", p.Const(0), p.Const(p.H), 1, func(h asm.U32) {
		p.For("slot", p.Tid(), p.Const(slots), rowThreads, func(i asm.U32) {
			at := h.MadI(slots, i).MulI(4)
			cell := row.Add(p.index.Add(at).LdsU32(0).MulI(4))
			cell.StsF32(0, cell.LdsF32(0).Add(p.weight.Add(at).LdsF32(0)))
		})
		p.Barrier()
	})
	p.For("i", p.Tid(), p.Const(n), rowThreads, func(i asm.U32) {
		storeF(p.Func, to.At(i, p.DType.Size()), p.DType, 0, row.Add(i.MulI(4)).LdsF32(0))
	})
}
