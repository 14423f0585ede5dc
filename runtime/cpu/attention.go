package cpu

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/attn"
)

// attentionAt is moec::Attention on f32 operands, or on what linear layers round to bf16 for
// it, with products at a precision where it has instructions of its own, else in f32.
func attentionAt(p layout.Precision) func(b *Binding) (Bound, error) {
	return func(b *Binding) (Bound, error) {
		if b.Device.gemm.Native(p) {
			return bindAttention(b, p)
		}
		return bindAttention(b, layout.F32)
	}
}

func bindAttention(b *Binding, p layout.Precision) (Bound, error) {
	at := b.Step.Attrs.(*ops.FusedAttentionAttrs)
	a := &attn.Attention{
		Kernels: b.Device.gemm, Rows: b.Device.rows, Heads: int(at.Heads), KVHeads: int(at.KVHeads), Dim: int(at.HeadDim), VDim: int(at.VHeadDim),
		Precision: p, Scale: at.Scale, Softcap: at.Softcap, Causal: at.Causal, NaNToZero: at.NaNToZero,
	}
	q, k, v := shapeOf(b.Ins[0]), shapeOf(b.Ins[1]), shapeOf(b.Ins[2])
	if len(q) == 0 || len(k) == 0 {
		return Bound{}, fmt.Errorf("%w: q %s, k %s", ir.ErrShape, b.Ins[0], b.Ins[1])
	}
	a.Batch = q[0]
	a.Queries, a.Q = attnView(q, at.QLayout, a.Dim)
	a.Keys, a.K = attnView(k, at.KLayout, a.Dim)
	_, a.V = attnView(v, at.VLayout, a.VDim)
	_, a.Out = attnView(shapeOf(b.Outs[0]), at.OutLayout, a.VDim)
	for _, o := range []struct {
		view  *attn.View
		shape []int
	}{{&a.Q, q}, {&a.K, k}, {&a.V, v}} {
		if o.shape[0] == 1 {
			o.view.Batch = 0 // shared by the batch
		}
		a.Batch = max(a.Batch, o.shape[0])
	}
	if len(b.Ins) > 3 && b.Ins[3].DType != tensor.Invalid {
		strides := maskStrides(shapeOf(b.Ins[3]))
		a.Mask = attn.Mask{Batch: strides[0], Head: strides[1], Query: strides[2], Key: strides[3], Fill: at.Fill}
	}
	if at.Wide != (b.Ins[0].DType == tensor.BF16) || at.Rounded != (b.Outs[0].DType == tensor.BF16) {
		return Bound{}, fmt.Errorf("%w: q %s, output %s", ir.ErrType, b.Ins[0], b.Outs[0])
	}
	if at.Wide && (at.HeadDim|at.VHeadDim|at.QOffset|at.KOffset|at.VOffset|int64(a.Q.Pos|a.K.Pos|a.V.Pos))%2 != 0 {
		return Bound{}, fmt.Errorf("heads in bf16 do not begin with whole words")
	}
	a.HalfIn, a.HalfOut = at.Wide, at.Rounded
	need := a.Scratch(b.Device.pool.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		if a.HalfIn {
			a.Q.Data = offset(halfWords(c.Ins[0]), at.QOffset/2)
			a.K.Data = offset(halfWords(c.Ins[1]), at.KOffset/2)
			a.V.Data = offset(halfWords(c.Ins[2]), at.VOffset/2)
		} else {
			a.Q.Data = offset(tensor.Data[float32](c.Ins[0]), at.QOffset)
			a.K.Data = offset(tensor.Data[float32](c.Ins[1]), at.KOffset)
			a.V.Data = offset(tensor.Data[float32](c.Ins[2]), at.VOffset)
		}
		if a.HalfOut {
			a.Out.Data = halfWords(c.Outs[0])
		} else {
			a.Out.Data = tensor.Data[float32](c.Outs[0])
		}
		a.Mask.Add, a.Mask.Keep = nil, nil
		if len(c.Ins) > 3 && c.Ins[3] != nil {
			if c.Ins[3].DType() == tensor.Bool {
				a.Mask.Keep = tensor.Data[bool](c.Ins[3])
			} else {
				a.Mask.Add = tensor.Data[float32](c.Ins[3])
			}
		}
		return a.Run(b.Device.pool, c.f32(need))
	}}, nil
}

func offset(s []float32, n int64) []float32 {
	if len(s) == 0 {
		return s
	}
	return s[n:]
}

func shapeOf(t ir.Type) []int {
	s, _ := t.Static()
	return s
}

// attnView gives the positions and strides of an operand in one of Attention's layouts.
func attnView(shape []int, layout string, dim int) (positions int, v attn.View) {
	if layout == ops.LayoutBHSD && len(shape) == 4 {
		return shape[2], attn.View{Batch: shape[1] * shape[2] * shape[3], Head: shape[2] * shape[3], Pos: shape[3]}
	}
	width := shape[len(shape)-1]
	return shape[1], attn.View{Batch: shape[1] * width, Head: dim, Pos: width}
}

// maskStrides are the strides of a mask that broadcasts to [batch, head, query, key].
func maskStrides(shape []int) (s [4]int) {
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if j := 4 - len(shape) + i; j >= 0 && shape[i] != 1 {
			s[j] = n
		}
		n *= shape[i]
	}
	return s
}
