package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

// MSMoEAttrs are the attributes of com.microsoft::MoE, onnxruntime's mixture of experts:
//
//	p = softmax(router_probs); S the k largest; g = p[S], renormalised when asked for
//	y = sum over S of g (act(x fc1') fc2' + fc2_bias), weights [E, out, in]
//
// Gated experts have their second layer in fc3, or within fc1: swiglu_fusion 1 takes
// turns row by row (gate first), 2 puts all gate rows first. Its gelu is the tanh form.
type MSMoEAttrs struct {
	K                int64    `attr:"k"`
	ActivationType   string   `attr:"activation_type"`
	Normalize        bool     `attr:"normalize_routing_weights"`
	SparseMixer      bool     `attr:"use_sparse_mixer"`
	Alpha            float32  `attr:"activation_alpha"`
	Beta             float32  `attr:"activation_beta"`
	Fusion           int64    `attr:"swiglu_fusion"`
	Limit            *float32 `attr:"swiglu_limit"`
	LimitAfterSwiGLU bool     `attr:"swiglu_limit_after_activation"`
}

// Inputs of com.microsoft::MoE.
const (
	MSMoEInX      = iota // [tokens,D] or [batch,seq,D]
	MSMoEInRouter        // [tokens,E]
	MSMoEInFC1           // [E, G or 2G, D]
	MSMoEInBias1         // [E, G or 2G], optional
	MSMoEInFC2           // [E,D,G]
	MSMoEInBias2         // [E,D], optional
	MSMoEInFC3           // [E,G,D], optional
	MSMoEInBias3         // [E,G], optional
)

// msActivations are the activations by their names there.
func msActivations(name string) (Activation, bool) {
	switch name {
	case "relu", "silu", "identity", "relu2":
		return Activation(name), true
	case "gelu", "geglu":
		return ActGELUTanh, true
	case "swiglu":
		return ActSiLU, true
	}
	return "", false
}

func (a *MSMoEAttrs) check() error {
	_, ok := msActivations(a.ActivationType)
	switch {
	case !ok:
		return fmt.Errorf("%w: activation_type %q, want relu, gelu, silu, swiglu, geglu, relu2 or identity", ir.ErrAttr, a.ActivationType)
	case a.K < 1:
		return fmt.Errorf("%w: k is %d, want at least 1", ir.ErrAttr, a.K)
	case a.Fusion < 0 || a.Fusion > 2:
		return fmt.Errorf("%w: swiglu_fusion is %d, want 0, 1 or 2", ir.ErrAttr, a.Fusion)
	case a.ActivationType == "geglu" && a.Fusion == 0:
		return fmt.Errorf("%w: geglu needs swiglu_fusion 1 or 2", ir.ErrAttr)
	case a.SparseMixer:
		return fmt.Errorf("%w: use_sparse_mixer", ir.ErrUnsupportedOp)
	}
	return nil
}

// fused reports whether fc1 holds two layers.
func (a *MSMoEAttrs) fused() bool {
	return a.Fusion != 0 && (a.ActivationType == "swiglu" || a.ActivationType == "geglu")
}

// glu is what becomes of the gate g and the linear part l of a unit.
func (a *MSMoEAttrs) glu(g, l float64) float64 {
	if a.ActivationType != "swiglu" {
		act, _ := msActivations(a.ActivationType)
		return act.apply(g) * l
	}
	limit := math.Inf(1)
	if a.Limit != nil {
		limit = decimal(*a.Limit)
	}
	l = math.Max(math.Min(l, limit), -limit) + decimal(a.Beta)
	if a.LimitAfterSwiGLU {
		return math.Min(g*sigmoidOf(decimal(a.Alpha)*g), limit) * l
	}
	g = math.Min(g, limit)
	return g * sigmoidOf(decimal(a.Alpha)*g) * l
}

func msMoEOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMicrosoft, Name: "MoE", Since: 1, Doc: "onnxruntime's mixture of experts.",
		Attrs: func() any { return &MSMoEAttrs{K: 1, ActivationType: "relu", Alpha: 1} },
		MinIn: 3, MaxIn: 8, MinOut: 1, MaxOut: 1,
		Infer: inferMSMoE, Eval: evalMSMoE, Cost: costMSMoE,
	}
}

func inferMSMoE(c *ir.InferCtx) error {
	a := c.Attrs.(*MSMoEAttrs)
	s := newShapes(c)
	if err := a.check(); err != nil {
		return err
	}
	fc1 := "G"
	if a.fused() {
		fc1 = "2G"
	}
	s.param(MSMoEInRouter, "router_probs", "tokens", "E")
	s.param(MSMoEInFC1, "fc1_experts_weights", "E", fc1, "D")
	s.param(MSMoEInBias1, "fc1_experts_bias", "E", fc1)
	s.param(MSMoEInFC2, "fc2_experts_weights", "E", "D", "G")
	s.param(MSMoEInBias2, "fc2_experts_bias", "E", "D")
	s.param(MSMoEInFC3, "fc3_experts_weights", "E", "G", "D")
	s.param(MSMoEInBias3, "fc3_experts_bias", "E", "G")
	return s.msMoEOut(a, fc1, c.Has(MSMoEInFC3))
}

// msMoEOut finishes the inference of MoE and QMoE.
func (s *shapes) msMoEOut(a *MSMoEAttrs, fc1 string, hasFC3 bool) error {
	if a.fused() {
		s.bind("fc1_experts_weights", fc1, ir.MulDim(ir.Known(2), s.dim("G")))
		if hasFC3 {
			s.fail(ir.ErrGraph, "fc3_experts_weights are given although swiglu_fusion puts them into fc1")
		}
	} else if a.ActivationType == "swiglu" && !hasFC3 {
		s.fail(ir.ErrGraph, "swiglu without fusion needs fc3_experts_weights")
	}
	tokens := ir.Known(1)
	for _, d := range s.lead {
		tokens = ir.MulDim(tokens, d)
	}
	if s.c.In(0).Ranked {
		s.bind("router_probs", "tokens", tokens)
	}
	if e := s.dim("E"); e.IsKnown() && e.Size == 0 {
		s.fail(ir.ErrShape, "no experts")
	}
	s.out(0, s.dt, s.dim("D"))
	return s.err
}

func evalMSMoE(c *ir.EvalCtx) error {
	if err := checkEval(c, inferMSMoE, MSMoEInX, MSMoEInRouter, MSMoEInFC1, MSMoEInFC2); err != nil {
		return err
	}
	v, err := vecsOf(c, MSMoEInX, MSMoEInRouter, MSMoEInFC1, MSMoEInBias1, MSMoEInFC2, MSMoEInBias2, MSMoEInFC3, MSMoEInBias3)
	if err != nil {
		return err
	}
	a, fc2 := c.Attrs.(*MSMoEAttrs), c.In(MSMoEInFC2).Shape()
	m := &msMoE{
		a: a, experts: fc2[0], d: fc2[1], g: fc2[2],
		x: v[0], router: v[1], fc1: v[2], b1: v[3], fc2: v[4], b2: v[5], fc3: v[6], b3: v[7],
		two: a.fused() || c.Has(MSMoEInFC3),
	}
	m.gates = func(p []float64, _ int, chosen []int) []float64 {
		g := make([]float64, len(chosen))
		softmaxed := slices.Clone(p)
		normalise(softmaxed)
		sum := 0.0
		for k, e := range chosen {
			g[k] = softmaxed[e]
			sum += g[k]
		}
		if a.Normalize {
			for k := range g {
				g[k] /= sum
			}
		}
		return g
	}
	return m.eval(c)
}

// msMoE evaluates MoE and QMoE on weights seen as numbers.
type msMoE struct {
	a                                    *MSMoEAttrs
	experts, d, g                        int
	x, router, fc1, b1, fc2, b2, fc3, b3 vec
	two                                  bool // gated experts
	gates                                func(router []float64, token int, chosen []int) []float64
}

func (m *msMoE) eval(c *ir.EvalCtx) error {
	x := c.In(0)
	y, err := c.Out(0, x.DType(), x.Shape()...)
	if err != nil {
		return err
	}
	act, _ := msActivations(m.a.ActivationType)
	in, logits, order := make([]float64, m.d), make([]float64, m.experts), make([]int, m.experts)
	h, sum := make([]float64, m.g), make([]float64, m.d)
	for t := range x.Len() / max(m.d, 1) {
		m.x.load(in, t*m.d)
		m.router.load(logits, t*m.experts)
		for e := range order {
			order[e] = e
		}
		slices.SortFunc(order, func(i, j int) int {
			if ranksBefore(logits[i], i, logits[j], j) {
				return -1
			}
			return 1
		})
		chosen := order[:min(int(min(m.a.K, 1<<31)), m.experts)]
		clear(sum)
		for k, gate := range m.gates(logits, t, chosen) {
			e := chosen[k]
			for j := range h {
				h[j] = m.unit(in, e, j, act)
			}
			for i := range sum {
				sum[i] += gate * (m.fc2.dot(h, (e*m.d+i)*m.g) + m.b2.or0(e*m.d+i))
			}
		}
		storeRow(y, t*m.d, sum)
	}
	return nil
}

// unit is hidden unit j of expert e.
func (m *msMoE) unit(in []float64, e, j int, act Activation) float64 {
	row := func(w, b vec, rows, i int) float64 {
		return w.dot(in, (e*rows+i)*m.d) + b.or0(e*rows+i)
	}
	switch {
	case !m.two:
		return act.apply(row(m.fc1, m.b1, m.g, j))
	case !m.a.fused():
		return m.a.glu(row(m.fc1, m.b1, m.g, j), row(m.fc3, m.b3, m.g, j))
	case m.a.Fusion == 1:
		return m.a.glu(row(m.fc1, m.b1, 2*m.g, 2*j), row(m.fc1, m.b1, 2*m.g, 2*j+1))
	}
	return m.a.glu(row(m.fc1, m.b1, 2*m.g, j), row(m.fc1, m.b1, 2*m.g, m.g+j))
}

func costMSMoE(c *ir.CostCtx) ir.Cost {
	fc1, fc2 := c.Ins[MSMoEInFC1], c.Ins[MSMoEInFC2]
	n, e, d, g := rowsOf(c.Ins[0]), dimSize(fc2, 0), dimSize(fc2, 1), dimSize(fc2, 2)
	k := min(c.Attrs.(*MSMoEAttrs).K, e)
	first := dimSize(fc1, 1) + dimSize(typeAt(c.Ins, MSMoEInFC3), 1)
	cost := ir.Cost{FLOPs: n * k * (2*d*first + g + 2*g*d + 2*d), Bytes: bytesOf(c.Ins) + bytesOf(c.Outs)}
	if idle := e - min(e, n*k); idle > 0 {
		cost.Bytes -= idle * (first + g) * d * int64(fc1.DType.Size())
	}
	return cost
}
