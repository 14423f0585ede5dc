package ptx

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Window is the geometry of a sliding window along one spatial dimension.
type Window struct {
	Size, Stride, Dilation, Pad int  // Pad in front of the first element
	In, Out                     Expr // lengths of input and output
}

// Conv is a convolution over NCHW (or NCW, with a height of 1) tensors, as a product without an image matrix
// in memory: for each image and group, Y[outC/G, pixels] = W[outC/G, inC/G*kh*kw] X', where the elements of
// X' are fetched from the image while tiles are copied to shared memory. One input channel per group
// (depthwise) takes a kernel that computes each output directly.
// Epilogue inputs after the accumulator are given by Extra with strides over (channel, pixel) and batch
// dimensions (image, group). Buffers: as Gemm's, a = weight, b = image, c = output.
type Conv struct {
	Batch     Expr
	InC, OutC int // of all groups
	Groups    int
	H, W      Window
	DType     dtype
	Math      Math
	Epilogue  Program
	Extra     []Matrix
}

// Kernel writes the kernel.
func (s Conv) Kernel() (*Kernel, error) {
	if s.Groups < 1 || s.InC%s.Groups != 0 || s.OutC%s.Groups != 0 {
		return nil, fmt.Errorf("ptx: conv of %d to %d channels in %d groups", s.InC, s.OutC, s.Groups)
	}
	pixels, image := s.H.Out.Mul(s.W.Out), s.H.In.Mul(s.W.In)
	inC, outC := s.InC/s.Groups, s.OutC/s.Groups
	depth := inC * s.H.Size * s.W.Size
	g := Gemm{
		Name:  "conv_" + s.Math.String(),
		Batch: []Expr{s.Batch, N(s.Groups)},
		M:     N(outC), N: pixels, K: N(depth),
		A:        Matrix{DType: s.DType, Row: N(depth), Col: N(1), Batch: []Expr{N(0), N(outC * depth)}},
		B:        Matrix{DType: s.DType, Batch: []Expr{image.MulN(s.InC), image.MulN(inC)}},
		C:        Matrix{DType: s.DType, Row: pixels, Col: N(1), Batch: []Expr{pixels.MulN(s.OutC), pixels.MulN(outC)}},
		Math:     s.Math,
		Epilogue: s.Epilogue,
		Extra:    s.Extra,
	}
	plain := s.H.plain() && s.W.plain()
	if plain {
		// A 1x1 window: the image is the matrix.
		g.B.Row, g.B.Col = image, N(1)
	} else {
		g.conv = &s
		g.B.Row, g.B.Col = N(1), N(1) // unused
	}
	return g.Kernel()
}

func (w Window) plain() bool {
	return w.Size == 1 && w.Stride == 1 && w.Pad == 0 && w.In.Equal(w.Out)
}

// image makes operand B fetch windows of the image: x is the output pixel, k runs over (channel, row, column)
// of the window.
func (s *Conv) image(w *gemmKernel, o *operand, src *source) {
	src.xStride, src.kStride = w.Const(0), w.Const(0)
	outW := w.dim(s.W.Out)
	h, wd := w.dim(s.H.In), w.dim(s.W.In)
	plane := w.dim(s.H.In.Mul(s.W.In))
	kk := s.H.Size * s.W.Size
	es := s.DType.Size()
	type corner struct{ y, x asm.U32 }
	corners := map[*chunk]corner{}
	o.begin = func(c *chunk) {
		oy, ox := c.x.DivRem(outW)
		corners[c] = corner{oy.MulI(s.H.Stride).AddI(-s.H.Pad), ox.MulI(s.W.Stride).AddI(-s.W.Pad)}
	}
	o.image = func(k asm.U32, c *chunk) (asm.U64, asm.Pred) {
		at := corners[c]
		channel, rest := k.DivRem(w.Const(kk))
		ky, kx := rest.DivRem(w.Const(s.W.Size))
		iy, ix := ky.MadI(s.H.Dilation, at.y), kx.MadI(s.W.Dilation, at.x)
		// a coordinate left of the image is a huge unsigned number
		inside := iy.Lt(h).And(ix.Lt(wd))
		return c.base.AtMul(channel, plane, es).AtS(iy.Mad(wd, ix), es), inside
	}
}

// Depthwise is a convolution with one input channel per group and as many output channels as Mult times the
// input's, computed one output per thread. Epilogue as in Conv. Buffers: a = weight, b = image, extras, c.
type Depthwise struct {
	Batch    Expr
	C, Mult  int
	H, W     Window
	DType    dtype
	Epilogue Program
	Extra    []Matrix // strides over (channel, pixel); batch is (image)
}

// Kernel writes the kernel.
func (s Depthwise) Kernel() (*Kernel, error) {
	if len(s.Epilogue.Inputs) == 0 {
		s.Epilogue = Program{Inputs: []dtype{tensor.F32}, Outputs: []Result{{0, s.DType}}}
	}
	if _, err := s.Epilogue.check(); err != nil {
		return nil, err
	}
	if s.Epilogue.usesCoord() || len(s.Epilogue.Inputs) != len(s.Extra)+1 || len(s.Epilogue.Outputs) != 1 {
		return nil, fmt.Errorf("ptx: depthwise: epilogue of %d inputs with %d extra tensors", len(s.Epilogue.Inputs), len(s.Extra))
	}
	b := newKernel("depthwise", elementwiseThreads)
	b.doc("depthwise convolution, %d channels x %d, window %dx%d", s.C, s.Mult, s.H.Size, s.W.Size)
	outC := s.C * s.Mult
	pixels := s.H.Out.Mul(s.W.Out)
	total := s.Batch.MulN(outC).Mul(pixels)
	window := s.H.Size * s.W.Size
	b.k.Grid = [3]Expr{total.CeilDiv(elementwiseThreads), N(1), N(1)}
	b.k.Cost = Cost{
		FLOPs: total.MulN(2 * window),
		Bytes: total.Add(s.Batch.MulN(s.C).Mul(s.H.In).Mul(s.W.In)).AddN(outC * window).MulN(s.DType.Size()),
	}
	b.k.Limits = Limits{Registers: 80}
	weight, img := b.buffer("a", s.DType, Read), b.buffer("b", s.DType, Read)
	var extra []asm.U64
	for i := range s.Extra {
		extra = append(extra, b.buffer(fmt.Sprintf("extra%d", i+1), s.Epilogue.Inputs[i+1], Read))
	}
	out := b.buffer("c", s.Epilogue.Outputs[0].DType, Write)
	n, pix, outW := b.dim(total), b.dim(pixels), b.dim(s.W.Out)
	h, w := b.dim(s.H.In), b.dim(s.W.In)
	plane := b.dim(s.H.In.Mul(s.W.In))
	var views []viewDims
	for _, m := range s.Extra {
		views = append(views, b.viewDims([]View{{Strides: append(append([]Expr{}, m.Batch...), m.Row, m.Col), Offset: m.Offset}})...)
	}
	at := b.BlockX().MadI(elementwiseThreads, b.Tid()).As("at")
	b.ExitIf(at.Ge(n))
	rest, pixel := at.DivRem(pix)
	imageAt, channel := rest.DivRem(b.Const(outC))
	oy, ox := pixel.DivRem(outW)
	y0, x0 := oy.MulI(s.H.Stride).AddI(-s.H.Pad), ox.MulI(s.W.Stride).AddI(-s.W.Pad)
	es := s.DType.Size()
	base := img.AtMul(imageAt.MadI(s.C, channel.DivI(s.Mult)), plane, es)
	taps := weight.At(channel.MulI(window), es)
	acc := b.ConstF(0).Var("acc")
	b.For("ky", b.Const(0), b.Const(s.H.Size), 1, func(ky asm.U32) {
		iy := ky.MadI(s.H.Dilation, y0)
		b.If(iy.Lt(h), func() {
			for kx := range s.W.Size {
				ix := x0.AddI(kx * s.W.Dilation)
				b.If(ix.Lt(w), func() {
					tap := loadF(taps.At(ky.MulI(s.W.Size), es), s.DType, kx*es)
					acc.FmaTo(loadF(base.At(iy.Mad(w, ix), es), s.DType, 0), tap)
				})
			}
		})
	})
	args := []value{{f: acc}}
	for i, m := range s.Extra {
		coords := []asm.U32{channel, pixel}
		if len(m.Batch) == 1 {
			coords = append([]asm.U32{imageAt}, coords...)
		}
		dt := s.Epilogue.Inputs[i+1]
		args = append(args, load(extra[i].At(views[i].at(coords), dt.Size()), dt, 0))
	}
	dt := s.Epilogue.Outputs[0].DType
	store(b.Func, out.At(at, dt.Size()), dt, 0, s.Epilogue.emit(b.Func, args)[0])
	return b.done(), nil
}

// Pool is a max or average pool over [Planes, H, W]. Average counts the padding only with CountPad.
// Buffers: x, y.
type Pool struct {
	Planes   Expr
	H, W     Window
	DType    dtype
	Max      bool
	CountPad bool
}

// Kernel writes the kernel.
func (s Pool) Kernel() (*Kernel, error) {
	if k, err := kindOf(s.DType); err != nil || k != floatKind {
		return nil, fmt.Errorf("ptx: pool of %s", s.DType)
	}
	b := newKernel("pool", elementwiseThreads)
	b.doc("pool (max %t), window %dx%d", s.Max, s.H.Size, s.W.Size)
	pixels := s.H.Out.Mul(s.W.Out)
	total := s.Planes.Mul(pixels)
	b.k.Grid = [3]Expr{total.CeilDiv(elementwiseThreads), N(1), N(1)}
	b.k.Cost = Cost{
		FLOPs: total.MulN(s.H.Size * s.W.Size),
		Bytes: total.Add(s.Planes.Mul(s.H.In).Mul(s.W.In)).MulN(s.DType.Size()),
	}
	b.k.Limits = Limits{Registers: 64}
	x, y := b.buffer("x", s.DType, Read), b.buffer("y", s.DType, Write)
	n, pix, outW := b.dim(total), b.dim(pixels), b.dim(s.W.Out)
	h, w := b.dim(s.H.In), b.dim(s.W.In)
	plane := b.dim(s.H.In.Mul(s.W.In))
	at := b.BlockX().MadI(elementwiseThreads, b.Tid()).As("at")
	b.ExitIf(at.Ge(n))
	p, pixel := at.DivRem(pix)
	oy, ox := pixel.DivRem(outW)
	y0, x0 := oy.MulI(s.H.Stride).AddI(-s.H.Pad), ox.MulI(s.W.Stride).AddI(-s.W.Pad)
	es := s.DType.Size()
	base := x.AtMul(p, plane, es)
	start := float32(0)
	if s.Max {
		start = float32(math.Inf(-1))
	}
	acc, count := b.ConstF(start).Var("acc"), b.Const(0).Var("count")
	b.For("ky", b.Const(0), b.Const(s.H.Size), 1, func(ky asm.U32) {
		iy := ky.MadI(s.H.Dilation, y0)
		b.If(iy.Lt(h), func() {
			b.For("kx", b.Const(0), b.Const(s.W.Size), 1, func(kx asm.U32) {
				ix := kx.MadI(s.W.Dilation, x0)
				b.If(ix.Lt(w), func() {
					v := loadF(base.At(iy.Mad(w, ix), es), s.DType, 0)
					if s.Max {
						acc.Set(acc.MaxNaN(v))
					} else {
						acc.AddTo(v)
						count.Set(count.AddI(1))
					}
				})
			})
		})
	})
	v := acc
	if !s.Max {
		by := count.F32()
		if s.CountPad {
			by = b.ConstF(float32(s.H.Size * s.W.Size))
		}
		v = acc.Div(by)
	}
	storeF(b.Func, y.At(at, es), s.DType, 0, v)
	return b.done(), nil
}
