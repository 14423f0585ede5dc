package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// AveragePoolAttrs are the attributes of AveragePool.
type AveragePoolAttrs struct {
	AutoPad         string  `attr:"auto_pad"`
	CeilMode        bool    `attr:"ceil_mode"`
	CountIncludePad bool    `attr:"count_include_pad"`
	Dilations       []int64 `attr:"dilations"`
	KernelShape     []int64 `attr:"kernel_shape"`
	Pads            []int64 `attr:"pads"`
	Strides         []int64 `attr:"strides"`
}

// MaxPoolAttrs are the attributes of MaxPool.
type MaxPoolAttrs struct {
	AutoPad      string  `attr:"auto_pad"`
	CeilMode     bool    `attr:"ceil_mode"`
	Dilations    []int64 `attr:"dilations"`
	KernelShape  []int64 `attr:"kernel_shape"`
	Pads         []int64 `attr:"pads"`
	StorageOrder int64   `attr:"storage_order"`
	Strides      []int64 `attr:"strides"`
}

// LpPoolAttrs are the attributes of LpPool.
type LpPoolAttrs struct {
	AutoPad     string  `attr:"auto_pad"`
	CeilMode    bool    `attr:"ceil_mode"`
	Dilations   []int64 `attr:"dilations"`
	KernelShape []int64 `attr:"kernel_shape"`
	P           int64   `attr:"p"`
	Pads        []int64 `attr:"pads"`
	Strides     []int64 `attr:"strides"`
}

// poolSpec is the window of a pooling op.
func poolSpec(attrs any) windowSpec {
	switch a := attrs.(type) {
	case *AveragePoolAttrs:
		return windowSpec{a.AutoPad, a.KernelShape, a.Strides, a.Dilations, a.Pads, a.CeilMode}
	case *MaxPoolAttrs:
		return windowSpec{a.AutoPad, a.KernelShape, a.Strides, a.Dilations, a.Pads, a.CeilMode}
	default:
		l := attrs.(*LpPoolAttrs)
		return windowSpec{l.AutoPad, l.KernelShape, l.Strides, l.Dilations, l.Pads, l.CeilMode}
	}
}

func poolOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "AveragePool", Since: 22, Doc: "Mean over a sliding window of the spatial axes.",
			Attrs: func() any { return &AveragePoolAttrs{AutoPad: "NOTSET"} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Infer: inferPool, Cost: poolCost,
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, evalAveragePool[float32], evalAveragePool[float64]) },
		},
		{
			Name: "MaxPool", Since: 22, Doc: "Maximum over a sliding window of the spatial axes, and where it stood.",
			Attrs: func() any { return &MaxPoolAttrs{AutoPad: "NOTSET"} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 2, Infer: inferPool, Cost: poolCost, Eval: evalMaxPool,
		},
		{
			Name: "LpPool", Since: 22, Doc: "p-norm over a sliding window of the spatial axes.",
			Attrs: func() any { return &LpPoolAttrs{AutoPad: "NOTSET", P: 2} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Infer: inferPool, Cost: poolCost,
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, evalLpPool[float32], evalLpPool[float64]) },
		},
	}
}

func inferPool(c *ir.InferCtx) error {
	x := c.In(0)
	_, isMax := c.Attrs.(*MaxPoolAttrs)
	if isMax {
		if dt := x.DType; dt != tensor.Invalid && !dt.IsFloat() && dt != tensor.I8 && dt != tensor.U8 {
			return fmt.Errorf("%w: %s", ir.ErrType, dt)
		}
	} else if err := wantFloat(c, 0); err != nil {
		return err
	}
	if err := wantRank("the input", x, 3, -1); err != nil {
		return err
	}
	out := ir.Unranked(x.DType)
	if x.Ranked {
		spec := poolSpec(c.Attrs)
		if len(spec.Kernel) == 0 {
			return fmt.Errorf("%w: kernel_shape is missing", ir.ErrAttr)
		}
		s, err := spec.check(x.Rank() - 2)
		if err != nil {
			return err
		}
		d, err := s.dims(x.Shape[2:])
		if err != nil {
			return err
		}
		out = ir.MakeType(x.DType, append([]ir.Dim{x.Shape[0], x.Shape[1]}, d...)...)
	}
	c.SetOut(0, out)
	if isMax && len(c.Outs) > 1 {
		out.DType = tensor.I64
		c.SetOut(1, out)
	}
	return nil
}

func poolCost(c *ir.CostCtx) ir.Cost {
	taps := int64(1)
	for _, k := range poolSpec(c.Attrs).Kernel {
		taps *= max(k, 1)
	}
	var n int64
	if len(c.Outs) > 0 {
		n = knownElems(c.Outs[0])
	}
	return ir.Cost{FLOPs: n * taps, Bytes: movedBytes(c.Ins, c.Outs)}
}

// poolWindow lays the pool's window over its input.
func poolWindow(c *ir.EvalCtx) (*window, []int, error) {
	if err := need(c, 0); err != nil {
		return nil, nil, err
	}
	x := c.In(0)
	if err := tensorRank("the input", x, 3, -1); err != nil {
		return nil, nil, err
	}
	spec := poolSpec(c.Attrs)
	if len(spec.Kernel) == 0 {
		return nil, nil, fmt.Errorf("%w: kernel_shape is missing", ir.ErrAttr)
	}
	w, err := newWindow(spec, x.Shape()[2:])
	if err != nil {
		return nil, nil, err
	}
	return w, append([]int{x.Shape()[0], x.Shape()[1]}, w.small...), nil
}

// eachRun calls f for every image plane and stretch of the window's taps, in tap order.
func (w *window) eachRun(planes int, f func(plane, tap int, r run)) {
	if tensor.NumElems(w.big) == 0 || tensor.NumElems(w.small) == 0 {
		return
	}
	for t := range w.taps {
		for _, r := range w.runs(t) {
			for p := range planes {
				f(p, t, r)
			}
		}
	}
}

func evalAveragePool[T realElem](c *ir.EvalCtx) error {
	w, shape, err := poolWindow(c)
	if err != nil {
		return err
	}
	x, err := reals[T](c.In(0))
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, c.In(0).DType(), shape...)
	if err != nil {
		return err
	}
	in, on := tensor.NumElems(w.big), tensor.NumElems(w.small)
	clear(out.V)
	count := make([]T, on)
	if c.Attrs.(*AveragePoolAttrs).CountIncludePad {
		w.countPadded(func(i, n int) { count[i] = T(n) })
	} else {
		w.eachRun(1, func(_, _ int, r run) {
			for i := range r.n {
				count[r.small+i]++
			}
		})
	}
	step := w.step()
	w.eachRun(shape[0]*shape[1], func(p, _ int, r run) {
		axpy(out.V[p*on+r.small:][:r.n], 1, x[p*in+r.big:], step)
	})
	for i := range out.V {
		if n := count[i%on]; n > 0 {
			out.V[i] /= n
		}
	}
	out.Store()
	return nil
}

// countPadded gives, per window, how many of its taps lie in the padded input. Taps
// that hang over its end in ceil mode do not count.
func (w *window) countPadded(set func(i, n int)) {
	idx := make([]int, len(w.small))
	for i := range tensor.NumElems(w.small) {
		n := 1
		for a, p := range idx {
			at := p*int(w.Strides[a]) - w.padLo[a]
			room := w.big[a] + w.padHi[a] - at // taps below this are inside
			d := int(w.Dilations[a])
			n *= max(0, min(int(w.Kernel[a]), (room+d-1)/d))
		}
		set(i, n)
		for a := len(idx) - 1; a >= 0; a-- {
			if idx[a]++; idx[a] < w.small[a] {
				break
			}
			idx[a] = 0
		}
	}
}

func evalLpPool[T realElem](c *ir.EvalCtx) error {
	w, shape, err := poolWindow(c)
	if err != nil {
		return err
	}
	p := float64(c.Attrs.(*LpPoolAttrs).P)
	if p < 1 {
		return fmt.Errorf("%w: p %v", ir.ErrAttr, p)
	}
	x, err := reals[T](c.In(0))
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, c.In(0).DType(), shape...)
	if err != nil {
		return err
	}
	in, on := tensor.NumElems(w.big), tensor.NumElems(w.small)
	clear(out.V)
	step := w.step()
	w.eachRun(shape[0]*shape[1], func(pl, _ int, r run) {
		y := out.V[pl*on+r.small:][:r.n]
		for i := range y {
			y[i] += T(math.Pow(math.Abs(float64(x[pl*in+r.big+i*step])), p))
		}
	})
	for i, v := range out.V {
		out.V[i] = T(math.Pow(float64(v), 1/p))
	}
	out.Store()
	return nil
}

func evalMaxPool(c *ir.EvalCtx) error {
	if err := need(c, 0); err != nil {
		return err
	}
	switch x := c.In(0); x.DType() {
	case tensor.F32:
		return maxPool(c, tensor.Data[float32](x), float32(math.Inf(-1)))
	case tensor.F64:
		return maxPool(c, tensor.Data[float64](x), math.Inf(-1))
	case tensor.I8:
		return maxPool(c, tensor.Data[int8](x), int8(math.MinInt8))
	case tensor.U8:
		return maxPool(c, tensor.Data[uint8](x), uint8(0))
	case tensor.F16, tensor.BF16:
		v, err := reals[float32](x)
		if err != nil {
			return err
		}
		return maxPool(c, v, float32(math.Inf(-1)))
	default:
		return fmt.Errorf("%w: %s", ir.ErrType, x.DType())
	}
}

func maxPool[T float32 | float64 | int8 | uint8](c *ir.EvalCtx, x []T, lowest T) error {
	w, shape, err := poolWindow(c)
	if err != nil {
		return err
	}
	t, err := c.Out(0, c.In(0).DType(), shape...)
	if err != nil {
		return err
	}
	half := t.DType() == tensor.F16 || t.DType() == tensor.BF16
	var y []T
	if half {
		y = make([]T, t.Len())
	} else {
		y = tensor.Data[T](t)
	}
	at := make([]int64, len(y))
	for i := range y {
		y[i], at[i] = lowest, -1
	}
	in, on, step := tensor.NumElems(w.big), tensor.NumElems(w.small), w.step()
	w.eachRun(shape[0]*shape[1], func(p, _ int, r run) {
		for i := range r.n {
			o, b := p*on+r.small+i, p*in+r.big+i*step
			if v := x[b]; at[o] < 0 || v > y[o] || v != v {
				y[o], at[o] = v, int64(b)
			}
		}
	})
	if half {
		o := realOut[float32]{V: any(y).([]float32), t: t}
		o.Store()
	}
	if len(c.Want) < 2 || !c.Want[1] {
		return nil
	}
	ti, err := c.Out(1, tensor.I64, shape...)
	if err != nil {
		return err
	}
	idx := tensor.Data[int64](ti)
	copy(idx, at)
	if c.Attrs.(*MaxPoolAttrs).StorageOrder == 1 {
		columnMajor(idx, w.big)
	}
	return nil
}

// columnMajor rewrites flat row-major indices, counted over whole planes, to positions
// in planes that are stored with the first spatial axis fastest.
func columnMajor(idx []int64, plane []int) {
	n := int64(tensor.NumElems(plane))
	strides := tensor.Strides(plane)
	for i, v := range idx {
		if v < 0 {
			continue
		}
		base, rest := v/n*n, v%n
		mul, pos := int64(1), int64(0)
		for a, d := range plane {
			pos += rest / int64(strides[a]) % int64(d) * mul
			mul *= int64(d)
		}
		idx[i] = base + pos
	}
}
