package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// FusedMatMulAttrs: alpha times the product of operands whose last two dimensions may
// be exchanged first.
type FusedMatMulAttrs struct {
	Alpha       float32 `attr:"alpha"`
	TransA      bool    `attr:"transA"`
	TransB      bool    `attr:"transB"`
	TransBatchA bool    `attr:"transBatchA"`
	TransBatchB bool    `attr:"transBatchB"`
}

// MatMulNBitsAttrs: B has N rows of K numbers of Bits bits, in blocks of BlockSize that
// share a scale. AccuracyLevel permits less precise arithmetic, which is not used.
type MatMulNBitsAttrs struct {
	K             int64 `attr:"K"`
	N             int64 `attr:"N"`
	Bits          int64 `attr:"bits"`
	BlockSize     int64 `attr:"block_size"`
	AccuracyLevel int64 `attr:"accuracy_level"`
}

func microsoftMatMulOps() []*ir.Op {
	bytes := typeSet(1<<tensor.I8 | 1<<tensor.U8)
	return []*ir.Op{
		typed(&ir.Op{
			Domain: ir.DomainMicrosoft, Name: "FusedMatMul", Since: 1,
			Doc:   "alpha*A*B, with the last two dimensions of A or B exchanged on request.",
			Attrs: func() any { return &FusedMatMulAttrs{Alpha: 1} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: inferFusedMatMul,
			Eval:  halfViaF32(evalFusedMatMul),
			Cost: func(c *ir.CostCtx) ir.Cost {
				cost := costMatMul(c)
				if s, ok := c.Ins[0].Static(); ok && c.Attrs.(*FusedMatMulAttrs).TransA && len(s) > 1 && s[len(s)-1] > 0 {
					cost.FLOPs = cost.FLOPs / int64(s[len(s)-1]) * int64(s[len(s)-2])
				}
				return cost
			},
		}, floatTypes),
		typed(&ir.Op{
			Domain: ir.DomainMicrosoft, Name: "MatMulNBits", Since: 1,
			Doc:   "A times the transpose of a matrix kept in 2, 4 or 8 bits with scales per block.",
			Attrs: func() any { return &MatMulNBitsAttrs{Bits: 4} },
			MinIn: 3, MaxIn: 6, MinOut: 1, MaxOut: 1,
			Infer: inferMatMulNBits,
			Eval:  halfViaF32(evalMatMulNBits),
			Cost:  costMatMul,
		}, floatTypes, 1<<tensor.U8, floatTypes, floatTypes|1<<tensor.U8, 1<<tensor.I32, floatTypes),
		typed(&ir.Op{
			Domain: ir.DomainMicrosoft, Name: "MatMulIntegerToFloat", Since: 1,
			Doc:   "Matrix product of bytes less their zero points, times both scales, plus a bias.",
			MinIn: 4, MaxIn: 7, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { return inferMatMul(c, c.In(2).DType) },
			Eval: halfViaF32(func(c *ir.EvalCtx) error {
				return integerToFloat(c, c.In(0), c.In(1), c.In(2), c.In(3), c.In(4), c.In(5), c.In(6))
			}),
			Cost: costMatMul,
		}, bytes, bytes, floatTypes, floatTypes, bytes, bytes, floatTypes),
		typed(&ir.Op{
			Domain: ir.DomainMicrosoft, Name: "DynamicQuantizeMatMul", Since: 1,
			Doc:   "A quantized by its range, times quantized B, back in float32, plus a bias.",
			MinIn: 3, MaxIn: 5, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { return inferMatMul(c, tensor.F32) },
			Eval:  evalDynamicQuantizeMatMul,
			Cost:  costMatMul,
		}, 1<<tensor.F32, bytes, 1<<tensor.F32, bytes, 1<<tensor.F32),
	}
}

func (a *FusedMatMulAttrs) check() error {
	if a.TransBatchA || a.TransBatchB {
		return fmt.Errorf("%w: transBatchA and transBatchB are not supported", ir.ErrAttr)
	}
	return nil
}

// swapLast exchanges the last two dimensions of anything that has two.
func swapLast[T any](s []T, swap bool) []T {
	n := len(s)
	if !swap || n < 2 {
		return s
	}
	s = slices.Clone(s)
	s[n-1], s[n-2] = s[n-2], s[n-1]
	return s
}

func inferFusedMatMul(c *ir.InferCtx) error {
	a := c.Attrs.(*FusedMatMulAttrs)
	if err := a.check(); err != nil {
		return err
	}
	dt, err := inferSameTypes(c, 0, 1)
	if err != nil {
		return err
	}
	x, y := c.In(0), c.In(1)
	if !x.Ranked || !y.Ranked {
		c.SetOut(0, ir.Unranked(dt))
		return nil
	}
	s, err := matmulDims(swapLast(x.Shape, a.TransA), swapLast(y.Shape, a.TransB))
	if err != nil {
		return err
	}
	c.SetOut(0, ir.MakeType(dt, s...))
	return nil
}

func evalFusedMatMul(c *ir.EvalCtx) error {
	a := c.Attrs.(*FusedMatMulAttrs)
	if err := a.check(); err != nil {
		return err
	}
	if err := sameTypes(c, 0, 1); err != nil {
		return err
	}
	inner := *c
	inner.Ins = []*tensor.Tensor{lastSwapped(c.In(0), a.TransA), lastSwapped(c.In(1), a.TransB)}
	if err := evalMatMul(&inner); err != nil {
		return err
	}
	if out := inner.Outs[0]; a.Alpha != 1 {
		return mapNumbers(out, out, unaryFormula{f: func(v float64) float64 { return v * float64(a.Alpha) }})
	}
	return nil
}

// lastSwapped is x with its last two dimensions exchanged.
func lastSwapped(x *tensor.Tensor, swap bool) *tensor.Tensor {
	if !swap || x.Rank() < 2 {
		return x
	}
	out := tensor.New(x.DType(), swapLast(x.Shape(), true)...)
	copyStrided(out, x, 0, swapLast(tensor.Strides(x.Shape()), true))
	return out
}

func (a *MatMulNBitsAttrs) check() error {
	if a.K < 1 || a.N < 1 || a.K > 1<<31 || a.N > 1<<31 || a.Bits != 2 && a.Bits != 4 && a.Bits != 8 ||
		a.BlockSize < 16 || a.BlockSize > 1<<20 || a.BlockSize&(a.BlockSize-1) != 0 {
		return fmt.Errorf("%w: %d rows of %d numbers of %d bits in blocks of %d", ir.ErrAttr, a.N, a.K, a.Bits, a.BlockSize)
	}
	return nil
}

func inferMatMulNBits(c *ir.InferCtx) error {
	a, x := c.Attrs.(*MatMulNBitsAttrs), c.In(0)
	if err := a.check(); err != nil {
		return err
	}
	if c.Has(4) {
		return fmt.Errorf("%w: g_idx is not supported", ir.ErrInput)
	}
	if !x.Ranked {
		c.SetOut(0, ir.Unranked(x.DType))
		return nil
	}
	n := len(x.Shape)
	if n == 0 || !dimsMayEqual(x.Shape[n-1], ir.Known(a.K)) {
		return fmt.Errorf("%w: %s times a matrix of %d rows", ir.ErrShape, x, a.K)
	}
	s := slices.Clone(x.Shape)
	s[n-1] = ir.Known(a.N)
	c.SetOut(0, ir.MakeType(x.DType, s...))
	return nil
}

func evalMatMulNBits(c *ir.EvalCtx) error {
	a, x := c.Attrs.(*MatMulNBitsAttrs), c.In(0)
	if err := a.check(); err != nil {
		return err
	}
	if c.Has(4) {
		return fmt.Errorf("%w: g_idx is not supported", ir.ErrInput)
	}
	k, n := int(a.K), int(a.N)
	if x.Rank() == 0 || x.Shape()[x.Rank()-1] != k {
		return fmt.Errorf("%w: %s times a matrix of %d rows", ir.ErrShape, x, k)
	}
	b, err := a.unpack(c)
	if err != nil {
		return err
	}
	shape := slices.Clone(x.Shape())
	shape[len(shape)-1] = n
	out, err := c.Out(0, x.DType(), shape...)
	if err != nil {
		return err
	}
	v, err := floatsOf(x)
	if err != nil {
		return err
	}
	z := make([]float64, out.Len())
	matMul(z, v, b, x.Len()/k, k, n)
	if bias := c.In(5); bias != nil {
		w, err := floatsOf(bias)
		if err != nil {
			return err
		}
		if len(w) != n {
			return fmt.Errorf("%w: bias %s for %d columns", ir.ErrShape, bias, n)
		}
		for i := range z {
			z[i] += w[i%n]
		}
	}
	return storeFloats(out, z, true)
}

// unpack is B as a [K,N] matrix of numbers.
func (a *MatMulNBitsAttrs) unpack(c *ir.EvalCtx) ([]float64, error) {
	k, n, bits, size := int(a.K), int(a.N), int(a.Bits), int(a.BlockSize)
	blocks := (k + size - 1) / size
	rowBytes, perByte, mask := blocks*size*bits/8, 8/bits, uint8(1<<bits-1)
	if c.In(1).Len() != n*rowBytes {
		return nil, fmt.Errorf("%w: packed weights %s, want %d bytes", ir.ErrShape, c.In(1), n*rowBytes)
	}
	packed := tensor.Data[uint8](c.In(1))
	scales, err := floatsOf(c.In(2))
	if err != nil {
		return nil, err
	}
	if len(scales) != n*blocks {
		return nil, fmt.Errorf("%w: scales %s, want %d", ir.ErrShape, c.In(2), n*blocks)
	}
	zero := func(_, _ int) float64 { return float64(int(1) << (bits - 1)) }
	if z := c.In(3); z != nil {
		v, err := floatsOf(z)
		if err != nil {
			return nil, err
		}
		zeroBytes := (blocks*bits + 7) / 8
		switch {
		case z.DType() == tensor.U8 && len(v) == n*zeroBytes:
			q := tensor.Data[uint8](z)
			zero = func(row, block int) float64 {
				return float64(q[row*zeroBytes+block/perByte] >> (block % perByte * bits) & mask)
			}
		case z.DType() != tensor.U8 && len(v) == n*blocks:
			zero = func(row, block int) float64 { return v[row*blocks+block] }
		default:
			return nil, fmt.Errorf("%w: zero points %s for %d blocks", ir.ErrShape, z, n*blocks)
		}
	}
	b := make([]float64, k*n)
	for row := range n {
		for i := range k {
			q := packed[row*rowBytes+i/perByte] >> (i % perByte * bits) & mask
			b[i*n+row] = (float64(q) - zero(row, i/size)) * scales[row*blocks+i/size]
		}
	}
	return b, nil
}

// integerToFloat writes (a-az)(b-bz)*as*bs + bias to output 0. Scales, zero points and
// bias may be nil, scalars, or, for b, vectors over the columns.
func integerToFloat(c *ir.EvalCtx, a, b, as, bs, az, bz, bias *tensor.Tensor) error {
	s, err := matmulShapes(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	x, err := lessZeroPoint(a, az, a.Rank()-2)
	if err != nil {
		return err
	}
	y, err := lessZeroPoint(b, bz, b.Rank()-1)
	if err != nil {
		return err
	}
	out, err := c.Out(0, as.DType(), s.out...)
	if err != nil {
		return err
	}
	sums := make([]int32, out.Len())
	batchMatMul(s, x, y, sums)
	z := make([]float64, len(sums))
	store(z, sums)
	for _, p := range []struct {
		t   *tensor.Tensor
		mul bool
	}{{as, true}, {bs, true}, {bias, false}} {
		if p.t == nil {
			continue
		}
		v, err := floatsOf(p.t)
		if err != nil {
			return err
		}
		at, err := alongLines(p.t, out, max(out.Rank()-1, 0))
		if err != nil {
			return err
		}
		for i := range z {
			if p.mul {
				z[i] *= v[at(i)]
			} else {
				z[i] += v[at(i)]
			}
		}
	}
	return storeFloats(out, z, true)
}

func evalDynamicQuantizeMatMul(c *ir.EvalCtx) error {
	q := *c
	q.Ins, q.Outs, q.Alloc = c.Ins[:1], make([]*tensor.Tensor, 3), nil
	if err := evalDynamicQuantize(&q); err != nil {
		return err
	}
	return integerToFloat(c, q.Outs[0], c.In(1), q.Outs[1], c.In(2), q.Outs[2], c.In(3), c.In(4))
}
