package cpu

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/rows"
)

// normTask normalises rows, after adding a residual where there is one.
type normTask struct {
	rows     *rows.Kernels
	m, n     int
	per      int // rows of a task
	rms      bool
	epsilon  float32
	x, skip  []float32
	scale    []float32
	bias     []float32
	zeros    []float32 // for a missing bias
	out, sum []float32 // sum: x + skip, where somebody reads it
	scratch  []float32 // n floats per worker, for x + skip where nobody does
}

func (t *normTask) Do(i, worker int) {
	for r := i * t.per; r < min((i+1)*t.per, t.m); r++ {
		x := t.x[r*t.n : (r+1)*t.n]
		if t.skip != nil {
			s := t.scratch[worker*t.n : (worker+1)*t.n]
			if t.sum != nil {
				s = t.sum[r*t.n : (r+1)*t.n]
			}
			t.rows.Add(s, x, t.skip[r*t.n:(r+1)*t.n])
			x = s
		}
		mean := float32(0)
		if !t.rms {
			mean = t.rows.Sum(x) / float32(t.n)
		}
		variance := t.rows.Squares(x, mean) / float32(t.n)
		factor := float32(1 / math.Sqrt(float64(variance)+float64(t.epsilon)))
		bias := t.bias
		if bias == nil {
			bias = t.zeros
		}
		t.rows.Affine(t.out[r*t.n:(r+1)*t.n], x, mean, factor, t.scale, bias)
	}
}

// rowsPerTask cuts m rows of n elements so that a task is some 16 Ki elements: enough
// to outweigh a dispatch, few enough to balance.
func rowsPerTask(m, n int) int { return max(1, min(m, 16<<10/max(n, 1))) }

// bindNorm is LayerNormalization and RMSNormalization over the last axis, and SkipNorm.
func bindNorm(b *Binding) (Bound, error) {
	m, n := b.rows(0)
	t := &normTask{rows: b.Device.rows, m: m, n: n, per: rowsPerTask(m, n)}
	scaleAt, skipAt := 1, -1
	switch a := b.Step.Attrs.(type) {
	case *ops.LayerNormAttrs:
		t.epsilon, t.rms = a.Epsilon, b.Step.Op.Name == "RMSNormalization"
	case *ops.SkipNormAttrs:
		t.epsilon, t.rms = a.Epsilon, a.Kind == ops.NormRMS
		scaleAt, skipAt = 2, 1
	default:
		return Bound{}, fmt.Errorf("no normalisation for %T", a)
	}
	t.zeros = make([]float32, n)
	workers := b.Device.pool.Workers()
	scratch := 0
	if skipAt >= 0 {
		scratch = workers * n
	}
	tasks := (m + t.per - 1) / t.per
	return Bound{Scratch: 4 * scratch, Run: func(c *Call) error {
		t.x = tensor.Data[float32](c.Ins[0])
		t.scale = tensor.Data[float32](c.Ins[scaleAt])
		t.bias, t.skip, t.sum = nil, nil, nil
		if len(c.Ins) > scaleAt+1 && c.Ins[scaleAt+1] != nil {
			t.bias = tensor.Data[float32](c.Ins[scaleAt+1])
		}
		if skipAt >= 0 {
			t.skip = tensor.Data[float32](c.Ins[skipAt])
			if len(c.Outs) > 1 && c.Outs[1] != nil {
				t.sum = tensor.Data[float32](c.Outs[1])
			}
		}
		t.out, t.scratch = tensor.Data[float32](c.Outs[0]), c.f32(scratch)
		return b.Device.pool.Run(tasks, t)
	}}, nil
}

// softmaxTask is softmax over rows.
type softmaxTask struct {
	rows      *rows.Kernels
	m, n, per int
	x, out    []float32
}

func (t *softmaxTask) Do(i, _ int) {
	for r := i * t.per; r < min((i+1)*t.per, t.m); r++ {
		row := t.out[r*t.n : (r+1)*t.n]
		copy(row, t.x[r*t.n:(r+1)*t.n])
		t.rows.Softmax(row)
	}
}

// bindSoftmax is Softmax over the last axis.
func bindSoftmax(b *Binding) (Bound, error) {
	m, n := b.rows(0)
	t := &softmaxTask{rows: b.Device.rows, m: m, n: n, per: rowsPerTask(m, n)}
	tasks := (m + t.per - 1) / t.per
	return Bound{Run: func(c *Call) error {
		t.x, t.out = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Outs[0])
		return b.Device.pool.Run(tasks, t)
	}}, nil
}
