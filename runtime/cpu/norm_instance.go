package cpu

import (
	"math"

	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/rows"
)

// instanceTask normalises planes [N*C, n], each with the scale and bias of its channel.
type instanceTask struct {
	rows              *rows.Kernels
	planes, c, n, per int
	epsilon           float32
	x, out            []float32
	scale, bias       []float32 // [C]
	factors           []float32 // of each worker: scale and bias, instanceChunk times
}

// instanceChunk elements are scaled at a time: the vectors of a channel's scale and bias
// stay in L1.
const instanceChunk = 512

func (t *instanceTask) Do(i, worker int) {
	v := t.factors[worker*2*instanceChunk:][:2*instanceChunk]
	scale, bias := v[:instanceChunk], v[instanceChunk:]
	for p := i * t.per; p < min((i+1)*t.per, t.planes); p++ {
		k := min(t.n, instanceChunk)
		for j := range k {
			scale[j], bias[j] = t.scale[p%t.c], t.bias[p%t.c]
		}
		x, out := t.x[p*t.n:(p+1)*t.n], t.out[p*t.n:(p+1)*t.n]
		mean := t.rows.Sum(x) / float32(t.n)
		variance := t.rows.Squares(x, mean) / float32(t.n)
		factor := float32(1 / math.Sqrt(float64(variance)+float64(t.epsilon)))
		for at := 0; at < t.n; at += k {
			end := min(at+k, t.n)
			t.rows.Affine(out[at:end], x[at:end], mean, factor, scale[:end-at], bias[:end-at])
		}
	}
}

// bindInstanceNorm is InstanceNormalization in f32.
func bindInstanceNorm(b *Binding) (Bound, error) {
	x := shapeOf(b.Ins[0])
	if len(x) < 2 || !equalShape(shapeOf(b.Ins[1]), []int{x[1]}) || !equalShape(shapeOf(b.Ins[2]), []int{x[1]}) {
		return bindRef(b) // which says what is wrong
	}
	a := b.Step.Attrs.(*ops.InstanceNormAttrs)
	t := &instanceTask{rows: b.Device.rows, planes: x[0] * x[1], c: x[1], n: tensor.NumElems(x[2:]), epsilon: a.Epsilon}
	if t.n == 0 {
		t.planes = 0
	}
	t.per = rowsPerTask(t.planes, t.n)
	t.factors = make([]float32, b.Device.pool.Workers()*2*instanceChunk)
	return Bound{Run: func(c *Call) error {
		t.x, t.out = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Outs[0])
		t.scale, t.bias = c.vector(1), c.vector(2)
		return b.Device.pool.Run((t.planes+t.per-1)/t.per, t)
	}}, nil
}
