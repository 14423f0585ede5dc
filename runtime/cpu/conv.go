package cpu

import (
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/conv"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// smallMultiplier: up to so many outputs of one input channel a convolution goes plane
// by plane; for more, packing the planes as columns of a product pays.
const smallMultiplier = 4

// convAxes completes the axes of a window to three, the missing ones first. Where there is
// one window its stride says nothing, and kernels that complete tiles must not walk by it.
func convAxes(w []ops.WindowAxis) (axes [3]conv.Axis) {
	for i := range axes {
		axes[i] = conv.Axis{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}
	}
	for i, a := range w {
		if a.Out == 1 {
			a.Stride = 1
		}
		axes[3-len(w)+i] = conv.Axis{In: a.In, Out: a.Out, Kernel: a.Kernel, Stride: a.Stride, Dilation: a.Dilation, Pad: a.PadLo}
	}
	return axes
}

// runner is the pool, or for little work the caller's own thread.
func (b *Binding) runner(work int) pool.Runner {
	if work < 1<<18 {
		return pool.Serial{}
	}
	return b.Device.pool
}

// bindConv is Conv and moec::Conv in f32. Windows that it does not suit go to the
// reference kernel.
func bindConv(b *Binding) (Bound, error) {
	kind, a := act.Identity, (*ops.ConvAttrs)(nil)
	switch attrs := b.Step.Attrs.(type) {
	case *ops.ConvAttrs:
		a = attrs
	case *ops.FusedConvAttrs:
		var err error
		if kind, err = activation(attrs.Activation); err != nil {
			return Bound{}, err
		}
		a = attrs.Conv()
	}
	x, w := shapeOf(b.Ins[0]), shapeOf(b.Ins[1])
	win, err := ops.ConvWindow(a, x, w)
	if err != nil {
		return Bound{}, err
	}
	n, c, m, groups := x[0], x[1], w[0], int(a.Group)
	axes := convAxes(win)
	if len(win) > 3 || n*c*m == 0 || b.has(2) && len(shapeOf(b.Ins[2])) != 1 || b.has(3) && !equalShape(shapeOf(b.Ins[3]), shapeOf(b.Outs[0])) {
		return bindRef(b)
	}
	if mult := m / groups; w[1] == 1 && mult <= smallMultiplier {
		v, err := conv.NewPlanes(b.Device.conv, conv.Depthwise, n, c, mult, axes, kind)
		if err != nil {
			return bindRef(b)
		}
		r := b.runner(v.Work())
		need := v.Scratch(r.Workers())
		return Bound{Scratch: 4 * need, Run: func(c *Call) error {
			v.X, v.W, v.Y = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Ins[1]), tensor.Data[float32](c.Outs[0])
			v.Bias, v.Residual = c.vector(2), c.vector(3)
			return v.Run(r, c.f32(need))
		}}, nil
	}
	v, err := conv.NewConv(b.Device.conv, n, c, m, groups, axes, kind)
	if err != nil {
		return bindRef(b)
	}
	r := b.runner(v.Work())
	need := v.Scratch(r.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		v.X, v.W, v.Y = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Ins[1]), tensor.Data[float32](c.Outs[0])
		v.Bias, v.Residual = c.vector(2), c.vector(3)
		return v.Run(r, c.f32(need))
	}}, nil
}

// bindPool is MaxPool without indices and AveragePool in f32.
func bindPool(b *Binding) (Bound, error) {
	x := shapeOf(b.Ins[0])
	win, err := ops.PoolWindow(b.Step.Attrs, x)
	if err != nil {
		return Bound{}, err
	}
	if none, ok := noWindows(b); ok {
		return none, nil
	}
	if len(win) > 3 {
		return bindRef(b)
	}
	kind := conv.Max
	var count []float32
	if a, ok := b.Step.Attrs.(*ops.AveragePoolAttrs); ok {
		kind, count = conv.Average, windowCounts(win, a.CountIncludePad)
	}
	v, err := conv.NewPlanes(b.Device.conv, kind, x[0], x[1], 1, convAxes(win), act.Identity)
	if err != nil {
		return bindRef(b)
	}
	v.Count = count
	r := b.runner(v.Work())
	need := v.Scratch(r.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		v.X, v.Y = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Outs[0])
		return v.Run(r, c.f32(need))
	}}, nil
}

// windowCounts is the number of elements that each window's mean is over: those inside
// the input, or with padded inside the padded input. A window that hangs over its end
// has fewer.
func windowCounts(win []ops.WindowAxis, padded bool) []float32 {
	count := []float32{1}
	for _, a := range win {
		lo, hi := 0, a.In
		if padded {
			lo, hi = -a.PadLo, a.In+a.PadHi
		}
		next := make([]float32, 0, len(count)*a.Out)
		for _, c := range count {
			for p := range a.Out {
				first := p*a.Stride - a.PadLo
				next = append(next, c*float32(tapsBelow(a, hi-first)-tapsBelow(a, lo-first)))
			}
		}
		count = next
	}
	return count
}

// bindGlobalPool is GlobalAveragePool in f32.
func bindGlobalPool(b *Binding) (Bound, error) {
	x := shapeOf(b.Ins[0])
	v := &conv.Mean{Rows: b.Device.rows, Planes: x[0] * x[1], Inner: tensor.NumElems(x[2:])}
	r := b.runner(v.Planes * v.Inner)
	return Bound{Run: func(c *Call) error {
		v.X, v.Y = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Outs[0])
		return v.Run(r)
	}}, nil
}

// bindChannels is BatchNormalization in f32 by given statistics.
func bindChannels(b *Binding) (Bound, error) {
	x := shapeOf(b.Ins[0])
	a := b.Step.Attrs.(*ops.BatchNormAttrs)
	v := &conv.Channels{Kernels: b.Device.conv, N: tensor.NumElems(x), C: 1, Inner: 1, Epsilon: a.Epsilon}
	if len(x) > 1 {
		v.N, v.C, v.Inner = x[0], x[1], tensor.NumElems(x[2:])
	}
	for i := 1; i < 5; i++ {
		if !equalShape(shapeOf(b.Ins[i]), []int{v.C}) {
			return bindRef(b) // which says what is wrong
		}
	}
	r := b.runner(v.N * v.C * v.Inner)
	return Bound{Run: func(c *Call) error {
		v.X, v.Y = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Outs[0])
		v.Scale, v.Bias, v.Mean, v.Variance = c.vector(1), c.vector(2), c.vector(3), c.vector(4)
		return v.Run(r)
	}}, nil
}
