package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ConvAttrs are the attributes of Conv, ConvInteger and QLinearConv.
type ConvAttrs struct {
	AutoPad     string  `attr:"auto_pad"`
	Dilations   []int64 `attr:"dilations"`
	Group       int64   `attr:"group"`
	KernelShape []int64 `attr:"kernel_shape"`
	Pads        []int64 `attr:"pads"`
	Strides     []int64 `attr:"strides"`
}

func newConvAttrs() any { return &ConvAttrs{AutoPad: "NOTSET", Group: 1} }

func (a *ConvAttrs) spec(kernel []int64) windowSpec {
	return windowSpec{AutoPad: a.AutoPad, Kernel: kernel, Strides: a.Strides, Dilations: a.Dilations, Pads: a.Pads}
}

func convOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "Conv", Since: 22, Doc: "Cross-correlation of [N,C,spatial...] with [M,C/group,kernel...].",
			Attrs: newConvAttrs, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				if err := wantFloat(c, 0, 1, 2); err != nil {
					return err
				}
				return inferConv(c, c.Attrs.(*ConvAttrs), c.In(0), c.In(1), c.In(0).DType)
			},
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, evalConv[float32], evalConv[float64]) },
			Cost: convCost(1),
		},
	}
}

// inferConv sets output 0 of a convolution of x by w.
func inferConv(c *ir.InferCtx, a *ConvAttrs, x, w ir.Type, dt tensor.DType) error {
	if err := wantRank("the input", x, 3, -1); err != nil {
		return err
	}
	if err := wantRank("the weight", w, 3, -1); err != nil {
		return err
	}
	rank := max(x.Rank(), w.Rank())
	if rank < 0 {
		c.SetOut(0, ir.Unranked(dt))
		return nil
	}
	if x.Ranked && w.Ranked && x.Rank() != w.Rank() {
		return fmt.Errorf("%w: input %s and weight %s", ir.ErrShape, x, w)
	}
	out := make([]ir.Dim, rank)
	for i := range out {
		out[i] = ir.Unknown()
	}
	kernel := make([]int64, rank-2)
	known := w.Ranked
	for i := range kernel {
		if w.Ranked && w.Shape[i+2].IsKnown() {
			kernel[i] = w.Shape[i+2].Size
		} else {
			known = false
		}
	}
	if !known && len(a.KernelShape) == rank-2 {
		kernel, known = a.KernelShape, true
	}
	if w.Ranked {
		out[1] = w.Shape[0]
	}
	if x.Ranked {
		out[0] = x.Shape[0]
		if err := checkGroups(a.Group, x, w); err != nil {
			return err
		}
	}
	if known && x.Ranked {
		s, err := a.spec(kernel).check(rank - 2)
		if err != nil {
			return err
		}
		d, err := s.dims(x.Shape[2:])
		if err != nil {
			return err
		}
		copy(out[2:], d)
	}
	c.SetOut(0, ir.MakeType(dt, out...))
	return nil
}

func checkGroups(group int64, x, w ir.Type) error {
	if group < 1 {
		return fmt.Errorf("%w: group %d", ir.ErrAttr, group)
	}
	if !x.Ranked || !w.Ranked {
		return nil
	}
	ci, cw, m := x.Shape[1], w.Shape[1], w.Shape[0]
	if ci.IsKnown() && cw.IsKnown() && (cw.Size > ci.Size || cw.Size*group != ci.Size) || m.IsKnown() && m.Size%group != 0 {
		return fmt.Errorf("%w: input %s, weight %s, group %d", ir.ErrShape, x, w, group)
	}
	return nil
}

// convPlan checks the operands of a convolution and lays the window over the input.
func convPlan(a *ConvAttrs, x, w *tensor.Tensor) (*window, error) {
	xt, wt := ir.TypeOf(x), ir.TypeOf(w)
	if x.Rank() < 3 || x.Rank() != w.Rank() {
		return nil, fmt.Errorf("%w: input %s and weight %s", ir.ErrShape, xt, wt)
	}
	if err := checkGroups(a.Group, xt, wt); err != nil {
		return nil, err
	}
	kernel := mapTo(w.Shape()[2:], func(d int) int64 { return int64(d) })
	if len(a.KernelShape) > 0 {
		if len(a.KernelShape) != len(kernel) {
			return nil, fmt.Errorf("%w: kernel_shape %v for weight %s", ir.ErrAttr, a.KernelShape, wt)
		}
		for i, k := range a.KernelShape {
			if k != kernel[i] {
				return nil, fmt.Errorf("%w: kernel_shape %v for weight %s", ir.ErrAttr, a.KernelShape, wt)
			}
		}
	}
	return newWindow(a.spec(kernel), x.Shape()[2:])
}

func evalConv[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	x, w, b := c.In(0), c.In(1), c.In(2)
	win, err := convPlan(c.Attrs.(*ConvAttrs), x, w)
	if err != nil {
		return err
	}
	m := w.Shape()[0]
	if err := wantShape("the bias", b, m); err != nil {
		return err
	}
	v, err := allReals[T](x, w, b)
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, x.DType(), append([]int{x.Shape()[0], m}, win.small...)...)
	if err != nil {
		return err
	}
	convolve(out.V, v[0], v[1], v[2], win, x.Shape()[0], x.Shape()[1], m, int(c.Attrs.(*ConvAttrs).Group))
	out.Store()
	return nil
}

// convolve computes y[n,m] = b[m] + sum over c and taps of w[m,c,tap] * x[n,c] shifted
// by the tap, for n images of ci channels in and m channels out.
func convolve[T float32 | float64 | int32](y, x, w, b []T, win *window, n, ci, m, group int) {
	in, out := tensor.NumElems(win.big), tensor.NumElems(win.small)
	cg, mg := ci/group, m/group
	step := win.step()
	for i := range n * m {
		row := y[i*out : (i+1)*out]
		var bias T
		if b != nil {
			bias = b[i%m]
		}
		for j := range row {
			row[j] = bias
		}
	}
	if in == 0 || out == 0 {
		return
	}
	for t := range win.taps {
		runs := win.runs(t)
		if len(runs) == 0 {
			continue
		}
		for i := range n * m {
			img, oc := i/m, i%m
			yp := y[i*out : (i+1)*out]
			for c := range cg {
				k := w[(oc*cg+c)*win.taps+t]
				p := img*ci + oc/mg*cg + c
				xp := x[p*in : (p+1)*in]
				for _, r := range runs {
					axpy(yp[r.small:r.small+r.n], k, xp[r.big:], step)
				}
			}
		}
	}
}

// axpy adds k times every step-th element of x to y.
func axpy[T float32 | float64 | int32](y []T, k T, x []T, step int) {
	if step == 1 {
		x = x[:len(y)]
		for i := range y {
			y[i] += k * x[i]
		}
		return
	}
	j := 0
	for i := range y {
		y[i] += k * x[j]
		j += step
	}
}

// convCost counts a multiplication and an addition per tap; weight is input w.
func convCost(w int) func(*ir.CostCtx) ir.Cost {
	return func(c *ir.CostCtx) ir.Cost {
		cost := ir.Cost{Bytes: movedBytes(c.Ins, c.Outs)}
		if len(c.Ins) > w && len(c.Outs) > 0 && c.Ins[w].Rank() > 1 {
			if m := c.Ins[w].Shape[0].Size; m > 0 {
				cost.FLOPs = 2 * knownElems(c.Outs[0]) * (knownElems(c.Ins[w]) / m)
			}
		}
		return cost
	}
}
