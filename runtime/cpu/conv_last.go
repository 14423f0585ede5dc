package cpu

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/conv"
)

// channelsFirst is the shape [N, C, spatial...] of an image [N, spatial..., C].
func channelsFirst(x []int) []int {
	out := []int{x[0], x[len(x)-1]}
	return append(out, x[1:len(x)-1]...)
}

// lastConv is what the convolutions with channels last have in common.
type lastConv struct {
	n, c, m, groups int
	axes            [3]conv.Axis
	act             act.Kind
}

func newLastConv(b *Binding) (l lastConv, err error) {
	a := b.Step.Attrs.(*ops.FusedConvAttrs)
	if l.act, err = activation(a.Activation); err != nil {
		return l, err
	}
	x, w := channelsFirst(shapeOf(b.Ins[0])), shapeOf(b.Ins[1])
	win, err := ops.ConvWindow(a.Conv(), x, w)
	if err != nil {
		return l, err
	}
	l.n, l.c, l.m, l.groups, l.axes = x[0], x[1], w[0], int(a.Group), convAxes(win)
	if b.has(2) && !equalShape(shapeOf(b.Ins[2]), []int{l.m}) || b.has(3) && !equalShape(shapeOf(b.Ins[3]), shapeOf(b.Outs[0])) {
		return l, fmt.Errorf("bias %v, residual %v for output %v", b.Ins[2:3], b.Ins[3:], b.Outs[0])
	}
	return l, checkExtent(l.axes)
}

// bindConvLast is moec::Conv with channels last in f32, its weights in panels of f32 or bf16.
func bindConvLast(b *Binding) (Bound, error) {
	l, err := newLastConv(b)
	if err != nil {
		return Bound{}, err
	}
	p, ok := layout.ParseConvName(b.Layouts[1])
	if b.Consts[1] == nil || !ok || p == layout.I8 {
		return Bound{}, fmt.Errorf("weights are stored as %q, want panels", b.Layouts[1])
	}
	if none, ok := noWindows(b); ok {
		return none, nil
	}
	depth := tensor.NumElems(shapeOf(b.Ins[1])[1:])
	w, err := layout.Unstack(p, b.Consts[1].Bytes(), l.groups, p.ConvRows(depth), l.m/l.groups)
	if err != nil {
		return Bound{}, err
	}
	if p == layout.BF16 && !b.Device.gemm.Native(p) {
		p, w = layout.F32, b.Device.wide.of(b.Consts[1], w, depth)
	}
	v := conv.NewLast(b.Device.conv, p, l.n, l.c, l.m, l.groups, l.axes, l.act)
	v.W = w
	v.Rounded.X, v.Rounded.Y = b.bf16In(0), b.Outs[0].DType == tensor.BF16
	v.Rounded.Residual = b.has(3) && b.bf16In(3)
	r := b.runner(v.Work() / 4) // 10 us: a dispatch takes 1 to 5
	need := v.Scratch(r.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		v.X, v.Y, v.Bias = images(c.Ins[0]), images(c.Outs[0]), c.vector(2)
		if v.Residual = (conv.Images{}); len(c.Ins) > 3 && c.Ins[3] != nil {
			v.Residual = images(c.Ins[3])
		}
		return v.Run(r, c.f32(need))
	}}, nil
}

// widened keeps the weights of convolutions in f32, by the constant that holds them in
// bf16, where the CPU has no products of that precision: the kernels of f32 then are
// faster than those that widen weights as they go, by 1.5 for a ResNet-18 on AVX-512.
type widened struct {
	mu  sync.Mutex
	all map[*tensor.Tensor][]*layout.Matrix
}

// of is the first k rows of each matrix in f32, made once.
func (w *widened) of(t *tensor.Tensor, packed []*layout.Matrix, k int) []*layout.Matrix {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all[t] == nil {
		out := make([]*layout.Matrix, len(packed))
		for i, m := range packed {
			out[i] = m.Widened(k)
		}
		if w.all == nil {
			w.all = map[*tensor.Tensor][]*layout.Matrix{}
		}
		w.all[t] = out
	}
	return w.all[t]
}

// bf16In reports whether input i is bf16.
func (b *Binding) bf16In(i int) bool { return b.Ins[i].DType == tensor.BF16 }

// images views a tensor of f32 or bf16.
func images(t *tensor.Tensor) conv.Images {
	if t.DType() == tensor.F32 {
		return conv.Images{F32: tensor.Data[float32](t)}
	}
	b := t.Bytes()
	return conv.Images{BF16: unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)}
}

// bindDepthwise is moec::Conv with channels last in f32, a channel per group, its weights
// by taps.
func bindDepthwise(b *Binding) (Bound, error) {
	l, err := newLastConv(b)
	if err != nil {
		return Bound{}, err
	}
	if b.Consts[1] == nil || b.Layouts[1] != "conv.taps.f32" {
		return Bound{}, fmt.Errorf("weights are stored as %q, want taps", b.Layouts[1])
	}
	if err := l.checkTaps(b.Consts[1]); err != nil {
		return Bound{}, err
	}
	if none, ok := noWindows(b); ok {
		return none, nil
	}
	v := conv.NewWindows(b.Device.conv, conv.Depthwise, l.n, l.c, l.axes, l.act)
	v.W = elems[float32](b.Consts[1])
	v.Rounded.X, v.Rounded.Y = b.bf16In(0), b.Outs[0].DType == tensor.BF16
	r := b.runner(v.Work())
	need := v.Prepare(r.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		v.X, v.Y = images(c.Ins[0]), images(c.Outs[0])
		v.Bias, v.Residual = c.vector(2), c.vector(3)
		return v.Run(r, c.f32(need))
	}}, nil
}

// bindPoolLast is moec::Pool in f32.
func bindPoolLast(b *Binding) (Bound, error) {
	x := channelsFirst(shapeOf(b.Ins[0]))
	a := b.Step.Attrs.(*ops.FusedPoolAttrs)
	if a.Kind == ops.PoolGlobal {
		v := &conv.MeanLast{Kernels: b.Device.conv, N: x[0], C: x[1], Inner: tensor.NumElems(x[2:])}
		r := b.runner(v.N * v.C * v.Inner)
		v.Prepare(r.Workers())
		return Bound{Run: func(c *Call) error {
			v.X, v.Y = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Outs[0])
			return v.Run(r)
		}}, nil
	}
	win, err := ops.PoolWindow(a.Pool(), x)
	if err != nil {
		return Bound{}, err
	}
	if none, ok := noWindows(b); ok {
		return none, nil
	}
	kind := conv.Max
	var count []float32
	if a.Kind == ops.PoolAverage {
		kind, count = conv.Average, windowCounts(win, a.CountIncludePad)
	}
	v := conv.NewWindows(b.Device.conv, kind, x[0], x[1], convAxes(win), act.Identity)
	v.Count = count
	v.Rounded.X, v.Rounded.Y = b.bf16In(0), b.Outs[0].DType == tensor.BF16
	r := b.runner(v.Work())
	need := v.Prepare(r.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		v.X, v.Y = images(c.Ins[0]), images(c.Outs[0])
		return v.Run(r, c.f32(need))
	}}, nil
}
