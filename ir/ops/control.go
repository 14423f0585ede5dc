package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ScanAttrs are the attributes of Scan.
type ScanAttrs struct {
	NumScanInputs        int64   `attr:"num_scan_inputs"`
	ScanInputAxes        []int64 `attr:"scan_input_axes"`
	ScanInputDirections  []int64 `attr:"scan_input_directions"`
	ScanOutputAxes       []int64 `attr:"scan_output_axes"`
	ScanOutputDirections []int64 `attr:"scan_output_directions"`
}

func controlOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "If", Since: 25, Doc: "Runs the then- or the else-branch.",
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: -1, Infer: inferIf, Eval: evalIf, Cost: noCost,
		},
		{ // the first two inputs count but may be absent, so none is required
			Name: "Loop", Since: 25, Doc: "Runs its body a number of times or while a condition holds, carrying values along.",
			MinIn: 0, MaxIn: -1, MinOut: 1, MaxOut: -1, Infer: inferLoop, Eval: evalLoop, Cost: noCost,
		},
		{
			Name: "Scan", Since: 25, Doc: "Runs its body over slices of its inputs, carrying states and stacking outputs.",
			Attrs: func() any { return &ScanAttrs{} },
			MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: -1, Infer: inferScan, Eval: evalScan, Cost: noCost,
		},
	}
}

// noCost: what the bodies cost is counted at their own nodes.
func noCost(*ir.CostCtx) ir.Cost { return ir.Cost{} }

func inferIf(c *ir.InferCtx) error {
	if err := wantScalarBool(c, 0); err != nil {
		return err
	}
	if c.Sub == nil {
		return fmt.Errorf("%w: If has no branches", ir.ErrGraph)
	}
	var merged []ir.Type
	for i := range 2 {
		outs, err := c.Sub(i, nil)
		if err != nil {
			return err
		}
		if len(outs) < len(c.Outs) {
			return fmt.Errorf("%w: branch %d gives %d outputs, want %d", ir.ErrGraph, i, len(outs), len(c.Outs))
		}
		if i == 0 {
			merged = append(merged, outs...)
			continue
		}
		for j := range c.Outs {
			merged[j] = commonType(merged[j], outs[j])
		}
	}
	for j := range c.Outs {
		c.SetOut(j, merged[j])
	}
	return nil
}

func wantScalarBool(c *ir.InferCtx, i int) error {
	if c.Has(i) && c.In(i).DType != tensor.Bool {
		return fmt.Errorf("%w: condition is %s", ir.ErrType, c.In(i).DType)
	}
	return nil
}

// commonType is what is certain when a value is of either type.
func commonType(a, b ir.Type) ir.Type {
	if a.DType != b.DType {
		return ir.Type{}
	}
	if !a.Ranked || !b.Ranked || len(a.Shape) != len(b.Shape) {
		return ir.Unranked(a.DType)
	}
	out := ir.MakeType(a.DType, append([]ir.Dim(nil), a.Shape...)...)
	for i := range out.Shape {
		if !a.Shape[i].Same(b.Shape[i]) {
			out.Shape[i] = ir.Unknown()
		}
	}
	return out
}

// scalarOf reads a one-element tensor as an integer (bools as 0 and 1).
func scalarOf(name string, t *tensor.Tensor) (int64, error) {
	v, err := t.Int64s()
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ir.ErrType, name, err)
	}
	if len(v) != 1 {
		return 0, fmt.Errorf("%w: %s is %s, want one element", ir.ErrShape, name, t)
	}
	return v[0], nil
}

func evalIf(c *ir.EvalCtx) error {
	if err := need(c, 0); err != nil {
		return err
	}
	cond, err := scalarOf("the condition", c.In(0))
	if err != nil {
		return err
	}
	branch := 0
	if cond == 0 {
		branch = 1
	}
	outs, err := callSub(c, branch, nil, len(c.Outs))
	if err != nil {
		return err
	}
	for i := range c.Outs {
		c.Set(i, outs[i])
	}
	return nil
}

// callSub runs a subgraph that must give at least n outputs.
func callSub(c *ir.EvalCtx, i int, ins []*tensor.Tensor, n int) ([]*tensor.Tensor, error) {
	if c.Sub == nil {
		return nil, fmt.Errorf("%w: the node has no subgraph", ir.ErrGraph)
	}
	outs, err := c.Sub(i, ins)
	if err != nil {
		return nil, err
	}
	if len(outs) < n {
		return nil, fmt.Errorf("%w: subgraph %d gives %d outputs, want %d", ir.ErrGraph, i, len(outs), n)
	}
	return outs, nil
}

// fixpoint infers a body whose first inputs, after fixed, are the carried values of the
// given types: types widen until an iteration gives what it took. Body outputs begin
// with skip ones that are not carried.
func fixpoint(c *ir.InferCtx, fixed, carried, rest []ir.Type, skip int) (state, outs []ir.Type, err error) {
	if c.Sub == nil {
		return nil, nil, fmt.Errorf("%w: the node has no body", ir.ErrGraph)
	}
	state = append([]ir.Type(nil), carried...)
	for {
		ins := append(append(append([]ir.Type(nil), fixed...), state...), rest...)
		if outs, err = c.Sub(0, ins); err != nil {
			return nil, nil, err
		}
		if len(outs) < skip+len(state) {
			return nil, nil, fmt.Errorf("%w: the body gives %d outputs, want at least %d", ir.ErrGraph, len(outs), skip+len(state))
		}
		changed := false
		for i := range state {
			// Each widening loses a dim, a rank or a type, so this ends.
			if t := commonType(state[i], outs[skip+i]); !t.Equal(state[i]) {
				state[i], changed = t, true
			}
		}
		if !changed {
			return state, outs[skip+len(state):], nil
		}
	}
}

func inferLoop(c *ir.InferCtx) error {
	if err := wantScalarBool(c, 1); err != nil {
		return err
	}
	if c.NumIn() < 2 {
		return fmt.Errorf("%w: Loop takes at least 2 inputs", ir.ErrGraph)
	}
	fixed := []ir.Type{ir.MakeType(tensor.I64), ir.MakeType(tensor.Bool)}
	state, scans, err := fixpoint(c, fixed, c.Ins[2:], nil, 1)
	if err != nil {
		return err
	}
	trips := ir.Unknown()
	if n := len(state) + len(scans); len(c.Outs) > n {
		return fmt.Errorf("%w: Loop has %d outputs, its body gives %d", ir.ErrGraph, len(c.Outs), n)
	}
	for i, t := range state {
		c.SetOut(i, t)
	}
	for i, t := range scans {
		c.SetOut(len(state)+i, stackedType(t, trips, 0))
	}
	return nil
}

// stackedType is the type of values of type t stacked along a new axis.
func stackedType(t ir.Type, n ir.Dim, axis int) ir.Type {
	if !t.Ranked || axis > len(t.Shape) {
		return ir.Unranked(t.DType)
	}
	shape := append([]ir.Dim(nil), t.Shape[:axis]...)
	shape = append(append(shape, n), t.Shape[axis:]...)
	return ir.MakeType(t.DType, shape...)
}

func evalLoop(c *ir.EvalCtx) error {
	if len(c.Ins) < 2 {
		return fmt.Errorf("%w: Loop takes at least 2 inputs", ir.ErrGraph)
	}
	trips, cond := int64(-1), int64(1)
	var err error
	if c.Has(0) {
		if trips, err = scalarOf("the trip count", c.In(0)); err != nil {
			return err
		}
		trips = max(trips, 0)
	}
	if c.Has(1) {
		if cond, err = scalarOf("the condition", c.In(1)); err != nil {
			return err
		}
	}
	state := append([]*tensor.Tensor(nil), c.Ins[2:]...)
	n := len(state)
	scans := make([][]*tensor.Tensor, max(len(c.Outs)-n, 0))
	for i := int64(0); cond != 0 && (trips < 0 || i < trips); i++ {
		if err := c.Context.Err(); err != nil {
			return err
		}
		ins := append([]*tensor.Tensor{tensor.Scalar(i), tensor.Scalar(true)}, state...)
		outs, err := callSub(c, 0, ins, 1+n+len(scans))
		if err != nil {
			return err
		}
		if cond, err = scalarOf("the body's condition", outs[0]); err != nil {
			return err
		}
		copy(state, outs[1:1+n])
		for j := range scans {
			scans[j] = append(scans[j], outs[1+n+j])
			if limit := c.MaxElems; limit > 0 && len(scans[j])*outs[1+n+j].Len() > limit {
				return fmt.Errorf("%w: Loop output %d has more than %d elements", ir.ErrLimit, n+j, limit)
			}
		}
	}
	for i, t := range state {
		if t == nil && i < len(c.Outs) && c.Want[i] {
			return fmt.Errorf("%w: carried value %d is missing", ir.ErrInput, i)
		}
		c.Set(i, t)
	}
	for j, parts := range scans {
		if err := setStack(c, n+j, parts, 0, false); err != nil {
			return err
		}
	}
	return nil
}

// setStack makes output i the parts stacked along a new axis, last first when reverse
// is set. Without parts the shape is the inferred one, unknown dims 0.
func setStack(c *ir.EvalCtx, i int, parts []*tensor.Tensor, axis int64, reverse bool) error {
	if len(c.Want) > i && !c.Want[i] {
		return nil
	}
	if len(parts) == 0 {
		t := ir.Type{}
		if i < len(c.OutTypes) {
			t = c.OutTypes[i]
		}
		if t.DType == tensor.Invalid || !t.Ranked {
			return fmt.Errorf("%w: output %d of a loop that never ran has no known shape", ir.ErrShape, i)
		}
		shape := make([]int, len(t.Shape))
		for j, d := range t.Shape {
			shape[j] = int(max(d.Size, 0))
		}
		if at, err := normAxis(axis, len(shape)); err == nil {
			shape[at] = 0
		}
		_, err := c.Out(i, t.DType, shape...)
		return err
	}
	first := parts[0]
	at, err := normAxis(axis, first.Rank()+1)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.DType() != first.DType() {
			return fmt.Errorf("%w: a body gave %s and then %s", ir.ErrType, first, p)
		}
		if err := wantShape("a body's output", p, first.Shape()...); err != nil {
			return err
		}
	}
	shape := append([]int(nil), first.Shape()[:at]...)
	shape = append(append(shape, len(parts)), first.Shape()[at:]...)
	out, err := c.Out(i, first.DType(), shape...)
	if err != nil {
		return err
	}
	for k, p := range parts {
		if reverse {
			k = len(parts) - 1 - k
		}
		copySlice(out, p, at, k, false)
	}
	return nil
}

// copySlice copies the k-th slice of whole along axis from part, or to it when out is set.
func copySlice(whole, part *tensor.Tensor, axis, k int, out bool) {
	outer, n, inner := splitAt(whole.Shape(), axis)
	if whole.DType() == tensor.String {
		moveSlices(whole.Strings(), part.Strings(), outer, n, inner, k, out)
		return
	}
	moveSlices(whole.Bytes(), part.Bytes(), outer, n, inner*whole.DType().Size(), k, out)
}

func moveSlices[E any](whole, part []E, outer, n, inner, k int, out bool) {
	for o := range outer {
		w, p := whole[(o*n+k)*inner:(o*n+k+1)*inner], part[o*inner:(o+1)*inner]
		if out {
			copy(p, w)
		} else {
			copy(w, p)
		}
	}
}

func at64(v []int64, i int) int64 {
	if i < len(v) {
		return v[i]
	}
	return 0
}

// split gives the number of states and checks the count of scanned inputs.
func (a *ScanAttrs) split(ins int) (states int, err error) {
	if a.NumScanInputs < 1 || a.NumScanInputs > int64(ins) {
		return 0, fmt.Errorf("%w: num_scan_inputs %d of %d inputs", ir.ErrAttr, a.NumScanInputs, ins)
	}
	return ins - int(a.NumScanInputs), nil
}

func inferScan(c *ir.InferCtx) error {
	a := c.Attrs.(*ScanAttrs)
	states, err := a.split(c.NumIn())
	if err != nil {
		return err
	}
	length := ir.Unknown()
	var slices []ir.Type
	for i, t := range c.Ins[states:] {
		if !t.Ranked {
			slices = append(slices, ir.Unranked(t.DType))
			continue
		}
		at, err := normAxis(at64(a.ScanInputAxes, i), t.Rank())
		if err != nil {
			return err
		}
		if d := t.Shape[at]; !length.IsKnown() {
			length = d
		}
		shape := append(append([]ir.Dim(nil), t.Shape[:at]...), t.Shape[at+1:]...)
		slices = append(slices, ir.MakeType(t.DType, shape...))
	}
	state, scans, err := fixpoint(c, nil, c.Ins[:states], slices, 0)
	if err != nil {
		return err
	}
	if n := len(state) + len(scans); len(c.Outs) > n {
		return fmt.Errorf("%w: Scan has %d outputs, its body gives %d", ir.ErrGraph, len(c.Outs), n)
	}
	for i, t := range state {
		c.SetOut(i, t)
	}
	for i, t := range scans {
		axis := 0
		if t.Ranked {
			if axis, err = normAxis(at64(a.ScanOutputAxes, i), t.Rank()+1); err != nil {
				return err
			}
		}
		c.SetOut(len(state)+i, stackedType(t, length, axis))
	}
	return nil
}

func evalScan(c *ir.EvalCtx) error {
	a := c.Attrs.(*ScanAttrs)
	states, err := a.split(len(c.Ins))
	if err != nil {
		return err
	}
	length := -1
	axes := make([]int, len(c.Ins)-states)
	for i, t := range c.Ins[states:] {
		if err := need(c, states+i); err != nil {
			return err
		}
		if axes[i], err = normAxis(at64(a.ScanInputAxes, i), t.Rank()); err != nil {
			return err
		}
		n := t.Shape()[axes[i]]
		if length >= 0 && n != length {
			return fmt.Errorf("%w: scanned inputs of lengths %d and %d", ir.ErrShape, length, n)
		}
		length = n
	}
	state := append([]*tensor.Tensor(nil), c.Ins[:states]...)
	scans := make([][]*tensor.Tensor, max(len(c.Outs)-states, 0))
	for i := range length {
		if err := c.Context.Err(); err != nil {
			return err
		}
		ins := append([]*tensor.Tensor(nil), state...)
		for j, t := range c.Ins[states:] {
			k := i
			if at64(a.ScanInputDirections, j) == 1 {
				k = length - 1 - i
			}
			shape := append(append([]int(nil), t.Shape()[:axes[j]]...), t.Shape()[axes[j]+1:]...)
			part := tensor.New(t.DType(), shape...)
			copySlice(t, part, axes[j], k, true)
			ins = append(ins, part)
		}
		outs, err := callSub(c, 0, ins, states+len(scans))
		if err != nil {
			return err
		}
		copy(state, outs[:states])
		for j := range scans {
			scans[j] = append(scans[j], outs[states+j])
		}
	}
	for i, t := range state {
		if t == nil && i < len(c.Outs) && c.Want[i] {
			return fmt.Errorf("%w: state %d is missing", ir.ErrInput, i)
		}
		c.Set(i, t)
	}
	for j, parts := range scans {
		if err := setStack(c, states+j, parts, at64(a.ScanOutputAxes, j), at64(a.ScanOutputDirections, j) == 1); err != nil {
			return err
		}
	}
	return nil
}
