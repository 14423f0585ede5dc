package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// LayerNormAttrs are the attributes of LayerNormalization, RMSNormalization and
// com.microsoft's SimplifiedLayerNormalization.
type LayerNormAttrs struct {
	Axis      int64   `attr:"axis"`
	Epsilon   float32 `attr:"epsilon"`
	StashType int64   `attr:"stash_type"`
}

func newLayerNormAttrs() any { return &LayerNormAttrs{Axis: -1, Epsilon: 1e-5, StashType: 1} }

func layerNormOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "LayerNormalization", Since: 17, Doc: "Normalises the axes from axis on to mean 0 and variance 1, then scales and shifts.",
			Attrs: newLayerNormAttrs, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 3,
			Infer: func(c *ir.InferCtx) error {
				if _, err := inferSameTypes(c, 0, 1, 2); err != nil {
					return err
				}
				return inferLayerNorm(c)
			},
			Cost: normCost,
			Eval: func(c *ir.EvalCtx) error {
				return byFloat(c, 0, layerNorm[float32](true), layerNorm[float64](true))
			},
		},
		{
			Name: "RMSNormalization", Since: 23, Doc: "Divides by the root of the mean square over the axes from axis on, then scales.",
			Attrs: newLayerNormAttrs, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: inferRMSNorm, Cost: normCost,
			Eval: func(c *ir.EvalCtx) error {
				return byFloat(c, 0, layerNorm[float32](false), layerNorm[float64](false))
			},
		},
		simplifiedLayerNorm(ir.DomainONNX), // onnxruntime writes it without a domain
		simplifiedLayerNorm(ir.DomainMicrosoft),
	}
}

func simplifiedLayerNorm(domain string) *ir.Op {
	return &ir.Op{
		Domain: domain, Name: "SimplifiedLayerNormalization", Since: 1, Doc: "RMSNormalization under onnxruntime's older name.",
		Attrs: newLayerNormAttrs, MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 2,
		Infer: inferRMSNorm, Cost: normCost,
		Eval: func(c *ir.EvalCtx) error {
			return byFloat(c, 0, layerNorm[float32](false), layerNorm[float64](false))
		},
	}
}

// normCost: two passes for the statistics, one to apply them.
func normCost(c *ir.CostCtx) ir.Cost {
	return ir.Cost{FLOPs: 8 * knownElems(c.Ins[0]), Bytes: movedBytes(c.Ins, c.Outs)}
}

// inferLayerNorm: the result has the input's type, or the scale's where there is no mean.
func inferLayerNorm(c *ir.InferCtx) error { return inferNorm(c, true) }

func inferRMSNorm(c *ir.InferCtx) error { return inferNorm(c, false) }

func inferNorm(c *ir.InferCtx, centred bool) error {
	if err := wantFloat(c, 0, 1, 2); err != nil {
		return err
	}
	x := c.In(0)
	out := x
	if !centred && c.Has(1) {
		out.DType = c.In(1).DType
	}
	c.SetOut(0, out)
	stat := ir.Unranked(tensor.F32)
	if x.DType == tensor.F64 {
		stat.DType = tensor.F64
	}
	if x.Ranked {
		axis, err := normAxis(c.Attrs.(*LayerNormAttrs).Axis, x.Rank())
		if err != nil {
			return err
		}
		shape := append([]ir.Dim(nil), x.Shape...)
		for i := axis; i < len(shape); i++ {
			shape[i] = ir.Known(1)
		}
		stat = ir.MakeType(stat.DType, shape...)
		if s := c.In(1); s.Ranked {
			if s.Rank() > x.Rank() {
				return fmt.Errorf("%w: scale %s for %s", ir.ErrShape, s, x)
			}
			if _, err := BroadcastDims(x.Shape, s.Shape); err != nil {
				return err
			}
		}
	}
	c.SetOut(1, stat)
	c.SetOut(2, stat)
	return nil
}

// layerNorm evaluates the family: centred (LayerNormalization) or not (RMS). The
// statistics are accumulated in float64 and then kept in T, the stash type.
func layerNorm[T realElem](centred bool) func(*ir.EvalCtx) error {
	return func(c *ir.EvalCtx) error {
		if err := need(c, 0, 1); err != nil {
			return err
		}
		a := c.Attrs.(*LayerNormAttrs)
		x, scale, bias := c.In(0), c.In(1), c.In(2)
		axis, err := normAxis(a.Axis, x.Rank())
		if err != nil {
			return err
		}
		for _, p := range []*tensor.Tensor{scale, bias} {
			if p == nil {
				continue
			}
			if s, err := BroadcastShapes(x.Shape(), p.Shape()); err != nil || tensor.NumElems(s) != x.Len() || p.Rank() > x.Rank() {
				return fmt.Errorf("%w: %s does not broadcast to %s", ir.ErrShape, p, x)
			}
		}
		v, err := allReals[T](x, scale, bias)
		if err != nil {
			return err
		}
		dt := x.DType()
		if !centred && scale.DType().IsFloat() {
			dt = scale.DType()
		}
		out, err := outReals[T](c, 0, dt, x.Shape()...)
		if err != nil {
			return err
		}
		n := tensor.NumElems(x.Shape()[axis:])
		rows := tensor.NumElems(x.Shape()[:axis])
		mean, inv := make([]T, rows), make([]T, rows)
		for r := range rows {
			row, y := v[0][r*n:(r+1)*n], out.V[r*n:(r+1)*n]
			m, is := rowStats(row, centred, float64(a.Epsilon))
			mean[r], inv[r] = T(m), T(is)
			for i, e := range row {
				y[i] = (e - mean[r]) * inv[r]
			}
		}
		halfStep(out.V, x.DType())
		scaleShift(out.V, x.Shape(), v[1], scale, v[2], bias)
		out.Store()
		stats := [][]T{nil, mean, inv}
		if !centred {
			stats[1] = inv // SimplifiedLayerNormalization: the second output is the inverse deviation
		}
		statShape := append([]int(nil), x.Shape()...)
		for i := axis; i < len(statShape); i++ {
			statShape[i] = 1
		}
		for i := 1; i < len(c.Outs); i++ {
			s, err := outReals[T](c, i, tensor.DTypeOf[T](), statShape...)
			if err != nil {
				return err
			}
			copy(s.V, stats[i])
			s.Store()
		}
		return nil
	}
}

// halfStep rounds normalised values to the 16-bit type of the input before scaling, as
// the operator's function body does.
func halfStep[T realElem](v []T, dt tensor.DType) {
	switch dt {
	case tensor.F16:
		for i, x := range v {
			v[i] = T(tensor.ToFloat16(float32(x)).Float32())
		}
	case tensor.BF16:
		for i, x := range v {
			v[i] = T(tensor.ToBFloat16(float32(x)).Float32())
		}
	}
}

// rowStats is the mean (0 unless centred) and 1/sqrt(variance+eps) of a row.
func rowStats[T realElem](row []T, centred bool, eps float64) (mean, inv float64) {
	if len(row) == 0 {
		return 0, 0
	}
	n := float64(len(row))
	if centred {
		for _, x := range row {
			mean += float64(x)
		}
		mean /= n
	}
	var sq float64
	for _, x := range row {
		d := float64(x) - mean
		sq += d * d
	}
	return mean, 1 / math.Sqrt(sq/n+eps)
}

// scaleShift multiplies y by a broadcast scale and adds a broadcast shift, each if present.
func scaleShift[T realElem](y []T, shape []int, scale []T, st *tensor.Tensor, shift []T, ht *tensor.Tensor) {
	apply := func(p []T, t *tensor.Tensor, f func(a, b T) T) {
		if t == nil {
			return
		}
		if n := len(p); n > 0 && len(y)%n == 0 && suffix(t.Shape(), shape) {
			for i := range y {
				y[i] = f(y[i], p[i%n])
			}
			return
		}
		eachIndex(shape, [][]int{broadcastStrides(t.Shape(), shape)}, func(i int, o []int) { y[i] = f(y[i], p[o[0]]) })
	}
	apply(scale, st, func(a, b T) T { return a * b })
	apply(shift, ht, func(a, b T) T { return a + b })
}

// suffix reports whether s is the tail of shape.
func suffix(s, shape []int) bool {
	off := len(shape) - len(s)
	if off < 0 {
		return false
	}
	for i, d := range s {
		if shape[off+i] != d {
			return false
		}
	}
	return true
}
