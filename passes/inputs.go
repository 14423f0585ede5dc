package passes

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// RandomInputs makes inputs that fit the graph's types: sizes as given by name and random
// ones from 2 to 8 otherwise, floats of a normal distribution, integers below the length
// of every table they index, masks of ones and zeros with the first element one.
func RandomInputs(g *ir.Graph, sizes map[string]int, seed uint64) []*tensor.Tensor {
	return randomInputs(g, sizes, seed, sizeRange{2, 8})
}

// sizeRange bounds the sizes drawn for dims that are not known.
type sizeRange struct{ lo, hi int }

func randomInputs(g *ir.Graph, sizes map[string]int, seed uint64, r sizeRange) []*tensor.Tensor {
	rng := rand.New(rand.NewPCG(seed, 1))
	all := map[string]int{}
	for k, v := range sizes {
		all[k] = v
	}
	draw := func() int { return r.lo + rng.IntN(r.hi-r.lo+1) }
	size := func(d ir.Dim) int {
		switch {
		case d.IsKnown():
			return int(d.Size)
		case d.Name == "":
			return draw()
		}
		return named(d.Name, all, draw)
	}
	var out []*tensor.Tensor
	for _, v := range g.Inputs {
		shape := make([]int, len(v.Type.Shape))
		for i, d := range v.Type.Shape {
			shape[i] = size(d)
		}
		out = append(out, randomTensor(rng, v.Type.DType, shape, bound(g, v)))
	}
	return out
}

// named is the size of a named dim, drawn when it is new. Names such as "past + 1" or
// "batch*heads" are sums of products of others.
func named(name string, sizes map[string]int, draw func() int) int {
	name = strings.TrimSpace(name)
	if n, ok := sizes[name]; ok {
		return n
	}
	sum := 0
	for _, term := range strings.Split(name, "+") {
		product := 1
		for _, f := range strings.Split(term, "*") {
			switch n, err := strconv.Atoi(strings.TrimSpace(f)); {
			case err == nil:
				product *= n
			case f == name:
				product = draw()
			default:
				product *= named(f, sizes, draw)
			}
		}
		sum += product
	}
	sizes[name] = sum
	return sum
}

// bound is how large an integer input may be: the smallest table it indexes, through
// nodes that only move it about; 2, the values of a mask, when it indexes none.
func bound(g *ir.Graph, v *ir.Value) int {
	lowest := math.MaxInt
	seen := map[*ir.Value]bool{}
	var walk func(v *ir.Value)
	walk = func(v *ir.Value) {
		if seen[v] {
			return
		}
		seen[v] = true
		for _, n := range v.Users() {
			if n.Is("Gather") && n.Inputs[1] == v {
				t := n.Inputs[0].Type
				axis := int(intAttr(n, "axis"))
				if axis < 0 {
					axis += t.Rank()
				}
				if t.Ranked && axis >= 0 && axis < t.Rank() && t.Shape[axis].IsKnown() {
					lowest = min(lowest, int(t.Shape[axis].Size))
				}
				continue
			}
			if n.Is("Identity", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Transpose", "Slice", "Expand", "Concat", "Split") {
				for _, o := range n.Outputs {
					if o != nil {
						walk(o)
					}
				}
			}
			for i, u := range n.Inputs {
				if own := len(n.Inputs) - n.Captures; u == v && i >= own {
					for _, s := range n.Subgraphs {
						walk(s.Inputs[len(s.Inputs)-n.Captures+i-own])
					}
				}
			}
		}
	}
	walk(v)
	if lowest == math.MaxInt {
		return 2
	}
	return lowest
}

func randomTensor(rng *rand.Rand, dt tensor.DType, shape []int, bound int) *tensor.Tensor {
	t := tensor.New(dt, shape...)
	switch {
	case dt == tensor.Bool:
		for i := range tensor.Data[bool](t) {
			tensor.Data[bool](t)[i] = i == 0 || rng.IntN(4) > 0
		}
	case dt.IsFloat():
		for i := range t.Len() {
			setFloat(t, i, rng.NormFloat64())
		}
	case dt.IsInt():
		n := uint64(max(1, min(bound, 100)))
		if dt.Bits() >= 16 {
			n = uint64(max(1, bound))
		}
		for i := range t.Len() {
			x := rng.Uint64N(n)
			if bound == 2 {
				x = 1 // a mask: mostly ones, the first always
				if i > 0 && rng.IntN(4) == 0 {
					x = 0
				}
			}
			for j := range dt.Size() {
				t.Bytes()[i*dt.Size()+j] = byte(x >> (8 * j))
			}
		}
	}
	return t
}

func setFloat(t *tensor.Tensor, i int, x float64) {
	switch t.DType() {
	case tensor.F32:
		tensor.Data[float32](t)[i] = float32(x)
	case tensor.F64:
		tensor.Data[float64](t)[i] = x
	case tensor.F16:
		tensor.Data[tensor.Float16](t)[i] = tensor.ToFloat16(float32(x))
	case tensor.BF16:
		tensor.Data[tensor.BFloat16](t)[i] = tensor.ToBFloat16(float32(x))
	}
}
