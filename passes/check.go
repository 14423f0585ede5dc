package passes

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Evaluator runs a graph on inputs in the order of g.Inputs. Passes never run graphs
// themselves: who asks for a check brings the interpreter.
type Evaluator func(ctx context.Context, g *ir.Graph, ins []*tensor.Tensor) ([]*tensor.Tensor, error)

// Check validates the translation of one model: it runs the graph before and after every
// pass on the same random inputs and holds the difference to what the pass declares.
type Check struct {
	Eval Evaluator
	Seed uint64
	// Sizes are the sizes of named dims; others get random ones.
	Sizes map[string]int
	// Inputs, when set, are used instead of random ones: sets of inputs in the order of
	// the graph's.
	Inputs [][]*tensor.Tensor

	outputs [][]*tensor.Tensor // of the graph as it is now, per set
	first   [][]*tensor.Tensor // of the graph as imported
}

// BrokenPromiseError says that a pass changed the outputs more than it declares.
type BrokenPromiseError struct {
	Effect Effect
	Output string
	Diff   Difference
}

// Error names the output and the difference.
func (e *BrokenPromiseError) Error() string {
	return fmt.Sprintf("the pass declares itself %s, but output %q changed: %s", e.Effect, e.Output, e.Diff)
}

// begin evaluates the graph as imported. Without inputs from the caller it takes random
// ones of several sizes, those that the model runs on: small sizes, size one, which hides
// in broadcasts, and only if neither runs, sizes that images have.
func (c *Check) begin(ctx context.Context, g *ir.Graph) error {
	if len(c.Inputs) > 0 {
		outs, err := c.run(ctx, g)
		c.outputs, c.first = outs, outs
		return err
	}
	var failed error
	for i, r := range []sizeRange{{2, 8}, {1, 1}, {32, 32}, {64, 64}, {224, 224}} {
		if i >= 2 && len(c.Inputs) > 0 {
			break
		}
		ins := randomInputs(g, c.Sizes, c.Seed+uint64(i), r)
		outs, err := c.Eval(ctx, g, ins)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			failed = err
			continue
		}
		c.Inputs, c.outputs = append(c.Inputs, ins), append(c.outputs, outs)
	}
	c.first = c.outputs
	if len(c.Inputs) == 0 {
		return fmt.Errorf("the model runs on no random inputs tried: %w", failed)
	}
	return nil
}

func (c *Check) run(ctx context.Context, g *ir.Graph) ([][]*tensor.Tensor, error) {
	var all [][]*tensor.Tensor
	for _, ins := range c.Inputs {
		outs, err := c.Eval(ctx, g, ins)
		if err != nil {
			return nil, fmt.Errorf("evaluating the graph: %w", err)
		}
		all = append(all, outs)
	}
	return all, nil
}

func (c *Check) after(ctx context.Context, p Pass, g *ir.Graph) error {
	now, err := c.run(ctx, g)
	if err != nil {
		return err
	}
	for s := range now {
		for i, v := range g.Outputs {
			d := Compare(c.outputs[s][i], now[s][i])
			if !p.Effect.allows(d) {
				return &BrokenPromiseError{Effect: p.Effect, Output: v.Name, Diff: d}
			}
		}
	}
	c.outputs = now
	return nil
}

// Outputs compares the outputs of the compiled program, per set of c.Inputs, with those
// of the graph as it was imported.
func (c *Check) Outputs(g *ir.Graph, got [][]*tensor.Tensor) error {
	for s := range got {
		for i, v := range g.Outputs {
			if d := Compare(c.first[s][i], got[s][i]); !Rounding.allows(d) {
				return fmt.Errorf("output %q is not that of the imported model: %s", v.Name, d)
			}
		}
	}
	return nil
}

// Difference is how far two tensors are apart.
type Difference struct {
	Shape   string  // how types or shapes differ, if they do
	Max     float64 // largest difference of two elements
	Scale   float64 // largest finite magnitude of the first
	NaN     int     // positions where only one of the two is not a number, or infinite
	Bits    int     // positions that differ at all; the sign of zero and the kind of NaN aside
	Epsilon float64 // the spacing of the element type at 1
}

// String tells the largest difference beside the largest magnitude.
func (d Difference) String() string {
	if d.Shape != "" {
		return d.Shape
	}
	return fmt.Sprintf("largest difference %.3g beside magnitudes up to %.3g, %d elements differ, %d in NaN or infinity", d.Max, d.Scale, d.Bits, d.NaN)
}

// roundingBound is how many epsilons, relative to the largest magnitude, a rounding pass
// may move an output: reordering a sum of n terms moves it by up to n/2 epsilons of the
// sum of magnitudes, by sqrt(n) typically; 500 leaves a factor of ten over sums of a few
// thousand terms in some dozens of layers. For f32 it is 6e-5 of the largest magnitude.
const roundingBound = 500

// allows reports whether a difference is within what an effect declares.
func (e Effect) allows(d Difference) bool {
	switch {
	case d.Shape != "":
		return false
	case e == Exact:
		return d.Bits == 0
	case e == Rounding:
		return d.NaN == 0 && d.Max <= roundingBound*d.Epsilon*max(1, d.Scale)
	}
	return true
}

// Compare measures how far b is from a.
func Compare(a, b *tensor.Tensor) Difference {
	d := Difference{Epsilon: epsilon(a.DType())}
	if a.String() != b.String() {
		d.Shape = fmt.Sprintf("%s before, %s after", a, b)
		return d
	}
	if a.DType() == tensor.String {
		for i, s := range a.Strings() {
			if s != b.Strings()[i] {
				d.Bits++
				d.NaN++
			}
		}
		return d
	}
	x, err1 := a.Float64s()
	y, err2 := b.Float64s()
	if err1 != nil || err2 != nil {
		if !tensor.Equal(a, b) {
			d.Bits, d.NaN = 1, 1
		}
		return d
	}
	for i := range x {
		if !math.IsInf(x[i], 0) && !math.IsNaN(x[i]) {
			d.Scale = max(d.Scale, math.Abs(x[i]))
		}
		switch {
		case x[i] == y[i], x[i] != x[i] && y[i] != y[i]:
			continue
		case math.IsNaN(x[i] - y[i]), math.IsInf(x[i]-y[i], 0):
			d.NaN++
		default:
			d.Max = max(d.Max, math.Abs(x[i]-y[i]))
		}
		d.Bits++
	}
	return d
}

func epsilon(dt tensor.DType) float64 {
	switch dt {
	case tensor.F64:
		// Constants of fused ops are f32 attributes at times.
		return 0x1p-52
	case tensor.F16:
		return 0x1p-10
	case tensor.BF16:
		return 0x1p-7
	case tensor.F32:
		return 0x1p-23
	}
	return 0
}

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
	size := func(d ir.Dim) int {
		if d.IsKnown() {
			return int(d.Size)
		}
		n := r.lo + rng.IntN(r.hi-r.lo+1)
		if d.Name == "" {
			return n
		}
		if _, ok := all[d.Name]; !ok {
			all[d.Name] = n
		}
		return all[d.Name]
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
