package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ConvTransposeAttrs are the attributes of ConvTranspose.
type ConvTransposeAttrs struct {
	AutoPad       string  `attr:"auto_pad"`
	Dilations     []int64 `attr:"dilations"`
	Group         int64   `attr:"group"`
	KernelShape   []int64 `attr:"kernel_shape"`
	OutputPadding []int64 `attr:"output_padding"`
	OutputShape   []int64 `attr:"output_shape"`
	Pads          []int64 `attr:"pads"`
	Strides       []int64 `attr:"strides"`
}

func convTransposeOps() []*ir.Op {
	return []*ir.Op{{
		Name: "ConvTranspose", Since: 22, Doc: "Transposed convolution of [N,C,spatial...] with [C,M/group,kernel...].",
		Attrs: func() any { return &ConvTransposeAttrs{AutoPad: "NOTSET", Group: 1} },
		MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Infer: inferConvTranspose,
		Eval: func(c *ir.EvalCtx) error {
			return byFloat(c, 0, evalConvTranspose[float32], evalConvTranspose[float64])
		},
		Cost: func(c *ir.CostCtx) ir.Cost {
			cost := ir.Cost{Bytes: movedBytes(c.Ins, c.Outs)}
			if w := c.Ins[1]; w.Rank() > 0 && w.Shape[0].Size > 0 {
				ci := w.Shape[0].Size
				cost.FLOPs = 2 * knownElems(c.Ins[0]) * (knownElems(c.Ins[1]) / ci)
			}
			return cost
		},
	}}
}

// outGrid gives, for input lengths in, the output lengths and the leading pads.
func (a *ConvTransposeAttrs) outGrid(kernel []int64, in []int64) (s windowSpec, out, lo []int64, err error) {
	n := len(in)
	s = windowSpec{Kernel: kernel, Strides: a.Strides, Dilations: a.Dilations, Pads: a.Pads}
	same := a.AutoPad == "SAME_UPPER" || a.AutoPad == "SAME_LOWER"
	if same || a.AutoPad == "VALID" {
		s.Pads = nil
	} else if a.AutoPad != "" && a.AutoPad != "NOTSET" {
		return s, nil, nil, fmt.Errorf("%w: auto_pad %q", ir.ErrAttr, a.AutoPad)
	}
	if s, err = s.check(n); err != nil {
		return s, nil, nil, err
	}
	extra, shape := a.OutputPadding, a.OutputShape
	if len(extra) == 0 {
		extra = make([]int64, n)
	}
	if len(shape) == n+2 { // some exporters give the whole shape
		shape = shape[2:]
	}
	if len(extra) != n || len(shape) != 0 && len(shape) != n {
		return s, nil, nil, fmt.Errorf("%w: output_padding %v and output_shape %v for %d axes", ir.ErrAttr, a.OutputPadding, a.OutputShape, n)
	}
	for i, d := range in {
		if extra[i] < 0 || extra[i] > windowLimit || d > windowLimit {
			return s, nil, nil, fmt.Errorf("%w: output_padding %v", ir.ErrAttr, extra)
		}
		full := s.Strides[i]*(d-1) + extra[i] + s.extent(i)
		pad, size := s.Pads[i], full-s.Pads[i]-s.Pads[i+n]
		if len(shape) > 0 || same {
			size = d * s.Strides[i]
			if len(shape) > 0 {
				size = shape[i]
			}
			total := max(full-size, 0)
			pad = total - total/2
			if a.AutoPad == "SAME_UPPER" {
				pad = total / 2
			}
		}
		if size < 0 || size > windowLimit<<10 {
			if d == 0 {
				size = 0
			} else {
				return s, nil, nil, fmt.Errorf("%w: output of length %d on axis %d", ir.ErrShape, size, i+2)
			}
		}
		out, lo = append(out, size), append(lo, pad)
	}
	return s, out, lo, nil
}

func inferConvTranspose(c *ir.InferCtx) error {
	if err := wantFloat(c, 0, 1, 2); err != nil {
		return err
	}
	a := c.Attrs.(*ConvTransposeAttrs)
	x, w := c.In(0), c.In(1)
	if err := wantRank("the input", x, 3, -1); err != nil {
		return err
	}
	if err := wantRank("the weight", w, 3, -1); err != nil {
		return err
	}
	if !x.Ranked || !w.Ranked {
		c.SetOut(0, ir.Unranked(x.DType))
		return nil
	}
	if x.Rank() != w.Rank() || a.Group < 1 || a.Group > windowLimit {
		return fmt.Errorf("%w: input %s, weight %s, group %d", ir.ErrShape, x, w, a.Group)
	}
	n := x.Rank() - 2
	out := make([]ir.Dim, n+2)
	out[0], out[1] = x.Shape[0], ir.MulDim(w.Shape[1], ir.Known(a.Group))
	kernel := a.KernelShape
	if k, ok := (ir.Type{Ranked: true, Shape: w.Shape[2:]}).Static(); ok {
		kernel = mapTo(k, func(d int) int64 { return int64(d) })
	}
	for i := range n {
		out[i+2] = ir.Unknown()
	}
	if len(kernel) == n {
		in := make([]int64, n)
		for i, d := range x.Shape[2:] {
			if in[i] = d.Size; !d.IsKnown() {
				in[i] = windowLimit // a stand-in, so that the attributes are checked all the same
			}
		}
		s, sizes, _, err := a.outGrid(kernel, in)
		if err != nil {
			return err
		}
		for i, d := range x.Shape[2:] {
			if d.IsKnown() || len(a.OutputShape) > 0 {
				out[i+2] = ir.Known(sizes[i])
			} else if grow := sizes[i] - s.Strides[i]*windowLimit; grow >= 0 {
				out[i+2] = ir.AddDim(ir.MulDim(d, ir.Known(s.Strides[i])), ir.Known(grow))
			}
		}
	}
	c.SetOut(0, ir.MakeType(x.DType, out...))
	return nil
}

func evalConvTranspose[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	a := c.Attrs.(*ConvTransposeAttrs)
	x, w, b := c.In(0), c.In(1), c.In(2)
	if x.Rank() < 3 || x.Rank() != w.Rank() || x.Shape()[1] != w.Shape()[0] || a.Group < 1 || int64(x.Shape()[1])%a.Group != 0 {
		return fmt.Errorf("%w: input %s, weight %s, group %d", ir.ErrShape, x, w, a.Group)
	}
	ci, mg, group := x.Shape()[1], w.Shape()[1], int(a.Group)
	m := mg * group
	if err := wantShape("the bias", b, m); err != nil {
		return err
	}
	kernel := mapTo(w.Shape()[2:], func(d int) int64 { return int64(d) })
	s, size, lo, err := a.outGrid(kernel, mapTo(x.Shape()[2:], func(d int) int64 { return int64(d) }))
	if err != nil {
		return err
	}
	// The roles of a convolution's grids are swapped: the input is the grid of windows.
	win := &window{windowSpec: s, big: toInts(size), small: x.Shape()[2:], padLo: toInts(lo), taps: tensor.NumElems(w.Shape()[2:])}
	win.bigStride, win.smallStride = tensor.Strides(win.big), tensor.Strides(win.small)
	v, err := allReals[T](x, w, b)
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, x.DType(), append([]int{x.Shape()[0], m}, win.big...)...)
	if err != nil {
		return err
	}
	in, on := tensor.NumElems(win.small), tensor.NumElems(win.big)
	for i := range out.V {
		out.V[i] = 0
		if b != nil {
			out.V[i] = v[2][i/on%m]
		}
	}
	cg, step := ci/group, win.step()
	if in == 0 || on == 0 || cg == 0 {
		out.Store()
		return nil
	}
	for t := range win.taps {
		runs := win.runs(t)
		for i := range x.Shape()[0] * ci {
			img, ic := i/ci, i%ci
			xp := v[0][i*in : (i+1)*in]
			for o := range mg {
				k := v[1][(ic*mg+o)*win.taps+t]
				yp := out.V[(img*m+ic/cg*mg+o)*on:][:on]
				for _, r := range runs {
					j := r.big
					for _, e := range xp[r.small : r.small+r.n] {
						yp[j] += k * e
						j += step
					}
				}
			}
		}
	}
	out.Store()
	return nil
}
