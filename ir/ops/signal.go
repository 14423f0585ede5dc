package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// WindowAttrs are the attributes of HannWindow, HammingWindow and BlackmanWindow.
type WindowAttrs struct {
	OutputDatatype tensor.DType `attr:"output_datatype"`
	Periodic       bool         `attr:"periodic"`
}

// MelAttrs are the attributes of MelWeightMatrix.
type MelAttrs struct {
	OutputDatatype tensor.DType `attr:"output_datatype"`
}

func signalOps() []*ir.Op {
	window := func(name, doc string, f func(phase float64) float64) *ir.Op {
		return &ir.Op{
			Name: name, Since: 17, Doc: doc,
			Attrs: func() any { return &WindowAttrs{OutputDatatype: tensor.F32, Periodic: true} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				n := ir.Unknown()
				if d, ok := c.Dims(0); ok && len(d) == 1 {
					if n = d[0]; n.Name == "" && n.Size < 0 {
						return fmt.Errorf("%w: size %d", ir.ErrInput, n.Size)
					}
				}
				c.SetOut(0, ir.MakeType(c.Attrs.(*WindowAttrs).OutputDatatype, n))
				return nil
			},
			Eval: func(c *ir.EvalCtx) error { return evalWindow(c, f) },
		}
	}
	const alpha = 25.0 / 46
	return []*ir.Op{
		window("HannWindow", "Hann window.", func(p float64) float64 { return 0.5 - 0.5*math.Cos(p) }),
		window("HammingWindow", "Hamming window.", func(p float64) float64 { return alpha - (1-alpha)*math.Cos(p) }),
		window("BlackmanWindow", "Blackman window.", func(p float64) float64 { return 0.42 - 0.5*math.Cos(p) + 0.08*math.Cos(2*p) }),
		{
			Name: "MelWeightMatrix", Since: 17, Doc: "Matrix that sums spectrogram bins into mel bins.",
			Attrs: func() any { return &MelAttrs{OutputDatatype: tensor.F32} },
			MinIn: 5, MaxIn: 5, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				rows, cols := ir.Unknown(), ir.Unknown()
				if d, ok := c.Dims(1); ok && len(d) == 1 && d[0].IsKnown() {
					rows = ir.Known(d[0].Size/2 + 1)
				}
				if d, ok := c.Dims(0); ok && len(d) == 1 && d[0].IsKnown() {
					cols = d[0]
				}
				c.SetOut(0, ir.MakeType(c.Attrs.(*MelAttrs).OutputDatatype, rows, cols))
				return nil
			},
			Eval: evalMel,
		},
	}
}

func evalWindow(c *ir.EvalCtx, f func(phase float64) float64) error {
	if err := need(c, 0); err != nil {
		return err
	}
	a := c.Attrs.(*WindowAttrs)
	n, err := scalarOf("the size", c.In(0))
	if err != nil {
		return err
	}
	if n < 0 || n > windowLimit || c.MaxElems > 0 && n > int64(c.MaxElems) {
		return fmt.Errorf("%w: a window of %d", ir.ErrInput, n)
	}
	period := float64(n)
	if !a.Periodic {
		period--
	}
	v := make([]float64, n)
	for i := range v {
		v[i] = f(2 * math.Pi * float64(i) / period)
	}
	return putNumbers(c, 0, a.OutputDatatype, v, int(n))
}

func evalMel(c *ir.EvalCtx) error {
	if err := need(c, 0, 1, 2, 3, 4); err != nil {
		return err
	}
	var in [5]float64
	for i := range in {
		v, err := reals[float64](c.In(i))
		if err != nil {
			return err
		}
		if len(v) != 1 || !(math.Abs(v[0]) < windowLimit) {
			return fmt.Errorf("%w: input %d is %s", ir.ErrInput, i, c.In(i))
		}
		in[i] = v[0]
	}
	bins, length, rate := int(in[0]), int(in[1]), in[2]
	if bins < 0 || length < 0 || rate < 1 || in[3] <= -700 || in[4] <= -700 {
		return fmt.Errorf("%w: MelWeightMatrix of %v", ir.ErrInput, in)
	}
	rows := length/2 + 1
	if n, ok := tensor.CheckedElems([]int{rows, bins}); !ok || n > windowLimit || c.MaxElems > 0 && n > c.MaxElems {
		return fmt.Errorf("%w: a %d by %d matrix", ir.ErrLimit, rows, bins)
	}
	mel := func(hz float64) float64 { return 2595 * math.Log10(1+hz/700) }
	low := mel(in[3])
	step := (mel(in[4]) - low) / float64(bins+2)
	edge := make([]int, bins+2)
	for i := range edge {
		hz := 700 * (math.Pow(10, (float64(i)*step+low)/2595) - 1)
		e := math.Floor((float64(length) + 1) * hz / rate)
		if e < 0 || e >= float64(rows) {
			return fmt.Errorf("%w: an edge of %v Hz lies outside the spectrogram", ir.ErrInput, hz)
		}
		edge[i] = int(e)
	}
	v := make([]float64, rows*bins)
	for i := range bins {
		lo, mid, hi := edge[i], edge[i+1], edge[i+2]
		if lo == mid {
			v[mid*bins+i] = 1
		}
		for j := lo; lo < mid && j <= mid; j++ {
			v[j*bins+i] = float64(j-lo) / float64(mid-lo)
		}
		for j := mid; j < hi; j++ {
			v[j*bins+i] = float64(hi-j) / float64(hi-mid)
		}
	}
	return putNumbers(c, 0, c.Attrs.(*MelAttrs).OutputDatatype, v, rows, bins)
}
