package cpu

import (
	"fmt"
	"strings"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/rnn"
)

// The inputs of RNN, GRU and LSTM.
const (
	recInX = iota
	recInW
	recInR
	recInB
	recInLens
	recInH
	recInC
	recInP
)

// bindRecurrent is RNN, GRU and LSTM of f32 with packed weights.
func bindRecurrent(b *Binding) (Bound, error) {
	a := b.Step.Attrs.(*ops.RecurrentAttrs)
	v := &rnn.Layer{Kernels: b.Device.gemm, Act: act.Tanh, Dirs: 1, BatchFirst: a.Layout != 0, Reverse: a.Direction == "reverse"}
	switch b.Step.Op.Name {
	case "GRU":
		v.Cell, v.Linear = rnn.GRU, a.LinearBeforeReset != nil && *a.LinearBeforeReset != 0
	case "LSTM":
		v.Cell, v.Coupled = rnn.LSTM, a.InputForget != nil && *a.InputForget != 0
	default:
		if len(a.Activations) > 0 {
			var err error
			if v.Act, err = act.Parse(strings.ToLower(a.Activations[0])); err != nil {
				return Bound{}, err
			}
		}
	}
	if a.Direction == "bidirectional" {
		v.Dirs = 2
	}
	if a.Clip != nil {
		v.Clip = *a.Clip
	}
	x, r := shapeOf(b.Ins[recInX]), shapeOf(b.Ins[recInR])
	v.Seq, v.Batch, v.In, v.Hidden = x[0], x[1], x[2], r[2]
	state := []int{v.Dirs, v.Batch, v.Hidden}
	if v.BatchFirst {
		v.Seq, v.Batch = v.Batch, v.Seq
		state = []int{v.Batch, v.Dirs, v.Hidden}
	}
	for i, want := range map[int][]int{
		recInB: {v.Dirs, 2 * v.Cell.Gates() * v.Hidden}, recInLens: {v.Batch}, recInH: state, recInC: state, recInP: {v.Dirs, 3 * v.Hidden},
	} {
		if got := b.in(i); got.DType != tensor.Invalid && !equalShape(shapeOf(got), want) {
			return Bound{}, fmt.Errorf("%w: input %d is %s, want %v", ir.ErrShape, i, got, want)
		}
	}
	var err error
	if v.W, err = b.matrices(recInW); err != nil {
		return Bound{}, err
	}
	name, _ := strings.CutSuffix(b.Layouts[recInR], ".t.gates")
	p, ok := layout.ParseName(name)
	if b.Consts[recInR] == nil || !ok {
		return Bound{}, fmt.Errorf("input %d is stored as %q, want panels by gate", recInR, b.Layouts[recInR])
	}
	if v.R, err = layout.Unstack(p, b.Consts[recInR].Bytes(), v.Dirs*v.Cell.Gates(), v.Hidden, v.Hidden); err != nil {
		return Bound{}, err
	}
	if err := v.Check(); err != nil {
		return Bound{}, err
	}
	need := v.Scratch(b.Device.pool.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		v.Lens = nil
		if recInLens < len(c.Ins) && c.Ins[recInLens] != nil {
			v.Lens = tensor.Data[int32](c.Ins[recInLens])
			for _, n := range v.Lens {
				if n < 0 || int(n) > v.Seq {
					return fmt.Errorf("%w: sequence_lens %v with %d steps", ir.ErrInput, v.Lens, v.Seq)
				}
			}
		}
		v.X, v.B, v.InitH, v.InitC, v.Peepholes = c.vector(recInX), c.vector(recInB), c.vector(recInH), c.vector(recInC), c.vector(recInP)
		v.Y, v.YH, v.YC = c.result(0), c.result(1), c.result(2)
		return v.Run(b.Device.pool, c.f32(need))
	}}, nil
}

// in is the type of input i, none when absent.
func (b *Binding) in(i int) ir.Type {
	if i >= len(b.Ins) {
		return ir.Type{}
	}
	return b.Ins[i]
}

// result is output i as floats, nil when not wanted.
func (c *Call) result(i int) []float32 {
	if i >= len(c.Outs) || c.Outs[i] == nil {
		return nil
	}
	return tensor.Data[float32](c.Outs[i])
}
