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

// at64 is v[i], 0 past the end of the list.
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
