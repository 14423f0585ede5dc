package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
)

// ConvTranspose is a transposed convolution of x [Batch, InC, H.In, W.In] with w [InC, OutC/Groups, H.Size, W.Size], in any
// float type. Each output looks for the inputs whose windows cover it, a thread per output. Buffers: x, w, [bias], y.
type ConvTranspose struct {
	Batch             Expr
	InC, OutC, Groups int
	H, W              Window // Out is the size of y, Pad what is cut in front of it
	DType             dtype
	Bias              bool
}

// Kernel writes the kernel.
func (s ConvTranspose) Kernel() (*Kernel, error) {
	k, err := kindOf(s.DType)
	if err != nil || k != floatKind && k != doubleKind {
		return nil, fmt.Errorf("ptx: transposed convolution of %s", s.DType)
	}
	if s.Groups < 1 || s.InC%s.Groups != 0 || s.OutC%s.Groups != 0 {
		return nil, fmt.Errorf("ptx: transposed convolution of %d to %d channels in %d groups", s.InC, s.OutC, s.Groups)
	}
	pixels := s.H.Out.Mul(s.W.Out)
	total := s.Batch.MulN(s.OutC).Mul(pixels)
	b, at := plainKernel("conv_transpose", total)
	b.doc("transposed convolution, window %dx%d, %d to %d channels", s.H.Size, s.W.Size, s.InC, s.OutC)
	perGroup, window, es := s.InC/s.Groups, s.H.Size*s.W.Size, s.DType.Size()
	image := s.H.In.Mul(s.W.In)
	b.k.Cost = Cost{
		FLOPs: s.Batch.Mul(image).MulN(2 * s.InC * s.OutC / s.Groups * window),
		Bytes: total.Add(s.Batch.MulN(s.InC).Mul(image)).AddN(s.InC * s.OutC / s.Groups * window).MulN(es),
	}
	x, w := b.buffer("x", s.DType, Read), b.buffer("w", s.DType, Read)
	var bias asm.U64
	if s.Bias {
		bias = b.buffer("bias", s.DType, Read)
	}
	y := b.buffer("y", s.DType, Write)
	n, pix, outW := b.dim(total), b.dim(pixels), b.dim(s.W.Out)
	h, wi, plane := b.dim(s.H.In), b.dim(s.W.In), b.dim(image)
	b.ExitIf(at.Ge(n))
	rest, pixel := at.DivRem(pix)
	sample, channel := rest.DivRem(b.Const(s.OutC))
	oy, ox := pixel.DivRem(outW)
	group, inGroup := channel.DivRem(b.Const(s.OutC / s.Groups))
	first := group.MulI(perGroup)
	base := x.AtMul(sample.MadI(s.InC, first), plane, es)
	taps := w.AtMul(first, b.Const(s.OutC/s.Groups*window), es).AtMul(inGroup, b.Const(window), es)
	acc := b.number(k, 0).variable("acc")
	// along is the input position whose tap k lands on output o, where there is one.
	along := func(o, k asm.U32, win Window, size asm.U32) (asm.U32, asm.Pred) {
		t := o.AddI(win.Pad).Sub(k.MulI(win.Dilation))
		q, r := t.DivRem(b.Const(win.Stride)) // a negative t is a huge one, past the size
		return q, t.LtSI(0).Not().And(r.EqI(0)).And(q.Lt(size))
	}
	b.For("ky", b.Const(0), b.Const(s.H.Size), 1, func(ky asm.U32) {
		iy, inside := along(oy, ky, s.H, h)
		b.If(inside, func() {
			b.For("kx", b.Const(0), b.Const(s.W.Size), 1, func(kx asm.U32) {
				ix, inside := along(ox, kx, s.W, wi)
				b.If(inside, func() {
					from, tap := base.At(iy.Mad(wi, ix), es), taps.At(ky.MadI(s.W.Size, kx), es)
					b.For("c", b.Const(0), b.Const(perGroup), 1, func(c asm.U32) {
						v := load(from.AtMul(c, plane, es), s.DType, 0)
						t := load(tap.AtMul(c, b.Const(s.OutC/s.Groups*window), es), s.DType, 0)
						acc.set(b.do("add", acc, b.do("mul", v, t)))
					})
				})
			})
		})
	})
	if s.Bias {
		acc.set(b.do("add", acc, load(bias.At(channel, es), s.DType, 0)))
	}
	store(b.Func, y.At(at, es), s.DType, 0, acc)
	return b.done(), nil
}
