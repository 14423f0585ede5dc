package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

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
