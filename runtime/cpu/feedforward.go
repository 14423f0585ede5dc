package cpu

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/ffn"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// vector is input i as floats, nil when absent.
func (c *Call) vector(i int) []float32 {
	if i >= len(c.Ins) || c.Ins[i] == nil {
		return nil
	}
	return tensor.Data[float32](c.Ins[i])
}

// expert is row e of a matrix [E, n], nil when the matrix is.
func expert(rows []float32, e, n int) []float32 {
	if rows == nil {
		return nil
	}
	return rows[e*n : (e+1)*n]
}

// has reports whether input i is present.
func (b *Binding) has(i int) bool { return i < len(b.Ins) && b.Ins[i].DType != tensor.Invalid }

// bindMLP is MLP and GatedMLP.
func bindMLP(b *Binding) (Bound, error) {
	l := &ffn.MLP{Kernels: b.Device.gemm}
	up, down, upBias, downBias, gate, gateBias := ops.MLPInW1, ops.MLPInW2, ops.MLPInB1, ops.MLPInB2, -1, -1
	var name ops.Activation
	switch a := b.Step.Attrs.(type) {
	case *ops.MLPAttrs:
		name = a.Activation
	case *ops.GatedMLPAttrs:
		name = a.Activation
		up, down, upBias, downBias = ops.GatedInWu, ops.GatedInWd, ops.GatedInBu, ops.GatedInBd
		gate, gateBias = ops.GatedInWg, ops.GatedInBg
	}
	var err error
	if l.Act, err = activation(name); err != nil {
		return Bound{}, err
	}
	if l.Up, err = b.matrix(up); err != nil {
		return Bound{}, err
	}
	if l.Down, err = b.matrix(down); err != nil {
		return Bound{}, err
	}
	if gate >= 0 {
		if l.Gate, err = b.matrix(gate); err != nil {
			return Bound{}, err
		}
	}
	l.T, _ = b.rows(0)
	need := l.Scratch(b.Device.pool.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		l.X = gemm.Rows{Data: tensor.Data[float32](c.Ins[0]), Stride: l.Up.K}
		l.Y = gemm.Rows{Data: tensor.Data[float32](c.Outs[0]), Stride: l.Down.N}
		l.UpBias, l.DownBias = c.vector(upBias), c.vector(downBias)
		if gate >= 0 {
			l.GateBias = c.vector(gateBias)
		}
		return l.Run(b.Device.pool, c.f32(need))
	}}, nil
}

// bindMoE is MoE at inference: one output, packed experts, and a gate that ranks by the
// logits.
func bindMoE(b *Binding) (Bound, error) {
	a := b.Step.Attrs.(*ops.MoEAttrs)
	l := &ffn.MoE{Kernels: b.Device.gemm}
	r := &l.Router
	r.K = int(a.K)
	if a.Selection == ops.SelectThreshold {
		r.Above, r.Threshold, r.MinK, r.MaxK = true, a.Threshold, int(a.MinK), int(a.MaxK)
	}
	switch a.Gate {
	case ops.GateSigmoid, ops.GateSinkhorn, ops.GateSinkhornTrue:
		r.Gating = ffn.GateSigmoid
	case ops.GateSoftmaxBefore, ops.GateSwitch:
		r.Gating = ffn.GateSoftmax
	case ops.GateSoftmaxAfter:
		r.Gating = ffn.GateSoftmaxAfter
	case ops.GateNoisyTopK:
		r.Gating, r.Normalise, r.Epsilon = ffn.GateSoftmax, true, a.GateEps
		if a.GateEps == 0 { // the same gates, and a score that is the logit
			r.Gating, r.Normalise = ffn.GateSoftmaxAfter, false
		}
	case ops.GateNone:
		r.Gating = ffn.GateNone
	default:
		return Bound{}, fmt.Errorf("no kernel for gate %q", a.Gate)
	}
	act, err := activation(a.Activation)
	if err != nil {
		return Bound{}, err
	}
	if b.has(ops.MoEInSel) && !b.has(ops.MoEInLogits) { // given logits come first
		if r.W, err = b.matrix(ops.MoEInSel); err != nil {
			return Bound{}, err
		}
	}
	w1, err := b.matrices(ops.MoEInW1)
	if err != nil {
		return Bound{}, err
	}
	w2, err := b.matrices(ops.MoEInW2)
	if err != nil {
		return Bound{}, err
	}
	var up []*layout.Matrix
	if b.has(ops.MoEInUp) {
		if up, err = b.matrices(ops.MoEInUp); err != nil {
			return Bound{}, err
		}
	}
	tall := len(w2) != len(w1)
	if tall && (len(w2) != 1 || len(w1) == 0 || w2[0].K != len(w1)*w1[0].N) {
		return Bound{}, fmt.Errorf("%d experts of %d matrices below the hidden layer", len(w1), len(w2))
	}
	for e := range w1 {
		w := ffn.Weights{Up: w1[e], Act: act}
		if up != nil {
			w.Gate, w.Up = w1[e], up[e]
		}
		if tall {
			w.First = e * w.Up.N
			w.Down = w2[0].Part(w.First, w.Up.N)
		} else {
			w.Down = w2[e]
		}
		l.Experts = append(l.Experts, w)
	}
	if tall {
		if l.Joined, err = b.join(w2[0], up != nil); err != nil {
			return Bound{}, err
		}
		l.Joined.Act = act
	}
	if b.has(ops.MoEInSharedW1) {
		s := &ffn.Weights{Act: act}
		if s.Up, err = b.matrix(ops.MoEInSharedW1); err != nil {
			return Bound{}, err
		}
		if s.Down, err = b.matrix(ops.MoEInSharedW2); err != nil {
			return Bound{}, err
		}
		if b.has(ops.MoEInSharedUp) {
			s.Gate = s.Up
			if s.Up, err = b.matrix(ops.MoEInSharedUp); err != nil {
				return Bound{}, err
			}
		}
		l.Shared = s
	}
	l.T, _ = b.rows(0)
	d, g, dv, experts := w1[0].K, w1[0].N, w2[0].N, len(w1)
	need := l.Scratch(b.Device.pool.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		l.X = gemm.Rows{Data: tensor.Data[float32](c.Ins[0]), Stride: d}
		l.Y = gemm.Rows{Data: tensor.Data[float32](c.Outs[0]), Stride: dv}
		r.Bias = c.vector(ops.MoEInSelBias)
		if r.W == nil {
			r.Logits = gemm.Rows{Data: c.vector(ops.MoEInLogits), Stride: experts}
		}
		bias, upBias, outBias := c.vector(ops.MoEInBias), c.vector(ops.MoEInUpBias), c.vector(ops.MoEInOutBias)
		if j := l.Joined; j != nil {
			j.UpBias = bias
			if up != nil {
				j.GateBias, j.UpBias = bias, upBias
			}
		}
		for e := range l.Experts {
			w := &l.Experts[e]
			w.UpBias = expert(bias, e, g)
			if up != nil {
				w.GateBias, w.UpBias = expert(bias, e, g), expert(upBias, e, g)
			}
			w.DownBias = expert(outBias, e, dv)
		}
		if s := l.Shared; s != nil {
			s.UpBias = c.vector(ops.MoEInSharedB1)
			if s.Gate != nil {
				s.GateBias, s.UpBias = c.vector(ops.MoEInSharedB1), c.vector(ops.MoEInSharedUpB)
			}
		}
		l.Bias = c.vector(ops.MoEInOBias)
		return l.Run(b.Device.pool, c.f32(need))
	}}, nil
}

// join views the experts of a mixture as one MLP over down.
func (b *Binding) join(down *layout.Matrix, gated bool) (*ffn.Weights, error) {
	beside := func(i int) (*layout.Matrix, error) {
		shape, _ := b.Ins[i].Static()
		return layout.Beside(down.Precision, b.Consts[i].Bytes(), shape[0], shape[1], shape[2])
	}
	w := &ffn.Weights{Down: down}
	var err error
	if w.Up, err = beside(ops.MoEInW1); err == nil && gated {
		w.Gate = w.Up
		w.Up, err = beside(ops.MoEInUp)
	}
	return w, err
}
