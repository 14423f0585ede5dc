package cuda

import (
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// attention is one launch for all heads.
func (l *Lowering) attention(n *ir.Node) (*Choice, error) {
	a := n.Attrs.(*ops.FusedAttentionAttrs)
	q, k, v, y := n.Inputs[0], n.Inputs[1], n.Inputs[2], n.Outputs[0]
	for _, x := range []*ir.Value{q, k, v, y} {
		if x.Type.DType != tensor.F32 {
			return nil, decline("attention of %s", x.Type.DType)
		}
	}
	lay := func(x *ir.Value, layout string, offset, dim int64) (h ptx.Heads, batch, rows ptx.Expr) {
		d := l.dims.of(x)
		h.Offset = ptx.N(int(offset))
		if layout == ops.LayoutBHSD {
			h.Row, h.Head, h.Batch = d[3], d[2].Mul(d[3]), d[1].Mul(d[2]).Mul(d[3])
			return h, d[0], d[2]
		}
		h.Row, h.Head, h.Batch = d[2], ptx.N(int(dim)), d[1].Mul(d[2])
		return h, d[0], d[1]
	}
	s := ptx.Attention{
		Heads: int(a.Heads), KVHeads: int(a.KVHeads), HeadDim: int(a.HeadDim), VHeadDim: int(a.VHeadDim),
		DType: l.float, Math: l.math, Scale: a.Scale, Causal: a.Causal, NaNToZero: a.NaNToZero,
	}
	s.Q, s.Batch, s.Queries = lay(q, a.QLayout, a.QOffset, a.HeadDim)
	s.K, _, s.Keys = lay(k, a.KLayout, a.KOffset, a.HeadDim)
	s.V, _, _ = lay(v, a.VLayout, a.VOffset, a.VHeadDim)
	s.Y, _, _ = lay(y, a.OutLayout, 0, a.VHeadDim)
	ins := []*ir.Value{q, k, v}
	if m := input(n, 3); m != nil {
		dt, err := l.storage(m.Type.DType)
		if err != nil {
			return nil, err
		}
		d := l.dims.of(m)
		if len(d) > 4 {
			return nil, decline("an attention mask of rank %d", len(d))
		}
		want := []ptx.Expr{s.Batch, ptx.N(s.Heads), s.Queries, s.Keys}
		st := make([]ptx.Expr, 4)
		for i, x := range ptx.Contiguous(d).Strides {
			at := 4 - len(d) + i
			st[at] = stretch(x, d[i], want[at])
		}
		s.Mask = &ptx.AttentionMask{DType: dt, Batch: st[0], Head: st[1], Row: st[2], Col: st[3], Fill: a.Fill}
		ins = append(ins, m)
	}
	kern, err := s.Kernel()
	if err != nil {
		return nil, decline("%v", err)
	}
	args, err := l.operands(ins...)
	if err != nil {
		return nil, err
	}
	return launchOne(kern, "scores stay on the multiprocessor", append(args, Operand{Value: y})...), nil
}
