package ops

import (
	"fmt"
	"math"
	"math/bits"
	"math/cmplx"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// DFTAttrs are the attributes of DFT.
type DFTAttrs struct {
	Inverse  bool `attr:"inverse"`
	Onesided bool `attr:"onesided"`
}

// STFTAttrs are the attributes of STFT.
type STFTAttrs struct {
	Onesided bool `attr:"onesided"`
}

func dftOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "DFT", Since: 20, Doc: "Discrete Fourier transform along an axis of [..., 1 or 2] (real, or real and imaginary).",
			Attrs: func() any { return &DFTAttrs{} },
			MinIn: 1, MaxIn: 3, MinOut: 1, MaxOut: 1, Infer: inferDFT, Eval: evalDFT,
		},
		{
			Name: "STFT", Since: 17, Doc: "Fourier transforms of windowed frames of a signal.",
			Attrs: func() any { return &STFTAttrs{Onesided: true} },
			MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1, Infer: inferSTFT, Eval: evalSTFT,
		},
	}
}

// dftSizes are the transform's length and how many positions come out, for n going in.
func (a *DFTAttrs) sizes(n, length int64) (transform, out int64) {
	transform = n
	if a.Inverse && a.Onesided {
		transform = 2 * (n - 1)
	}
	if length > 0 {
		transform = length
	}
	if a.Onesided && !a.Inverse {
		return transform, transform/2 + 1
	}
	return transform, transform
}

func inferDFT(c *ir.InferCtx) error {
	if err := wantFloat(c, 0); err != nil {
		return err
	}
	a, x := c.Attrs.(*DFTAttrs), c.In(0)
	if err := wantRank("the input", x, 2, -1); err != nil {
		return err
	}
	out := anyShape(x)
	c.SetOut(0, out)
	axis := ir.Dim{Size: -2}
	if c.Has(2) {
		d, ok := c.Dims(2)
		if !ok || len(d) != 1 || d[0].Name != "" {
			return nil
		}
		axis = d[0]
	}
	if !x.Ranked {
		return nil
	}
	at, err := normAxis(axis.Size, x.Rank())
	if err != nil {
		return err
	}
	copy(out.Shape, x.Shape)
	out.Shape[at] = ir.Unknown()
	last := len(out.Shape) - 1
	if out.Shape[last] = ir.Known(2); a.Inverse && a.Onesided {
		out.Shape[last] = ir.Known(1)
	}
	length := ir.Known(0)
	if c.Has(1) {
		length = ir.Unknown()
		if d, ok := c.Dims(1); ok && len(d) == 1 {
			length = d[0]
		}
	}
	if x.Shape[at].IsKnown() && length.IsKnown() {
		if _, n := a.sizes(x.Shape[at].Size, length.Size); n >= 0 {
			out.Shape[at] = ir.Known(n)
		}
	}
	return nil
}

func evalDFT(c *ir.EvalCtx) error {
	if err := need(c, 0); err != nil {
		return err
	}
	a, x := c.Attrs.(*DFTAttrs), c.In(0)
	axis, length := int64(-2), int64(0)
	var err error
	if c.Has(1) {
		if length, err = scalarOf("dft_length", c.In(1)); err != nil {
			return err
		}
		if length < 1 || length > windowLimit {
			return fmt.Errorf("%w: dft_length %d", ir.ErrInput, length)
		}
	}
	if c.Has(2) {
		if axis, err = scalarOf("the axis", c.In(2)); err != nil {
			return err
		}
	}
	last := x.Rank() - 1
	at, err := normAxis(axis, x.Rank())
	if err != nil {
		return err
	}
	if last < 1 || at == last || x.Shape()[last] != 1 && x.Shape()[last] != 2 {
		return fmt.Errorf("%w: DFT of %s along axis %d", ir.ErrShape, x, at)
	}
	v, err := reals[float64](x)
	if err != nil {
		return err
	}
	n, parts := x.Shape()[at], x.Shape()[last]
	size, m := a.sizes(int64(n), length)
	if size < 1 {
		return fmt.Errorf("%w: transform of length %d", ir.ErrShape, size)
	}
	shape := append([]int(nil), x.Shape()...)
	outParts := 2
	if a.Inverse && a.Onesided {
		outParts = 1
	}
	shape[at], shape[last] = int(m), outParts
	out, err := outReals[float64](c, 0, x.DType(), shape...)
	if err != nil {
		return err
	}
	outer, inner := tensor.NumElems(shape[:at]), tensor.NumElems(shape[at+1:last])
	buf := make([]complex128, size)
	for o := range outer {
		for i := range inner {
			clear(buf)
			for k := range min(n, int(size)) {
				p := ((o*n+k)*inner + i) * parts
				im := 0.0
				if parts == 2 {
					im = v[p+1]
				}
				buf[k] = complex(v[p], im)
			}
			if a.Inverse && a.Onesided { // the other half is the mirrored conjugate
				for k := int(size)/2 + 1; k < int(size); k++ {
					buf[k] = cmplx.Conj(buf[int(size)-k])
				}
			}
			y := fourier(buf, a.Inverse)
			for k := range int(m) {
				p := ((o*int(m)+k)*inner + i) * outParts
				if out.V[p] = real(y[k]); outParts == 2 {
					out.V[p+1] = imag(y[k])
				}
			}
		}
	}
	out.Store()
	return nil
}

// fourier is the transform of x, scaled by 1/n when inverse: radix 2 for powers of two,
// else Bluestein's convolution with them.
func fourier(x []complex128, inverse bool) []complex128 {
	n := len(x)
	sign := -1.0
	if inverse {
		sign = 1
	}
	var y []complex128
	if n&(n-1) == 0 {
		y = append([]complex128(nil), x...)
		radix2(y, sign)
	} else {
		y = bluestein(x, sign)
	}
	if inverse {
		for i := range y {
			y[i] /= complex(float64(n), 0)
		}
	}
	return y
}

func radix2(x []complex128, sign float64) {
	n := len(x)
	if n < 2 {
		return
	}
	shift := 64 - bits.TrailingZeros(uint(n))
	for i := range x {
		if j := int(bits.Reverse64(uint64(i)) >> shift); j > i {
			x[i], x[j] = x[j], x[i]
		}
	}
	for span := 1; span < n; span *= 2 {
		for k := range span {
			w := cmplx.Rect(1, sign*math.Pi*float64(k)/float64(span))
			for i := k; i < n; i += 2 * span {
				t := w * x[i+span]
				x[i], x[i+span] = x[i]+t, x[i]-t
			}
		}
	}
}

func bluestein(x []complex128, sign float64) []complex128 {
	n := len(x)
	m := 1 << bits.Len(uint(2*n-1))
	chirp := make([]complex128, n)
	for i := range chirp { // i*i mod 2n keeps the angle exact
		chirp[i] = cmplx.Rect(1, sign*math.Pi*float64(uint64(i)*uint64(i)%uint64(2*n))/float64(n))
	}
	a, b := make([]complex128, m), make([]complex128, m)
	for i, e := range x {
		a[i] = e * chirp[i]
		b[i] = cmplx.Conj(chirp[i])
		if i > 0 {
			b[m-i] = b[i]
		}
	}
	radix2(a, -1)
	radix2(b, -1)
	for i := range a {
		a[i] *= b[i]
	}
	radix2(a, 1)
	out := make([]complex128, n)
	for i := range out {
		out[i] = a[i] * chirp[i] / complex(float64(m), 0)
	}
	return out
}

func inferSTFT(c *ir.InferCtx) error {
	if err := wantFloat(c, 0, 2); err != nil {
		return err
	}
	x := c.In(0)
	if err := wantRank("the signal", x, 2, 3); err != nil {
		return err
	}
	out := []ir.Dim{ir.Unknown(), ir.Unknown(), ir.Unknown(), ir.Known(2)}
	if x.Ranked {
		out[0] = x.Shape[0]
	}
	frame := ir.Unknown()
	if d, ok := c.Dims(3); ok && len(d) == 1 {
		frame = d[0]
	} else if w := c.In(2); w.Rank() == 1 {
		frame = w.Shape[0]
	}
	if frame.IsKnown() {
		if out[2] = frame; c.Attrs.(*STFTAttrs).Onesided {
			out[2] = ir.Known(frame.Size/2 + 1)
		}
		step, ok := c.Dims(1)
		if ok && len(step) == 1 && step[0].Size > 0 && x.Ranked && x.Shape[1].Size >= frame.Size {
			out[1] = ir.Known((x.Shape[1].Size-frame.Size)/step[0].Size + 1)
		}
	}
	c.SetOut(0, ir.MakeType(x.DType, out...))
	return nil
}

func evalSTFT(c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	x := c.In(0)
	if err := tensorRank("the signal", x, 2, 3); err != nil {
		return err
	}
	parts := 1
	if x.Rank() == 3 {
		parts = x.Shape()[2]
	}
	batch, n := x.Shape()[0], x.Shape()[1]
	step, err := scalarOf("frame_step", c.In(1))
	if err != nil {
		return err
	}
	frame := int64(n)
	if c.Has(3) {
		if frame, err = scalarOf("frame_length", c.In(3)); err != nil {
			return err
		}
	} else if c.Has(2) {
		frame = int64(c.In(2).Len())
	}
	if step < 1 || frame < 1 || frame > int64(n) || parts != 1 && parts != 2 {
		return fmt.Errorf("%w: frames of %d every %d of %s", ir.ErrShape, frame, step, x)
	}
	if err := wantShape("the window", c.In(2), int(frame)); err != nil {
		return err
	}
	v, err := allReals[float64](x, c.In(2))
	if err != nil {
		return err
	}
	frames, bins := (int64(n)-frame)/step+1, frame
	if c.Attrs.(*STFTAttrs).Onesided {
		bins = frame/2 + 1
	}
	out, err := outReals[float64](c, 0, x.DType(), batch, int(frames), int(bins), 2)
	if err != nil {
		return err
	}
	buf := make([]complex128, frame)
	for b := range batch {
		for f := range int(frames) {
			for k := range buf {
				p := (b*n + f*int(step) + k) * parts
				im, w := 0.0, 1.0
				if parts == 2 {
					im = v[0][p+1]
				}
				if v[1] != nil {
					w = v[1][k]
				}
				buf[k] = complex(v[0][p]*w, im*w)
			}
			for k, y := range fourier(buf, false)[:bins] {
				p := ((b*int(frames)+f)*int(bins) + k) * 2
				out.V[p], out.V[p+1] = real(y), imag(y)
			}
		}
	}
	out.Store()
	return nil
}
