package cuda

import (
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// window2 describes the sliding window over one or two dimensions; a single one is the width.
func window2(in, out []ptx.Expr, kernel, strides, dilations, pads []int64, autoPad string) (h, w ptx.Window, err error) {
	n := len(kernel)
	if n < 1 || n > 2 || len(in) != n || len(out) != n {
		return h, w, decline("a window over %d dimensions", n)
	}
	at := func(s []int64, i int, def int64) int {
		if i < len(s) {
			return int(s[i])
		}
		return int(def)
	}
	all := []ptx.Window{{Size: 1, Stride: 1, Dilation: 1, In: ptx.N(1), Out: ptx.N(1)}}
	for i := range n {
		one := ptx.Window{Size: int(kernel[i]), Stride: at(strides, i, 1), Dilation: at(dilations, i, 1), In: in[i], Out: out[i]}
		switch autoPad {
		case "NOTSET", "":
			one.Pad = at(pads, i, 0)
		case "VALID":
		default:
			if one.Pad, err = samePad(one, autoPad == "SAME_LOWER"); err != nil {
				return h, w, err
			}
		}
		all = append(all, one)
	}
	return all[n-1], all[n], nil
}

// samePad is the padding in front that gives an output for each stride of the input; lower puts the odd one there.
func samePad(w ptx.Window, lower bool) (int, error) {
	total := (w.Size - 1) * w.Dilation // of stride 1, whatever the size
	if w.Stride > 1 {
		size, err := constDim(w.In)
		if err != nil {
			return 0, decline("padding to the same size with a stride, of a size that is not fixed")
		}
		total = max(((size+w.Stride-1)/w.Stride-1)*w.Stride+total+1-size, 0)
	}
	if lower {
		return total - total/2, nil
	}
	return total / 2, nil
}

// conv is a convolution with bias, residual and activation in its epilogue.
func (l *Lowering) conv(n *ir.Node) (*Choice, error) {
	if err := allF32(n); err != nil {
		return nil, err
	}
	act := ops.ActNone
	a, ok := n.Attrs.(*ops.ConvAttrs)
	if !ok {
		f := n.Attrs.(*ops.FusedConvAttrs)
		if f.ChannelsLast {
			return nil, decline("channels last")
		}
		a, act = f.Conv(), f.Activation
	}
	x, w, y := n.Inputs[0], n.Inputs[1], n.Outputs[0]
	xd, wd, yd := l.dims.of(x), l.dims.of(w), l.dims.of(y)
	if len(xd) < 3 || len(wd) != len(xd) {
		return nil, decline("a convolution of rank %d", len(xd))
	}
	outC, err := constDim(wd[0])
	if err != nil {
		return nil, err
	}
	perGroup, err := constDim(wd[1])
	if err != nil {
		return nil, err
	}
	var kernel []int64
	for _, e := range wd[2:] {
		k, err := constDim(e)
		if err != nil {
			return nil, err
		}
		kernel = append(kernel, int64(k))
	}
	h, wi, err := window2(xd[2:], yd[2:], kernel, a.Strides, a.Dilations, a.Pads, a.AutoPad)
	if err != nil {
		return nil, err
	}
	groups := int(a.Group)
	pixels := h.Out.Mul(wi.Out)
	depthwise := perGroup == 1 && groups > 1
	args, err := l.operands(w, x)
	if err != nil {
		return nil, err
	}
	var p ptx.Program
	v := p.In(tensor.F32)
	var extra []ptx.Matrix
	bias, residual := -1, -1
	if b := input(n, 2); b != nil {
		bias = p.In(l.float)
		m := ptx.Matrix{DType: l.float, Row: ptx.N(1), Batch: []ptx.Expr{{}}}
		if !depthwise {
			m.Batch = append(m.Batch, ptx.N(outC/groups))
		}
		extra = append(extra, m)
		if args, err = l.more(args, b); err != nil {
			return nil, err
		}
	}
	if r := input(n, 3); r != nil {
		if !ptx.Elems(l.dims.of(r)).Equal(ptx.Elems(yd)) {
			return nil, decline("a residual that is broadcast")
		}
		residual = p.In(l.float)
		m := ptx.Matrix{DType: l.float, Row: pixels, Col: ptx.N(1), Batch: []ptx.Expr{pixels.MulN(outC)}}
		if !depthwise {
			m.Batch = append(m.Batch, pixels.MulN(outC/groups))
		}
		extra = append(extra, m)
		if args, err = l.more(args, r); err != nil {
			return nil, err
		}
	}
	if bias >= 0 {
		v = p.Do("add", v, bias)
	}
	if residual >= 0 {
		v = p.Do("add", v, residual)
	}
	if v, ok = activate(&p, act, v); !ok {
		return nil, decline("no kernel function for activation %q", act)
	}
	p.Out(v, l.float)
	var s spec
	if depthwise {
		s = ptx.Depthwise{Batch: xd[0], C: groups, Mult: outC / groups, H: h, W: wi, DType: l.float, Epilogue: p, Extra: extra}
	} else {
		s = ptx.Conv{Batch: xd[0], InC: perGroup * groups, OutC: outC, Groups: groups, H: h, W: wi, DType: l.float, Math: l.math, Epilogue: p, Extra: extra}
	}
	k, err := emit(s)
	if err != nil {
		return nil, err
	}
	return launchOne(k, "windows are fetched while tiles are copied, no image matrix", append(args, Operand{Value: y})...), nil
}

// pool is a max or average pool.
func (l *Lowering) pool(n *ir.Node) (*Choice, error) {
	if n.Inputs[0].Type.DType != tensor.F32 || l.present(n, 1) {
		return nil, decline("a pool of %s, or one that gives positions", n.Inputs[0].Type.DType)
	}
	xd, yd := l.dims.of(n.Inputs[0]), l.dims.of(n.Outputs[0])
	if len(xd) < 3 {
		return nil, decline("a pool without space")
	}
	s := ptx.Pool{Planes: xd[0].Mul(xd[1]), DType: l.float}
	var err error
	switch a := n.Attrs.(type) {
	case *ops.MaxPoolAttrs:
		s.Max = true
		s.H, s.W, err = window2(xd[2:], yd[2:], a.KernelShape, a.Strides, a.Dilations, a.Pads, a.AutoPad)
	case *ops.AveragePoolAttrs:
		if a.CeilMode {
			return nil, decline("an average over windows past the end")
		}
		s.CountPad = a.CountIncludePad
		s.H, s.W, err = window2(xd[2:], yd[2:], a.KernelShape, a.Strides, a.Dilations, a.Pads, a.AutoPad)
	}
	if err != nil {
		return nil, err
	}
	return l.launch(n, s, n.Inputs[0])
}

// convTranspose is a transposed convolution with bias.
func (l *Lowering) convTranspose(n *ir.Node) (*Choice, error) {
	float, err := l.oneFloat(n)
	if err != nil {
		return nil, err
	}
	a := n.Attrs.(*ops.ConvTransposeAttrs)
	x, w, y := n.Inputs[0], n.Inputs[1], n.Outputs[0]
	xd, wd, yd := l.dims.of(x), l.dims.of(w), l.dims.of(y)
	sizes := make([]int, 0, len(wd))
	for _, e := range wd {
		k, err := constDim(e)
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, k)
	}
	if len(a.OutputShape) > 0 || a.AutoPad != "NOTSET" && a.AutoPad != "" {
		return nil, decline("a transposed convolution to a given shape, or with padding %s", a.AutoPad)
	}
	kernel := make([]int64, 0, len(wd))
	for _, k := range sizes[2:] {
		kernel = append(kernel, int64(k))
	}
	s := ptx.ConvTranspose{Batch: xd[0], InC: sizes[0], Groups: int(a.Group), OutC: sizes[1] * int(a.Group), DType: float, Bias: input(n, 2) != nil}
	if s.H, s.W, err = window2(xd[2:], yd[2:], kernel, a.Strides, a.Dilations, a.Pads, a.AutoPad); err != nil {
		return nil, err
	}
	ins := []*ir.Value{x, w}
	if s.Bias {
		ins = append(ins, n.Inputs[2])
	}
	return l.launch(n, s, ins...)
}
