// Package ffinit makes initial parameters for training layers of the feedforward family
// from scratch: the paper's scheme, as deterministic functions of a seed.
//
// The idea: a sparse layer starts with the scale of the dense layer that it stands for.
// Up-projections have standard deviation w/sqrt(D) and down-projections w/sqrt(F), where F
// is the width of the whole layer (E*G for experts, n1*n2 for product keys), not of the
// part that is active; and the rows of the selector start with equal norms, so that no
// expert is favoured by its length. w is Scale.
package ffinit

import (
	"math"
	"math/rand/v2"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Scale is the factor w of all standard deviations: sqrt(2/layers) for a pre-layer-norm
// transformer of that many layers, 1 for layers = 0 (post-norm), times sqrt(initScale).
// The paper takes initScale 1, and 0.1 for its Switch baseline.
func Scale(layers int, initScale float64) float64 {
	w := math.Sqrt(initScale)
	if layers > 0 {
		w *= math.Sqrt(2 / float64(layers))
	}
	return w
}

// Init draws parameters. Two Inits with the same seed draw the same.
type Init struct {
	rand *rand.Rand
}

// New seeds a source.
func New(seed uint64) *Init { return &Init{rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))} }

// Normal draws N(0, std^2).
func (in *Init) Normal(std float64, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.F32, shape...)
	d := tensor.Data[float32](t)
	for i := range d {
		d[i] = float32(in.rand.NormFloat64() * std)
	}
	return t
}

// Truncated draws N(0,1) cut off at two standard deviations and rescales the sample so
// that its own standard deviation is std exactly: the linear layers of pre-norm blocks,
// with std = sqrt(2/(layers*fanIn)).
func (in *Init) Truncated(std float64, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.F32, shape...)
	vals := make([]float64, t.Len())
	for i := range vals {
		for {
			if vals[i] = in.rand.NormFloat64(); math.Abs(vals[i]) <= 2 {
				break
			}
		}
	}
	scale := 1.0
	if s := stdOf(vals); s > 0 {
		scale = std / s
	}
	d := tensor.Data[float32](t)
	for i, v := range vals {
		d[i] = float32(v * scale)
	}
	return t
}

// MLP are the parameters of a dense layer, or of one kind of its weights.
type MLP struct {
	W1, W2 *tensor.Tensor // [D,F], [F,Dv]
}

// MLP draws w1 ~ N(0, (w/sqrt D)^2) and w2 ~ N(0, (w/sqrt F)^2).
func (in *Init) MLP(d, f, dv int, w float64) MLP {
	return MLP{W1: in.Normal(w/root(d), d, f), W2: in.Normal(w/root(f), f, dv)}
}

// MoE are the parameters of a mixture of experts in the forms that moec::MoE takes.
type MoE struct {
	Sel, W1, W2 *tensor.Tensor // [E,D], [E,D,G], [E,G,Dv]
}

// MoEOptions vary the paper's scheme for its ablations.
type MoEOptions struct {
	// UnequalRows leaves the selector's rows as drawn (the Switch baseline).
	UnequalRows bool
	// ExpertFanIn scales w2 by the width G of one expert ("standard init", Switch)
	// instead of that of the whole layer.
	ExpertFanIn bool
}

// MoE draws sel and w1 ~ N(0, (w/sqrt D)^2) and w2 ~ N(0, (w/sqrt(E G))^2), then gives the
// selector's rows equal norms.
func (in *Init) MoE(experts, d, g, dv int, w float64, opt MoEOptions) MoE {
	p := MoE{Sel: in.Normal(w/root(d), experts, d), W1: in.Normal(w/root(d), experts, d, g)}
	fan := experts * g
	if opt.ExpertFanIn {
		fan = g
	}
	p.W2 = in.Normal(w/root(fan), experts, g, dv)
	if !opt.UnequalRows {
		p.Sel = EqualRows(p.Sel)
	}
	return p
}

// PKM are the parameters of a product-key memory in the forms that moec::PKM takes.
type PKM struct {
	Keys0, Keys1, Values *tensor.Tensor // [H,n1,D/2], [H,n2,D-D/2], [n1*n2,Dv]
}

// PKMValues chooses the standard deviation of the values of a PKM.
type PKMValues int

// The scales of values: by the input's width (the authors' plain one), by the slots
// that are read, or by all values ("+init", dense-equivalent: the paper's best).
const (
	ValuesByInput PKMValues = iota // w/sqrt(D)
	ValuesBySlots                  // w/sqrt(H knn)
	ValuesByAll                    // w/sqrt(n1 n2)
)

// PKM draws keys ~ N(0, (w/sqrt D)^2), D being the width of the query, and values as
// asked.
func (in *Init) PKM(heads, n1, n2, d, dv, knn int, w float64, values PKMValues) PKM {
	p := PKM{Keys0: in.Normal(w/root(d), heads, n1, d/2), Keys1: in.Normal(w/root(d), heads, n2, d-d/2)}
	fan := d
	switch values {
	case ValuesBySlots:
		fan = heads * knn
	case ValuesByAll:
		fan = n1 * n2
	}
	p.Values = in.Normal(w/root(fan), n1*n2, dv)
	return p
}

// EqualRows gives the rows of a matrix equal norms and keeps the standard deviation
// (unbiased, over all entries) that it had. The result has the type of m (f32 or f64); a
// row of zeros stays zero.
func EqualRows(m *tensor.Tensor) *tensor.Tensor {
	rows, cols := m.Shape()[0], m.Shape()[1]
	vals, err := m.Float64s()
	if err != nil {
		panic("ffinit: EqualRows of a " + m.DType().String() + " matrix")
	}
	was := stdOf(vals)
	for r := range rows {
		row, sum := vals[r*cols:(r+1)*cols], 0.0
		for _, v := range row {
			sum += v * v
		}
		if sum == 0 {
			continue
		}
		for i := range row {
			row[i] /= math.Sqrt(sum)
		}
	}
	scale := 1.0
	if s := stdOf(vals); s > 0 {
		scale = was / s
	}
	out := tensor.New(m.DType(), rows, cols)
	for i, v := range vals {
		if m.DType() == tensor.F64 {
			tensor.Data[float64](out)[i] = v * scale
		} else {
			tensor.Data[float32](out)[i] = float32(v * scale)
		}
	}
	return out
}

// stdOf is the unbiased standard deviation, 0 for fewer than two numbers.
func stdOf(v []float64) float64 {
	if len(v) < 2 {
		return 0
	}
	mean, sum := 0.0, 0.0
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		sum += (x - mean) * (x - mean)
	}
	return math.Sqrt(sum / float64(len(v)-1))
}

func root(n int) float64 { return math.Sqrt(float64(max(n, 1))) }
