package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Recurrent is an RNN, GRU or LSTM layer over x [Seq, Batch, In], as ONNX defines them: one product projects all
// inputs of all steps and directions; then one launch walks the steps, a block per batch row and direction with
// the hidden state in shared memory. Gates are in ONNX's order (LSTM i,o,f,c; GRU z,r,h).
//
// Buffers: x, w (packed from W [Dirs, gates*Hidden, In]), bias [Dirs*gates*Hidden] (see FoldBias), r (packed from
// R [Dirs, gates*Hidden, Hidden]), [r_bias [Dirs, Hidden] with LinearBeforeReset], [peep [Dirs, 3*Hidden]],
// [init_h, init_c [Dirs, Batch, Hidden]]; outputs y [Seq, Dirs, Batch, Hidden], y_h, and y_c [Dirs, Batch, Hidden].
type Recurrent struct {
	Kind              string // "RNN", "GRU", "LSTM"
	Seq, Batch        Expr
	In, Hidden        int
	Reverse           []bool // per direction
	Acts              []Fn   // RNN f; GRU f, g; LSTM f, g, h
	Math              Math   // of the projection
	Clip              float32
	LinearBeforeReset bool // GRU
	CoupledForget     bool // LSTM
	Peep              bool // LSTM
	InitH, InitC      bool
}

func (s *Recurrent) gates() int { return map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}[s.Kind] }

// FoldBias adds the two halves of B [dirs, 2*gates*hidden] where that is the same. What a GRU multiplies with its
// reset gate after the product stays apart, in rBias.
func (s Recurrent) FoldBias(b []float32) (bias, rBias []float32) {
	n := s.gates() * s.Hidden
	for d := range s.Reverse {
		for j := range n {
			w, r := b[d*2*n+j], b[d*2*n+n+j]
			if s.LinearBeforeReset && j >= 2*s.Hidden {
				bias, rBias = append(bias, w), append(rBias, r)
			} else {
				bias = append(bias, w+r)
			}
		}
	}
	return bias, rBias
}

// Op writes the two launches.
func (s Recurrent) Op() (*Op, error) {
	want := map[string]int{"RNN": 1, "GRU": 2, "LSTM": 3}[s.Kind]
	if want == 0 || len(s.Acts) != want || s.Hidden < 1 || s.In < 1 || len(s.Reverse) < 1 {
		return nil, fmt.Errorf("ptx: recurrent layer %q of %d units with %d activations", s.Kind, s.Hidden, len(s.Acts))
	}
	for _, f := range s.Acts {
		if d, ok := functions[f]; !ok || d.args != 1 || d.consts != 0 {
			return nil, fmt.Errorf("ptx: recurrent layer: activation %q", f)
		}
	}
	dirs, n := len(s.Reverse), s.gates()*s.Hidden
	cols := dirs * n
	op := &Op{Name: "recurrent"}
	add := func(name string, role Role, elems Expr, p *Pack) {
		op.Buffers = append(op.Buffers, Buffer{name, role, tensor.F32, elems, p})
	}
	rows := s.Seq.Mul(s.Batch)
	var p Program
	acc, bias := p.In(tensor.F32), p.In(tensor.F32)
	p.Out(p.Do("add", acc, bias), tensor.F32)
	g := Gemm{
		Name: "recurrent_in", M: rows, N: N(cols), K: N(s.In), Weight: true, Math: s.Math, Epilogue: p,
		A: Matrix{DType: tensor.F32, Row: N(s.In), Col: N(1)}, B: Matrix{DType: tensor.F32, Row: N(1), Col: N(s.In)},
		C: Matrix{DType: tensor.F32, Row: N(cols), Col: N(1)}, Extra: []Matrix{{DType: tensor.F32, Row: N(0), Col: N(1)}},
	}
	pack, err := g.Pack()
	if err != nil {
		return nil, err
	}
	project, err := g.Kernel()
	if err != nil {
		return nil, err
	}
	r := &Pack{
		Layout: fmt.Sprintf("%d x %dx%d, transposed", dirs, s.Hidden, n), Elems: dirs * n * s.Hidden, DType: tensor.F32, source: dirs * n * s.Hidden,
	}
	r.order = func(i int) int {
		d, k, col := i/(n*s.Hidden), i/n%s.Hidden, i%n
		return (d*n+col)*s.Hidden + k
	}
	state := s.Batch.MulN(dirs * s.Hidden)
	add("x", Input, rows.MulN(s.In), nil)
	add("w", Weight, N(pack.Elems), pack)
	add("bias", Weight, N(cols), nil)
	add("projected", Scratch, rows.MulN(cols), nil)
	add("r", Weight, N(r.Elems), r)
	if s.LinearBeforeReset {
		add("r_bias", Weight, N(dirs*s.Hidden), nil)
	}
	if s.Peep {
		add("peep", Weight, N(dirs*3*s.Hidden), nil)
	}
	if s.InitH {
		add("init_h", Input, state, nil)
	}
	if s.InitC {
		add("init_c", Input, state, nil)
	}
	add("y", Output, s.Seq.Mul(state), nil)
	add("y_h", Output, state, nil)
	if s.Kind == "LSTM" {
		add("y_c", Output, state, nil)
	}
	steps := s.steps()
	l := Launch{Kernel: steps}
	for _, q := range steps.Params {
		if !q.Scalar {
			l.Args = append(l.Args, q.Name)
		}
	}
	op.Launches = []Launch{{project, []string{"x", "w", "bias", "projected"}}, l}
	return op, nil
}

type stepKernel struct {
	*builder
	*Recurrent
	r, rBias, peep, projected asm.U64
	dir                       asm.U32
	h, next, cell, z          asm.U32 // shared vectors
}

// steps writes the kernel that walks the sequence.
func (s *Recurrent) steps() *Kernel {
	threads := min(roundUp(s.Hidden, asm.WarpSize), 512)
	b := newKernel("recurrent_steps", threads)
	b.doc("%s, %d units, %d directions: one block per batch row and direction", s.Kind, s.Hidden, len(s.Reverse))
	dirs, n := len(s.Reverse), s.gates()*s.Hidden
	b.k.Grid = [3]Expr{s.Batch, N(dirs), N(1)}
	work := s.Seq.Mul(s.Batch).MulN(dirs)
	b.k.Cost = Cost{FLOPs: work.MulN(2 * n * s.Hidden), Bytes: work.MulN(4 * (n + s.Hidden)).AddN(4 * dirs * n * s.Hidden)}
	b.k.Limits = Limits{Registers: 128}
	k := &stepKernel{builder: b, Recurrent: s}
	read := func(have bool, name string) asm.U64 {
		if have {
			return b.buffer(name, tensor.F32, Read)
		}
		return asm.U64{}
	}
	k.projected, k.r = read(true, "projected"), read(true, "r")
	k.rBias, k.peep = read(s.LinearBeforeReset, "r_bias"), read(s.Peep, "peep")
	initH, initC := read(s.InitH, "init_h"), read(s.InitC, "init_c")
	y, yh := b.buffer("y", tensor.F32, Write), b.buffer("y_h", tensor.F32, Write)
	var yc asm.U64
	if s.Kind == "LSTM" {
		yc = b.buffer("y_c", tensor.F32, Write)
	}
	batch, seq := b.dim(s.Batch), b.dim(s.Seq)
	row := b.BlockX()
	k.dir = b.BlockY()
	vec := s.Hidden * 4
	smem := b.DynamicShared()
	b.k.DynamicShared = roundUp(4*vec, 16)
	k.cell, k.z = smem.AddI(2*vec), smem.AddI(3*vec)
	k.r = k.r.At(k.dir.MulI(n*s.Hidden), 4)
	stateAt := k.dir.Mad(batch, row).MulI(s.Hidden)
	b.Comment("initial state")
	k.units(func(i asm.U32) {
		start := func(p asm.U64, have bool) asm.F32 {
			if !have {
				return b.ConstF(0)
			}
			return p.At(stateAt.Add(i), 4).LdF32(0)
		}
		smem.Add(i.MulI(4)).StsF32(0, start(initH, s.InitH))
		k.cell.Add(i.MulI(4)).StsF32(0, start(initC, s.InitC))
	})
	k.h, k.next = smem.Var("h"), smem.AddI(vec).Var("h_next")
	reverse := b.Const(0)
	for d, r := range s.Reverse {
		if r {
			reverse = k.dir.EqI(d).SelU32(b.Const(1), reverse)
		}
	}
	b.Barrier()
	b.For("t", b.Const(0), seq, 1, func(t asm.U32) {
		time := reverse.NeI(0).SelU32(seq.AddI(-1).Sub(t), t)
		in := k.projected.AtMul(time.Mad(batch, row), b.Const(dirs*n), 4).At(k.dir.MulI(n), 4)
		out := y.AtMul(time.MadI(dirs, k.dir).Mad(batch, row), b.Const(s.Hidden), 4)
		if s.Kind == "GRU" {
			k.gru(in)
		} else {
			k.units(func(i asm.U32) { k.unit(in, i) })
		}
		b.Barrier()
		k.units(func(i asm.U32) { out.At(i, 4).StF32(0, k.next.Add(i.MulI(4)).LdsF32(0)) })
		swap := k.h.Var("")
		k.h.Set(k.next)
		k.next.Set(swap)
	})
	b.Comment("final state")
	k.units(func(i asm.U32) {
		yh.At(stateAt.Add(i), 4).StF32(0, k.h.Add(i.MulI(4)).LdsF32(0))
		if s.Kind == "LSTM" {
			yc.At(stateAt.Add(i), 4).StF32(0, k.cell.Add(i.MulI(4)).LdsF32(0))
		}
	})
	return b.done()
}

// units runs body for the hidden units of this thread.
func (k *stepKernel) units(body func(i asm.U32)) {
	k.For("unit", k.Tid(), k.Const(k.Hidden), k.Threads(), body)
}

// recur multiplies the vector at v with the recurrent weights of hidden unit i for gates from..to.
func (k *stepKernel) recur(v, i asm.U32, from, to int) []asm.F32 {
	n := k.gates() * k.Hidden
	acc := make([]asm.F32, to-from)
	for g := range acc {
		acc[g] = k.ConstF(0).Var("")
	}
	column := k.r.At(i, 4)
	k.For("k", k.Const(0), k.Const(k.Hidden), 1, func(j asm.U32) {
		h := v.Add(j.MulI(4)).LdsF32(0)
		row := column.AtMul(j, k.Const(n), 4)
		for g := range acc {
			acc[g].FmaTo(h, row.LdF32((from+g)*k.Hidden*4))
		}
	})
	return acc
}

func (k *stepKernel) act(n int, x asm.F32) asm.F32 {
	if k.Clip > 0 {
		x = clampF(k.Func, x, -k.Clip, k.Clip)
	}
	return functions[k.Acts[n]].emit(k.Func, []value{{f: x}}, nil).f
}

// unit is one step of one unit of an RNN or LSTM.
func (k *stepKernel) unit(in asm.U64, i asm.U32) {
	at := func(g int) asm.F32 { return in.At(i, 4).LdF32(g * k.Hidden * 4) }
	acc := k.recur(k.h, i, 0, k.gates())
	next := k.next.Add(i.MulI(4))
	if k.Kind == "RNN" {
		next.StsF32(0, k.act(0, at(0).Add(acc[0])))
		return
	}
	cellAt := k.cell.Add(i.MulI(4))
	cell := cellAt.LdsF32(0)
	gate := func(g, p int, c asm.F32) asm.F32 {
		x := at(g).Add(acc[g])
		if k.Peep {
			x = k.peep.At(k.dir.MadI(3*k.Hidden, i), 4).LdF32(p*k.Hidden*4).Fma(c, x)
		}
		return k.act(0, x)
	}
	input := gate(0, 0, cell)
	forget := k.ConstF(1).Sub(input)
	if !k.CoupledForget {
		forget = gate(2, 2, cell)
	}
	cell = forget.Mul(cell).Add(input.Mul(k.act(1, at(3).Add(acc[3]))))
	cellAt.StsF32(0, cell)
	output := gate(1, 1, cell)
	// The cell is not clipped on its way out.
	h := functions[k.Acts[2]].emit(k.Func, []value{{f: cell}}, nil).f
	next.StsF32(0, output.Mul(h))
}

// gru is one step of all units: the candidate of one needs the reset gates of all.
func (k *stepKernel) gru(in asm.U64) {
	at := func(i asm.U32, g int) asm.F32 { return in.At(i, 4).LdF32(g * k.Hidden * 4) }
	if k.LinearBeforeReset {
		k.units(func(i asm.U32) {
			acc := k.recur(k.h, i, 0, 3)
			z, r := k.act(0, at(i, 0).Add(acc[0])), k.act(0, at(i, 1).Add(acc[1]))
			inner := acc[2].Add(k.rBias.At(k.dir.MadI(k.Hidden, i), 4).LdF32(0))
			k.blend(i, z, k.act(1, r.Fma(inner, at(i, 2))))
		})
		return
	}
	reset := k.cell // a GRU has no cell: its place holds reset gate times state
	k.units(func(i asm.U32) {
		acc := k.recur(k.h, i, 0, 2)
		k.z.Add(i.MulI(4)).StsF32(0, k.act(0, at(i, 0).Add(acc[0])))
		r := k.act(0, at(i, 1).Add(acc[1]))
		reset.Add(i.MulI(4)).StsF32(0, r.Mul(k.h.Add(i.MulI(4)).LdsF32(0)))
	})
	k.Barrier()
	k.units(func(i asm.U32) {
		acc := k.recur(reset, i, 2, 3)
		k.blend(i, k.z.Add(i.MulI(4)).LdsF32(0), k.act(1, at(i, 2).Add(acc[0])))
	})
}

// blend is h' = (1-z) candidate + z h.
func (k *stepKernel) blend(i asm.U32, z, candidate asm.F32) {
	h := k.h.Add(i.MulI(4)).LdsF32(0)
	k.next.Add(i.MulI(4)).StsF32(0, k.ConstF(1).Sub(z).Mul(candidate).Add(z.Mul(h)))
}
