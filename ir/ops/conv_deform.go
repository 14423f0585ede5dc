package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// DeformConvAttrs are the attributes of DeformConv.
type DeformConvAttrs struct {
	Dilations   []int64 `attr:"dilations"`
	Group       int64   `attr:"group"`
	KernelShape []int64 `attr:"kernel_shape"`
	OffsetGroup int64   `attr:"offset_group"`
	Pads        []int64 `attr:"pads"`
	Strides     []int64 `attr:"strides"`
}

func (a *DeformConvAttrs) conv() *ConvAttrs {
	return &ConvAttrs{AutoPad: "NOTSET", Dilations: a.Dilations, Group: a.Group, KernelShape: a.KernelShape, Pads: a.Pads, Strides: a.Strides}
}

func deformConvOps() []*ir.Op {
	return []*ir.Op{{
		Name: "DeformConv", Since: 22, Doc: "2-D convolution whose taps are moved by offsets and weighed by a mask.",
		Attrs: func() any { return &DeformConvAttrs{Group: 1, OffsetGroup: 1} },
		MinIn: 3, MaxIn: 5, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if err := wantFloat(c, 0, 1, 2, 3, 4); err != nil {
				return err
			}
			return inferConv(c, c.Attrs.(*DeformConvAttrs).conv(), c.In(0), c.In(1), c.In(0).DType)
		},
		Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, evalDeformConv[float32], evalDeformConv[float64]) },
		Cost: convCost(1),
	}}
}

func evalDeformConv[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1, 2); err != nil {
		return err
	}
	a := c.Attrs.(*DeformConvAttrs)
	x, w := c.In(0), c.In(1)
	if x.Rank() != 4 {
		return fmt.Errorf("%w: input %s, DeformConv is for two spatial axes", ir.ErrShape, x)
	}
	win, err := convPlan(a.conv(), x, w)
	if err != nil {
		return err
	}
	n, ci, m := x.Shape()[0], x.Shape()[1], w.Shape()[0]
	og := int(a.OffsetGroup)
	if og < 1 || ci%og != 0 {
		return fmt.Errorf("%w: offset_group %d for %d channels", ir.ErrAttr, a.OffsetGroup, ci)
	}
	oh, ow := win.small[0], win.small[1]
	if err := wantShape("the offsets", c.In(2), n, og*win.taps*2, oh, ow); err != nil {
		return err
	}
	if err := wantShape("the bias", c.In(3), m); err != nil {
		return err
	}
	if err := wantShape("the mask", c.In(4), n, og*win.taps, oh, ow); err != nil {
		return err
	}
	v, err := allReals[T](x, w, c.In(2), c.In(3), c.In(4))
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, x.DType(), n, m, oh, ow)
	if err != nil {
		return err
	}
	// The moved and masked taps of one image become the columns of a plain product.
	h, wd, area := win.big[0], win.big[1], oh*ow
	cg, mg := ci/int(a.Group), m/int(a.Group)
	col := make([]float64, ci*win.taps)
	for img := range n {
		for p := range area {
			for ch := range ci {
				plane := v[0][(img*ci+ch)*h*wd:][:h*wd]
				g := ch / (ci / og)
				for t := range win.taps {
					k := win.tap(t)
					at := ((img*og+g)*win.taps+t)*2*area + p
					y := float64(p/ow*int(win.Strides[0])-win.padLo[0]+k[0]) + float64(v[2][at])
					xx := float64(p%ow*int(win.Strides[1])-win.padLo[1]+k[1]) + float64(v[2][at+area])
					s := bilinearZero(plane, h, wd, y, xx)
					if v[4] != nil {
						s *= float64(v[4][((img*og+g)*win.taps+t)*area+p])
					}
					col[ch*win.taps+t] = s
				}
			}
			for o := range m {
				s := 0.0
				if v[3] != nil {
					s = float64(v[3][o])
				}
				row := v[1][o*cg*win.taps:][:cg*win.taps]
				for j, e := range col[o/mg*cg*win.taps:][:cg*win.taps] {
					s += e * float64(row[j])
				}
				out.V[(img*m+o)*area+p] = T(s)
			}
		}
	}
	out.Store()
	return nil
}

// bilinearZero interpolates a plane at (y, x); outside it is zero.
func bilinearZero[T realElem](plane []T, h, w int, y, x float64) float64 {
	if !(y > -1 && y < float64(h) && x > -1 && x < float64(w)) {
		return 0
	}
	y0, x0 := int(math.Floor(y)), int(math.Floor(x))
	fy, fx := y-float64(y0), x-float64(x0)
	px := func(i, j int) float64 {
		if i < 0 || i >= h || j < 0 || j >= w {
			return 0
		}
		return float64(plane[i*w+j])
	}
	return (1-fy)*((1-fx)*px(y0, x0)+fx*px(y0, x0+1)) + fy*((1-fx)*px(y0+1, x0)+fx*px(y0+1, x0+1))
}

// Col2ImAttrs are the attributes of Col2Im.
type Col2ImAttrs struct {
	Dilations []int64 `attr:"dilations"`
	Pads      []int64 `attr:"pads"`
	Strides   []int64 `attr:"strides"`
}

func col2imOps() []*ir.Op {
	return []*ir.Op{{
		Name: "Col2Im", Since: 18, Doc: "Sums columns of window contents back into an image.",
		Attrs: func() any { return &Col2ImAttrs{} },
		MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			x := c.In(0)
			if err := wantRank("the columns", x, 3, 3); err != nil {
				return err
			}
			c.SetOut(0, ir.Unranked(x.DType))
			image, ok1 := c.Dims(1)
			block, ok2 := c.Dims(2)
			if !ok1 || !ok2 || !x.Ranked {
				return nil
			}
			ch := x.Shape[1]
			for _, b := range block {
				ch = ir.DivDim(ch, b)
			}
			c.SetOut(0, ir.MakeType(x.DType, append([]ir.Dim{x.Shape[0], ch}, image...)...))
			return nil
		},
		Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, evalCol2Im[float32], evalCol2Im[float64]) },
	}}
}

func evalCol2Im[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1, 2); err != nil {
		return err
	}
	a, x := c.Attrs.(*Col2ImAttrs), c.In(0)
	image, err := c.In(1).Int64s()
	if err != nil {
		return fmt.Errorf("%w: image_shape: %w", ir.ErrType, err)
	}
	block, err := c.In(2).Int64s()
	if err != nil {
		return fmt.Errorf("%w: block_shape: %w", ir.ErrType, err)
	}
	if x.Rank() != 3 || len(image) == 0 || len(image) != len(block) {
		return fmt.Errorf("%w: columns %s, image_shape %v, block_shape %v", ir.ErrShape, x, image, block)
	}
	for _, d := range image {
		if d < 0 || d > windowLimit {
			return fmt.Errorf("%w: image_shape %v", ir.ErrShape, image)
		}
	}
	win, err := newWindow(windowSpec{Kernel: block, Strides: a.Strides, Dilations: a.Dilations, Pads: a.Pads}, toInts(image))
	if err != nil {
		return err
	}
	n, cols := x.Shape()[0], tensor.NumElems(win.small)
	if x.Shape()[1]%win.taps != 0 || x.Shape()[2] != cols {
		return fmt.Errorf("%w: columns %s, want [N, C*%d, %d]", ir.ErrShape, x, win.taps, cols)
	}
	ch := x.Shape()[1] / win.taps
	v, err := reals[T](x)
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, x.DType(), append([]int{n, ch}, win.big...)...)
	if err != nil {
		return err
	}
	clear(out.V)
	in, step := tensor.NumElems(win.big), win.step()
	win.eachRun(n*ch, func(p, t int, r run) {
		src, dst := v[(p*win.taps+t)*cols+r.small:][:r.n], out.V[p*in+r.big:]
		for i, e := range src {
			dst[i*step] += e
		}
	})
	out.Store()
	return nil
}
