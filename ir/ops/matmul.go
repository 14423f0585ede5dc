package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func matmulOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "MatMul", Since: 13, Doc: "Matrix product as numpy.matmul: batches broadcast, vectors become matrices and back.",
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				dt, err := inferSameTypes(c, 0, 1)
				if err != nil {
					return err
				}
				return inferMatMul(c, dt)
			},
			Eval: halfViaF32(func(c *ir.EvalCtx) error {
				if err := sameTypes(c, 0, 1); err != nil {
					return err
				}
				return evalMatMul(c)
			}),
			Cost: costMatMul,
		}, floatTypes|wideInts),
	}
}

// inferMatMul gives output 0 the shape of a matrix product of inputs 0 and 1.
func inferMatMul(c *ir.InferCtx, dt tensor.DType) error {
	a, b := c.In(0), c.In(1)
	if !a.Ranked || !b.Ranked {
		c.SetOut(0, ir.Unranked(dt))
		return nil
	}
	s, err := matmulDims(a.Shape, b.Shape)
	if err != nil {
		return err
	}
	c.SetOut(0, ir.MakeType(dt, s...))
	return nil
}

func matmulDims(a, b []ir.Dim) ([]ir.Dim, error) {
	if len(a) == 0 || len(b) == 0 {
		return nil, fmt.Errorf("%w: matrix product of a scalar", ir.ErrShape)
	}
	ka, kb := a[len(a)-1], b[max(len(b)-2, 0)]
	if !dimsMayEqual(ka, kb) {
		return nil, fmt.Errorf("%w: matrix product of %v and %v (%s is not %s)", ir.ErrShape, a, b, ka, kb)
	}
	out, err := BroadcastDims(a[:max(len(a)-2, 0)], b[:max(len(b)-2, 0)])
	if err != nil {
		return nil, err
	}
	if len(a) > 1 {
		out = append(out, a[len(a)-2])
	}
	if len(b) > 1 {
		out = append(out, b[len(b)-1])
	}
	return out, nil
}

// matmulShape describes a batched product: for each position of batch, an [m,k] matrix
// at offset offs[0] times a [k,n] one at offs[1].
type matmulShape struct {
	batch, out []int
	sa, sb     []int // strides of the operands along batch, in elements
	m, k, n    int
}

func matmulShapes(a, b []int) (s matmulShape, err error) {
	if len(a) == 0 || len(b) == 0 {
		return s, fmt.Errorf("%w: matrix product of a scalar", ir.ErrShape)
	}
	am, bm := a, b
	if len(a) == 1 {
		am = []int{1, a[0]}
	}
	if len(b) == 1 {
		bm = []int{b[0], 1}
	}
	ba, bb := am[:len(am)-2], bm[:len(bm)-2]
	s.m, s.k, s.n = am[len(am)-2], am[len(am)-1], bm[len(bm)-1]
	if bm[len(bm)-2] != s.k {
		return s, fmt.Errorf("%w: matrix product of %v and %v", ir.ErrShape, a, b)
	}
	if s.batch, err = BroadcastShapes(ba, bb); err != nil {
		return s, err
	}
	s.sa, s.sb = broadcastStrides(ba, s.batch), broadcastStrides(bb, s.batch)
	for i := range s.batch {
		s.sa[i] *= s.m * s.k
		s.sb[i] *= s.k * s.n
	}
	s.out = append([]int(nil), s.batch...)
	if len(a) > 1 {
		s.out = append(s.out, s.m)
	}
	if len(b) > 1 {
		s.out = append(s.out, s.n)
	}
	return s, nil
}

func evalMatMul(c *ir.EvalCtx) error {
	a, b := c.In(0), c.In(1)
	s, err := matmulShapes(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	out, err := c.Out(0, a.DType(), s.out...)
	if err != nil {
		return err
	}
	switch dt := a.DType(); dt {
	case tensor.F32:
		batchMatMul(s, tensor.Data[float32](a), tensor.Data[float32](b), tensor.Data[float32](out))
	case tensor.F64:
		batchMatMul(s, tensor.Data[float64](a), tensor.Data[float64](b), tensor.Data[float64](out))
	case tensor.I32:
		batchMatMul(s, tensor.Data[int32](a), tensor.Data[int32](b), tensor.Data[int32](out))
	case tensor.I64:
		batchMatMul(s, tensor.Data[int64](a), tensor.Data[int64](b), tensor.Data[int64](out))
	case tensor.U32:
		batchMatMul(s, tensor.Data[uint32](a), tensor.Data[uint32](b), tensor.Data[uint32](out))
	case tensor.U64:
		batchMatMul(s, tensor.Data[uint64](a), tensor.Data[uint64](b), tensor.Data[uint64](out))
	default:
		return badType(dt)
	}
	return nil
}

func batchMatMul[T number](s matmulShape, a, b, z []T) {
	eachIndex(s.batch, [][]int{s.sa, s.sb}, func(i int, o []int) {
		matMul(z[i*s.m*s.n:(i+1)*s.m*s.n], a[o[0]:o[0]+s.m*s.k], b[o[1]:o[1]+s.k*s.n], s.m, s.k, s.n)
	})
}

// matMul writes the product of a [m,k] and b [k,n] to z [m,n]. Every element is summed
// over k in rising order in T, whatever the sizes: the order that faster kernels are
// compared with, not bound to.
func matMul[T number](z, a, b []T, m, k, n int) {
	clear(z)
	// Blocks of b that stay in the first-level cache while all rows of a pass.
	const bk, bn = 64, 256
	for k0 := 0; k0 < k; k0 += bk {
		k1 := min(k0+bk, k)
		for n0 := 0; n0 < n; n0 += bn {
			n1 := min(n0+bn, n)
			for i := range m {
				row := z[i*n+n0 : i*n+n1]
				for p := k0; p < k1; p++ {
					addScaled(row, a[i*k+p], b[p*n+n0:p*n+n1])
				}
			}
		}
	}
}

// addScaled adds x*v to z. The conversion keeps compilers from fusing the product into
// the sum on machines that could: the result is the same on all.
func addScaled[T number](z []T, x T, v []T) {
	v = v[:len(z)]
	for j := range z {
		z[j] += T(x * v[j])
	}
}

func costMatMul(c *ir.CostCtx) ir.Cost {
	cost := costBytes(c)
	k, ok := c.Ins[0].Static()
	out, ok2 := c.Outs[0].Static()
	if ok && ok2 && len(k) > 0 {
		cost.FLOPs = 2 * int64(tensor.NumElems(out)) * int64(k[len(k)-1])
	}
	return cost
}

// costBytes counts each operand and result once.
func costBytes(c *ir.CostCtx) ir.Cost {
	var cost ir.Cost
	for _, ts := range [][]ir.Type{c.Ins, c.Outs} {
		for _, t := range ts {
			if s, ok := t.Static(); ok {
				cost.Bytes += int64(tensor.NumElems(s)) * int64(t.DType.Size())
			}
		}
	}
	return cost
}
