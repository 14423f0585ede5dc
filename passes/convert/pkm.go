package convert

import (
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
)

// fitPKM lays the hidden units of an MLP out on a grid n1 x n2 and fits keys by least
// squares: unit (i,j) has the first-layer weights [k0_i ; k1_j], so the best k0_i is the
// mean of the first halves over a row of the grid, the best k1_j that of the second
// halves over a column. The values are the second layer's rows. It is the structure with
// a crude fit; a good one needs data.
func fitPKM(n *ir.Node, knn int, seed uint64) passes.PKMParams {
	w1, w2 := n.Inputs[ops.MLPInW1].Const, n.Inputs[ops.MLPInW2].Const
	d, f := w1.Shape()[0], w1.Shape()[1]
	n1 := gridSide(f)
	n2 := f / n1
	d1 := d / 2
	x := tensor.Data[float32](w1)
	first := make([][]float64, f)
	for u := range first {
		first[u] = make([]float64, max(d1, 1))
		for i := range d1 {
			first[u][i] = float64(x[i*f+u])
		}
	}
	// Rows of the grid hold units whose first halves are alike.
	units := balanced(first, n1, seed)
	k0, k1 := tensor.New(tensor.F32, 1, n1, d1), tensor.New(tensor.F32, 1, n2, d-d1)
	b0, b1 := tensor.New(tensor.F32, 1, n1), tensor.New(tensor.F32, 1, n2)
	keys0, keys1 := tensor.Data[float32](k0), tensor.Data[float32](k1)
	var bias []float32
	if len(n.Inputs) > ops.MLPInB1 && n.Inputs[ops.MLPInB1] != nil {
		bias = tensor.Data[float32](n.Inputs[ops.MLPInB1].Const)
	}
	var mean float64
	for _, b := range bias {
		mean += float64(b) / float64(f)
	}
	for at, u := range units {
		i, j := at/n2, at%n2
		for k := range d1 {
			keys0[i*d1+k] += x[k*f+u] / float32(n2)
		}
		for k := d1; k < d; k++ {
			keys1[j*(d-d1)+k-d1] += x[k*f+u] / float32(n1)
		}
		if bias != nil { // the additive fit: row mean + column mean - mean
			tensor.Data[float32](b0)[i] += bias[u] / float32(n2)
			tensor.Data[float32](b1)[j] += float32((float64(bias[u]) - mean) / float64(n1))
		}
	}
	dv := w2.Shape()[1]
	values := tensor.New(tensor.F32, f, dv)
	for at, u := range units {
		copy(tensor.Data[float32](values)[at*dv:(at+1)*dv], tensor.Data[float32](w2)[u*dv:(u+1)*dv])
	}
	p := passes.PKMParams{Keys0: k0, Keys1: k1, Values: values, KNN: knn}
	if bias != nil {
		p.KeyBias0, p.KeyBias1 = b0, b1
	}
	if len(n.Inputs) > ops.MLPInB2 && n.Inputs[ops.MLPInB2] != nil {
		p.OutBias = n.Inputs[ops.MLPInB2].Const
	}
	return p
}

// gridSide is the divisor of n nearest to its square root from below.
func gridSide(n int) int {
	for s := int(math.Sqrt(float64(n))); s > 1; s-- {
		if n%s == 0 {
			return s
		}
	}
	return 1
}
