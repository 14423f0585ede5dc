package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
)

func detOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "Det", Since: 22, Doc: "Determinants of square matrices.",
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			x := c.In(0)
			if !x.Ranked {
				c.SetOut(0, ir.Unranked(x.DType))
				return nil
			}
			n := len(x.Shape)
			if n < 2 || !dimsMayEqual(x.Shape[n-1], x.Shape[n-2]) {
				return fmt.Errorf("%w: %s is not square", ir.ErrShape, x)
			}
			c.SetOut(0, ir.MakeType(x.DType, x.Shape[:n-2]...))
			return nil
		},
		Eval: func(c *ir.EvalCtx) error {
			x := c.In(0)
			r := x.Rank()
			if r < 2 || x.Shape()[r-1] != x.Shape()[r-2] {
				return fmt.Errorf("%w: %s is not square", ir.ErrShape, x)
			}
			out, err := c.Out(0, x.DType(), x.Shape()[:r-2]...)
			if err != nil {
				return err
			}
			v, err := floatsOf(x)
			if err != nil {
				return err
			}
			n := x.Shape()[r-1]
			z := make([]float64, out.Len())
			for i := range z {
				z[i] = det(v[i*n*n:(i+1)*n*n], n)
			}
			return storeFloats(out, z, true)
		},
	}, floatTypes)}
}

// det eliminates in place with the largest pivot of each column.
func det(a []float64, n int) float64 {
	d := 1.0
	for k := range n {
		p := k
		for i := k + 1; i < n; i++ {
			if math.Abs(a[i*n+k]) > math.Abs(a[p*n+k]) {
				p = i
			}
		}
		if a[p*n+k] == 0 {
			return 0
		}
		if p != k {
			d = -d
			for j := range n {
				a[k*n+j], a[p*n+j] = a[p*n+j], a[k*n+j]
			}
		}
		d *= a[k*n+k]
		for i := k + 1; i < n; i++ {
			f := a[i*n+k] / a[k*n+k]
			for j := k; j < n; j++ {
				a[i*n+j] -= f * a[k*n+j]
			}
		}
	}
	return d
}
