package cpu

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/attn"
)

// rotaryTask turns the heads of one position after the other.
type rotaryTask struct {
	attrs            *ops.FusedRotaryAttrs
	batch, positions int
	per              int // positions of a task
	heads, dim, tail int
	offset           int
	in, to           attn.View // strides; data comes per run
	x, out, cos, sin []float32
	n                int // numbers of a row of the tables
	shared           bool
}

func (t *rotaryTask) Do(i, _ int) {
	for r := i * t.per; r < min((i+1)*t.per, t.batch*t.positions); r++ {
		b, s := r/t.positions, r%t.positions
		row := r
		if t.shared {
			row = s
		}
		cos, sin := t.cos[row*t.n:(row+1)*t.n], t.sin[row*t.n:(row+1)*t.n]
		src := t.x[t.offset+b*t.in.Batch+s*t.in.Pos:]
		dst := t.out[b*t.to.Batch+s*t.to.Pos:]
		for h := range t.heads {
			t.turn(dst[h*t.to.Head:][:t.dim], src[h*t.in.Head:][:t.dim], cos, sin)
		}
		if t.tail > 0 {
			copy(dst[t.heads*t.dim:][:t.tail], src[t.heads*t.dim:])
		}
	}
}

// turn rounds each product before it adds, as the op is defined: the conversions keep
// the compiler from fusing.
func (t *rotaryTask) turn(dst, src, cos, sin []float32) {
	half := int(t.attrs.RotaryDim / 2)
	copy(dst[2*half:], src[2*half:])
	if t.attrs.Interleaved {
		for i := range half {
			p, q, u, v := t.attrs.Pair(i, t.n)
			dst[p] = float32(src[p]*cos[u]) - float32(src[q]*sin[u])
			dst[q] = float32(src[q]*cos[v]) + float32(src[p]*sin[v])
		}
		return
	}
	x1, x2, y1, y2 := src[:half], src[half:2*half], dst[:half], dst[half:2*half]
	c1, s1, c2, s2 := cos[:half], sin[:half], cos[t.n-half:], sin[t.n-half:]
	for i, a := range x1 {
		b := x2[i]
		y1[i] = float32(a*c1[i]) - float32(b*s1[i])
		y2[i] = float32(b*c2[i]) + float32(a*s2[i])
	}
}

// bindRotary is moec::Rotary in f32.
func bindRotary(b *Binding) (Bound, error) {
	a := b.Step.Attrs.(*ops.FusedRotaryAttrs)
	x, cos, sin, y := shapeOf(b.Ins[0]), shapeOf(b.Ins[1]), shapeOf(b.Ins[2]), shapeOf(b.Outs[0])
	if len(x) < 3 || len(cos) != 3 || !equalShape(cos, sin) {
		return Bound{}, fmt.Errorf("%w: x %s, cosines %s, sines %s", ir.ErrShape, b.Ins[0], b.Ins[1], b.Ins[2])
	}
	t := &rotaryTask{
		attrs: a, batch: x[0], heads: int(a.Heads), dim: int(a.HeadDim), tail: int(a.Tail), offset: int(a.Offset),
		n: cos[2], shared: cos[0] == 1,
	}
	t.positions, t.in = attnView(x, a.Layout, t.dim)
	_, t.to = attnView(y, a.OutLayout, t.dim)
	if cos[1] != t.positions || !t.shared && cos[0] != t.batch || t.n != int(a.RotaryDim) && t.n != int(a.RotaryDim/2) {
		return Bound{}, fmt.Errorf("%w: cosines %s for x %s", ir.ErrShape, b.Ins[1], b.Ins[0])
	}
	rows := t.batch * t.positions
	t.per = rowsPerTask(rows, t.heads*t.dim+t.tail)
	tasks := (rows + t.per - 1) / t.per
	return Bound{Run: func(c *Call) error {
		t.x, t.cos, t.sin = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Ins[1]), tensor.Data[float32](c.Ins[2])
		t.out = tensor.Data[float32](c.Outs[0])
		return b.Device.pool.Run(tasks, t)
	}}, nil
}
