package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// MLP is a dense two-layer feedforward, y = act(x w1 + b1) w2 + b2 [+ residual], or its relatives: Gated
// multiplies the hidden units by x up + up_bias; TopK keeps the largest units of each token.
// Weights are packed from w1 [D, F] (and up [D, F]) and w2 [F, Dv].
type MLP struct {
	Tokens             Expr
	D, F, Dv           int
	DType              dtype
	Math               Math
	Activation         Fn // "" is the identity
	Bias1, Bias2       bool
	Residual           bool
	Gated, UpBias      bool
	TopK               int // 0 keeps all
	UseNorm, Magnitude bool
	Tile1, Tile2       Tile
	Fused              bool // one launch; see Planner.MLP for when that pays
	// Norm normalises the finished rows: the formula's value is sum, and y is its norm.
	Norm *RowNorm
}

// Op writes the launches: fused, one; else one per product, and the selection of top-K between them.
func (s MLP) Op() (*Op, error) {
	if s.D < 1 || s.F < 1 || s.Dv < 1 {
		return nil, fmt.Errorf("ptx: mlp of D=%d, F=%d, Dv=%d", s.D, s.F, s.Dv)
	}
	if s.Fused {
		if s.TopK > 0 {
			return nil, fmt.Errorf("ptx: a top-K activation needs all hidden units of a token before the second product: it cannot be fused")
		}
		return s.fused()
	}
	op := &Op{Name: "mlp"}
	add := func(name string, role Role, dt dtype, elems Expr, p *Pack) {
		op.Buffers = append(op.Buffers, Buffer{name, role, dt, elems, p})
	}
	hidden := s.Tokens.MulN(s.F)
	add("x", Input, s.DType, s.Tokens.MulN(s.D), nil)
	add("hidden", Scratch, s.DType, hidden, nil)
	// first layer
	product := func(name string, k, n int, a, w, c string, tile Tile, bias, upBias string, gated bool, act Fn, residual string, norm *RowNorm) error {
		var p Program
		v, up := p.In(tensor.F32), 0
		if gated {
			up = p.In(tensor.F32)
		}
		g := Gemm{
			Name: name, M: s.Tokens, N: N(n), K: N(k), Weight: true, Math: s.Math, Tile: tile, Gated: gated,
			A: Matrix{DType: s.DType, Row: N(k), Col: N(1)}, B: Matrix{DType: s.DType, Row: N(n), Col: N(1)},
			C: Matrix{DType: s.DType, Row: N(n), Col: N(1)},
		}
		args := []string{a, w}
		read := func(name string, row Expr) int {
			g.Extra = append(g.Extra, Matrix{DType: s.DType, Row: row, Col: N(1)})
			args = append(args, name)
			return p.In(s.DType)
		}
		var biasV, upBiasV, residualV int
		if bias != "" {
			biasV = read(bias, N(0))
			add(bias, Weight, s.DType, N(n), nil)
		}
		if upBias != "" {
			upBiasV = read(upBias, N(0))
			add(upBias, Weight, s.DType, N(n), nil)
		}
		if residual != "" {
			residualV = read(residual, N(n))
		}
		if bias != "" {
			v = p.Do("add", v, biasV)
		}
		if act != "" {
			v = p.Do(act, v)
		}
		if upBias != "" {
			up = p.Do("add", up, upBiasV)
		}
		if gated {
			v = p.Do("mul", v, up)
		}
		if residual != "" {
			v = p.Do("add", v, residualV)
		}
		p.Out(v, s.DType)
		g.Epilogue, g.Norm = p, norm
		pack, err := g.Pack()
		if err != nil {
			return err
		}
		add(w, Weight, s.DType, N(pack.Elems), pack)
		kern, err := g.Kernel()
		if err != nil {
			return err
		}
		if norm == nil {
			op.Launches = append(op.Launches, Launch{kern, append(args, c)})
			return nil
		}
		args = append(args, "gamma")
		if norm.Beta {
			args = append(args, "beta")
		}
		args = append(args, "sum", c)
		if n, ok := kern.Counters(); ok {
			add("arrivals", State, tensor.I32, n, nil)
			args = append(args, "arrivals")
		}
		op.Launches = append(op.Launches, Launch{kern, args})
		return nil
	}
	optional := func(have bool, name string) string {
		if have {
			return name
		}
		return ""
	}
	if err := product("mlp_in", s.D, s.F, "x", "w1", "hidden", s.Tile1, optional(s.Bias1, "b1"), optional(s.UpBias, "up_bias"), s.Gated, s.Activation, "", nil); err != nil {
		return nil, err
	}
	if s.TopK > 0 && s.TopK < s.F {
		k, err := TopKMask{Rows: s.Tokens, F: s.F, K: s.TopK, DType: s.DType, Norm: s.UseNorm, Magnitude: s.Magnitude}.Kernel()
		if err != nil {
			return nil, err
		}
		l := Launch{k, []string{"hidden"}}
		if s.UseNorm {
			add("norm", Weight, tensor.F32, N(s.F), nil)
			l.Args = append(l.Args, "norm")
		}
		op.Launches = append(op.Launches, l)
	}
	residual := optional(s.Residual, "residual")
	if s.Residual {
		add("residual", Input, s.DType, s.Tokens.MulN(s.Dv), nil)
	}
	op.Buffers = append(op.Buffers, s.Norm.buffers(s.Tokens, s.Dv, s.DType)...)
	add("y", Output, s.DType, s.Tokens.MulN(s.Dv), nil)
	if err := product("mlp_out", s.F, s.Dv, "hidden", "w2", "y", s.Tile2, optional(s.Bias2, "b2"), "", false, "", residual, s.Norm); err != nil {
		return nil, err
	}
	return op, nil
}

// fused is the expert kernel with one expert that every token has: tiles are runs of tokens, gates are 1.
func (s MLP) fused() (*Op, error) {
	m := MoE{
		Tokens: s.Tokens, D: s.D, E: 1, G: s.F, Dv: s.Dv, DType: s.DType, Math: s.Math, K: 1, Gate: GateOne,
		Activation: s.Activation, Gated: s.Gated, Bias: s.Bias1, UpBias: s.UpBias, OBias: s.Bias2, Base: s.Residual,
		Norm: s.Norm, dense: true,
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	k, err := m.experts()
	if err != nil {
		return nil, err
	}
	names := map[string]string{"bias": "b1", "o_bias": "b2", "base": "residual"}
	op := &Op{Name: "mlp_fused"}
	l := Launch{Kernel: k}
	for _, p := range k.Params {
		if p.Scalar {
			continue
		}
		name := p.Name
		if n, ok := names[name]; ok {
			name = n
		}
		b := Buffer{Name: name, DType: p.DType}
		switch p.Name {
		case "x":
			b.Role, b.Elems = Input, s.Tokens.MulN(s.D)
		case "w1":
			b.Role, b.Pack = Weight, m.packW1()
		case "w2":
			b.Role, b.Pack = Weight, m.packW2()
		case "bias", "up_bias":
			b.Role, b.Elems = Weight, N(s.F)
		case "o_bias":
			b.Role, b.Elems = Weight, N(s.Dv)
		case "base":
			b.Role, b.Elems = Input, s.Tokens.MulN(s.Dv)
		case "slots":
			b.Role, b.Elems = Scratch, s.Tokens.MulN(m.chunks()*s.Dv)
		case "arrivals":
			b.Role, b.Elems = State, s.Tokens
		case "y":
			b.Role, b.Elems = Output, s.Tokens.MulN(s.Dv)
		default: // of the norm
			for _, n := range s.Norm.buffers(s.Tokens, s.Dv, s.DType) {
				if n.Name == p.Name {
					b = n
				}
			}
		}
		if b.Pack != nil {
			b.Elems = N(b.Pack.Elems)
		}
		op.Buffers = append(op.Buffers, b)
		l.Args = append(l.Args, name)
	}
	op.Launches = []Launch{l}
	return op, nil
}
