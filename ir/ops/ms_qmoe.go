package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// MSQMoEAttrs are the attributes of com.microsoft::QMoE: MoE with weights of 2, 4 or 8
// bits, packed along the last axis, low bits first, that mean
//
//	w = (q - zero_point) scale        zero point 2^(bits-1) unless given
//
// with a scale per row, or per BlockSize elements of a row. Gates are a softmax over the
// chosen logits whatever Normalize says; given router_weights are used instead, and
// renormalised when asked for.
type MSQMoEAttrs struct {
	K                int64    `attr:"k"`
	ActivationType   string   `attr:"activation_type"`
	Normalize        bool     `attr:"normalize_routing_weights"`
	SparseMixer      bool     `attr:"use_sparse_mixer"`
	Alpha            float32  `attr:"activation_alpha"`
	Beta             float32  `attr:"activation_beta"`
	Fusion           int64    `attr:"swiglu_fusion"`
	Limit            *float32 `attr:"swiglu_limit"`
	LimitAfterSwiGLU bool     `attr:"swiglu_limit_after_activation"`

	Bits      int64  `attr:"expert_weight_bits"`
	Bits1     *int64 `attr:"fc1_expert_weight_bits"`
	Bits2     *int64 `attr:"fc2_expert_weight_bits"`
	Bits3     *int64 `attr:"fc3_expert_weight_bits"`
	BlockSize int64  `attr:"block_size"`
	QuantType string `attr:"quant_type"`
	// Prepacked weights are in an order private to an execution provider; -1 leaves the
	// choice to it, which is the plain order on the CPU.
	Prepacked     int64 `attr:"weights_prepacked"`
	AccuracyLevel int64 `attr:"accuracy_level"`
}

// Inputs of com.microsoft::QMoE.
const (
	msQMoEInX = iota
	msQMoEInRouter
	msQMoEInFC1
	msQMoEInScale1
	msQMoEInBias1
	msQMoEInFC2
	msQMoEInScale2
	msQMoEInBias2
	msQMoEInFC3
	msQMoEInScale3
	msQMoEInBias3
	msQMoEInZero1
	msQMoEInZero2
	msQMoEInZero3
	msQMoEInRouterWeights
)

// base are the attributes it shares with MoE.
func (a *MSQMoEAttrs) base() *MSMoEAttrs {
	return &MSMoEAttrs{
		K: a.K, ActivationType: a.ActivationType, Normalize: a.Normalize, SparseMixer: a.SparseMixer,
		Alpha: a.Alpha, Beta: a.Beta, Fusion: a.Fusion, Limit: a.Limit, LimitAfterSwiGLU: a.LimitAfterSwiGLU,
	}
}

// bits of the weights of fc1, fc2 and fc3.
func (a *MSQMoEAttrs) bits() [3]int {
	b := [3]int{int(a.Bits), int(a.Bits), int(a.Bits)}
	for i, o := range []*int64{a.Bits1, a.Bits2, a.Bits3} {
		if o != nil {
			b[i] = int(*o)
		}
	}
	return b
}

func (a *MSQMoEAttrs) check() error {
	if a.QuantType != "int" {
		return fmt.Errorf("%w: quant_type %q, only int", ir.ErrUnsupportedOp, a.QuantType)
	}
	if a.Prepacked == 1 {
		return fmt.Errorf("%w: weights_prepacked 1: their order is private to one execution provider", ir.ErrUnsupportedOp)
	}
	if a.BlockSize < 0 {
		return fmt.Errorf("%w: block_size is %d", ir.ErrAttr, a.BlockSize)
	}
	for _, b := range a.bits() {
		if b != 2 && b != 4 && b != 8 {
			return fmt.Errorf("%w: weights of %d bits, want 2, 4 or 8", ir.ErrUnsupportedOp, b)
		}
	}
	return nil
}

func msQMoEOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMicrosoft, Name: "QMoE", Since: 1, Doc: "onnxruntime's mixture of experts with quantised weights.",
		Attrs: func() any {
			return &MSQMoEAttrs{K: 1, ActivationType: "relu", Alpha: 1, Bits: 4, QuantType: "int", Prepacked: -1}
		},
		MinIn: 3, MaxIn: 15, MinOut: 1, MaxOut: 1,
		Infer: inferMSQMoE, Eval: evalMSQMoE, Cost: costMSQMoE,
	}
}

func inferMSQMoE(c *ir.InferCtx) error {
	a := c.Attrs.(*MSQMoEAttrs)
	if err := a.check(); err != nil {
		return err
	}
	base := a.base()
	if err := base.check(); err != nil {
		return err
	}
	s, fc1 := newShapes(c), "G"
	if base.fused() {
		fc1 = "2G"
	}
	s.param(msQMoEInRouter, "router_probs", "tokens", "E")
	s.param(msQMoEInRouterWeights, "router_weights", "tokens", "E")
	s.param(msQMoEInBias1, "fc1_experts_bias", "E", fc1)
	s.param(msQMoEInBias2, "fc2_experts_bias", "E", "D")
	s.param(msQMoEInBias3, "fc3_experts_bias", "E", "G")
	bits := a.bits()
	s.packed(msQMoEInFC1, "fc1_experts_weights", bits[0], fc1, "D")
	s.packed(msQMoEInFC2, "fc2_experts_weights", bits[1], "D", "G")
	s.packed(msQMoEInFC3, "fc3_experts_weights", bits[2], "G", "D")
	return s.msMoEOut(base, fc1, c.Has(msQMoEInFC3))
}

// packed checks quantised weights [E, rows, cols*bits/8].
func (s *shapes) packed(i int, what string, bits int, rows, cols string) {
	if !s.c.Has(i) {
		return
	}
	t := s.c.In(i)
	if t.DType != tensor.U8 {
		s.fail(ir.ErrType, "%s is %s, want u8", what, t.DType)
	}
	s.shape(t, what, []string{"E", rows, what})
	if t.Ranked && t.Rank() == 3 {
		s.bind(what, cols, ir.MulDim(t.Shape[2], ir.Known(int64(8/bits))))
	}
}

func evalMSQMoE(c *ir.EvalCtx) error {
	err := checkEval(c, inferMSQMoE, msQMoEInX, msQMoEInRouter, msQMoEInFC1, msQMoEInScale1, msQMoEInFC2, msQMoEInScale2)
	if err != nil {
		return err
	}
	a, bits := c.Attrs.(*MSQMoEAttrs), c.Attrs.(*MSQMoEAttrs).bits()
	v, err := vecsOf(c, msQMoEInX, msQMoEInRouter, msQMoEInBias1, msQMoEInBias2, msQMoEInBias3, msQMoEInRouterWeights)
	if err != nil {
		return err
	}
	x, fc2 := c.In(msQMoEInX), c.In(msQMoEInFC2).Shape()
	m := &msMoE{
		a: a.base(), experts: fc2[0], d: fc2[1], g: fc2[2] * 8 / bits[1],
		x: v[0], router: v[1], b1: v[2], b2: v[3], b3: v[4],
	}
	m.two = m.a.fused() || c.Has(msQMoEInFC3)
	for i, w := range []struct {
		out            *vec
		w, scale, zero int
	}{
		{&m.fc1, msQMoEInFC1, msQMoEInScale1, msQMoEInZero1},
		{&m.fc2, msQMoEInFC2, msQMoEInScale2, msQMoEInZero2},
		{&m.fc3, msQMoEInFC3, msQMoEInScale3, msQMoEInZero3},
	} {
		if w.out.d, err = a.dequantised(c.In(w.w), c.In(w.scale), c.In(w.zero), bits[i]); err != nil {
			return err
		}
	}
	given := c.Has(msQMoEInRouterWeights)
	m.gates = func(router []float64, t int, chosen []int) []float64 {
		g := make([]float64, len(chosen))
		for k, e := range chosen {
			if g[k] = router[e]; given {
				g[k] = v[5].or0(t*m.experts + e)
			}
		}
		if !given {
			normalise(g)
			return g
		}
		if a.Normalize {
			sum := 0.0
			for _, x := range g {
				sum += x
			}
			for k := range g {
				g[k] /= sum
			}
		}
		return g
	}
	if x.Rank() == 0 {
		return fmt.Errorf("%w: x is a scalar", ir.ErrShape)
	}
	return m.eval(c)
}

// dequantised are the numbers that packed weights stand for, row by row; nil of nil.
func (a *MSQMoEAttrs) dequantised(w, scale, zero *tensor.Tensor, bits int) ([]float64, error) {
	if w == nil {
		return nil, nil
	}
	if scale == nil {
		return nil, fmt.Errorf("%w: quantised weights without scales", ir.ErrGraph)
	}
	rows, cols := w.Shape()[0]*w.Shape()[1], w.Shape()[2]*8/bits
	block := cols
	if a.BlockSize > 0 {
		block = int(min(a.BlockSize, math.MaxInt32))
	}
	blocks := (cols + block - 1) / max(block, 1)
	scales, err := scale.Float64s()
	if err != nil {
		return nil, err
	}
	if len(scales) != rows*blocks {
		return nil, fmt.Errorf("%w: scales %s for weights of %d rows of %d blocks", ir.ErrShape, scale, rows, blocks)
	}
	// Zero points are packed along their last axis: the rows of an expert, or the blocks
	// of a row when there are blocks.
	perLine := w.Shape()[1]
	if a.BlockSize > 0 {
		perLine = blocks
	}
	line := (perLine*bits + 7) / 8
	if zero != nil && (zero.DType() != tensor.U8 || zero.Len() != rows*blocks/max(perLine, 1)*line) {
		return nil, fmt.Errorf("%w: zero points %s for weights of %d rows of %d blocks", ir.ErrShape, zero, rows, blocks)
	}
	code := func(b []uint8, i int) float64 { // element i of packed codes
		at := i * bits
		return float64(b[at/8] >> (at % 8) & (1<<bits - 1))
	}
	q, out := tensor.Data[uint8](w), make([]float64, rows*cols)
	for r := range rows {
		for i := range cols {
			s := r*blocks + i/block
			z := float64(int(1) << (bits - 1))
			if zero != nil {
				z = code(tensor.Data[uint8](zero)[s/perLine*line:], s%perLine)
			}
			out[r*cols+i] = (code(q[r*w.Shape()[2]:], i) - z) * scales[s]
		}
	}
	return out, nil
}

// costMSQMoE counts as costMSMoE does; weights in the bytes they are stored in.
func costMSQMoE(c *ir.CostCtx) ir.Cost {
	a := c.Attrs.(*MSQMoEAttrs)
	fc1, fc2 := c.Ins[msQMoEInFC1], c.Ins[msQMoEInFC2]
	n, e, d := rowsOf(c.Ins[0]), dimSize(fc2, 0), dimSize(fc2, 1)
	g := dimSize(fc2, 2) * 8 / int64(a.bits()[1])
	first := dimSize(fc1, 1) + dimSize(typeAt(c.Ins, msQMoEInFC3), 1)
	k := min(a.K, e)
	cost := ir.Cost{FLOPs: n * k * (2*d*first + g + 2*g*d + 2*d), Bytes: bytesOf(c.Ins) + bytesOf(c.Outs)}
	if idle := e - min(e, n*k); idle > 0 {
		for _, i := range []int{msQMoEInFC1, msQMoEInScale1, msQMoEInFC2, msQMoEInScale2, msQMoEInFC3, msQMoEInScale3} {
			cost.Bytes -= idle * bytesOfOne(typeAt(c.Ins, i)) / e
		}
	}
	return cost
}
