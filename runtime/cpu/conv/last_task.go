package conv

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// lastTask is a strip, or some images, of a Last.
type lastTask struct {
	v           *Last
	x           []float32 // what the windows read, the first at its start
	y, residual []float32 // [pixels, M]
	pixels      int
	gather      []float32
	zero        []float32 // a panel's bias where there is none
	mul         *gemm.Block
}

// group makes columns n0 to n1 of the channels out of group g.
func (t *lastTask) group(g, n0, n1 int) {
	v := t.v
	k, mg := v.kernels.gemm, v.m/v.groups
	b := t.mul
	*b = gemm.Block{M: t.pixels, B: v.W[g], N0: n0, N1: n1, C: gemm.Rows{Data: t.y[g*mg+n0:], Stride: v.m}}
	if v.Bias != nil {
		b.Bias = v.Bias[g*mg : (g+1)*mg]
	}
	relu := v.act == act.Relu && v.Residual == nil
	x := t.x[g*(v.c/v.groups):]
	if v.gathered {
		t.sideBySide(x)
	}
	if k.Features().AVX512 {
		t.tiles(x, g, n0, n1)
		return
	}
	if v.gathered {
		b.A = k.Place(layout.F32, gemm.Rows{Data: t.gather, Stride: v.depth()}, t.pixels, v.depth(), nil)
		b.K1, b.Relu = v.depth(), relu
		k.Run(b)
		return
	}
	for i, at := range v.at {
		b.A = k.Place(layout.F32, gemm.Rows{Data: x[at:], Stride: v.c, Index: v.index[:t.pixels]}, t.pixels, v.stretch, nil)
		b.K0, b.K1, b.Add = i*v.stretch, (i+1)*v.stretch, i > 0
		b.Next, b.NextK = b.B, b.K1
		if i == len(v.at)-1 {
			b.Next, b.Relu = nil, relu
		}
		k.Run(b)
	}
}

// tiles is group on kernels of its own.
func (t *lastTask) tiles(x []float32, g, n0, n1 int) {
	v, w := t.v, t.v.W[g]
	mg := v.m / v.groups
	p := product{x: x, stride: v.c, index: v.index[:t.pixels], ystride: v.m}
	if v.gathered {
		p.x, p.stride, p.index = t.gather, v.depth(), v.count[:t.pixels]
	}
	for n := n0; n < n1; n += layout.NR {
		p.width = min(layout.NR, n1-n)
		p.half = mg-n <= layout.NR/2
		p.y = t.y[g*mg+n:]
		for i, b := range v.blocks {
			p.spans, p.b = v.spans[b.from:b.to], w.F32[w.Index(b.k, n):]
			p.bias, p.residual, p.relu = nil, nil, false
			if i == 0 {
				p.bias = t.zero
				if v.Bias != nil {
					p.bias = v.Bias[g*mg+n:]
				}
			}
			if i == len(v.blocks)-1 {
				p.relu = v.act == act.Relu
				if t.residual != nil {
					p.residual = t.residual[g*mg+n:]
				}
			}
			v.kernels.tiles(&p)
		}
	}
}

// sideBySide copies the stretches of every window, one after the other.
func (t *lastTask) sideBySide(x []float32) {
	v := t.v
	depth, run := v.depth(), v.axes[2].Out
	if v.cut == 2 {
		run = min(v.rows, t.pixels)
	}
	for p := 0; p < t.pixels; p += run {
		from := x[int(v.index[p])*v.c:]
		for j := 0; j < v.stretch; j += layout.NR {
			v.kernels.gather(t.gather[p*depth+j:], v.stretch, from[j:], v.at, min(run, t.pixels-p), v.axes[2].Stride*v.c, min(layout.NR, v.stretch-j))
		}
	}
}

// finish adds the residual and applies the activation to a part of the channels.
func (t *lastTask) finish(part int) {
	v := t.v
	kind, residual := v.act, t.residual
	if v.kernels.gemm.Features().AVX512 {
		residual = nil
		if kind == act.Relu {
			kind = act.Identity
		}
	}
	if residual == nil && (kind == act.Relu || kind == act.Identity) {
		return
	}
	ks := v.kernels.gemm.Act()
	mg := v.m / v.groups
	per := (mg + layout.NR - 1) / layout.NR
	column := func(u int) int { return u/per*mg + min(mg, u%per*layout.NR) }
	c0, c1 := column(part*v.groups*per/v.parts), column((part+1)*v.groups*per/v.parts)
	// Whole rows lie side by side; what stays in L1 is passed over twice.
	n, step, rows := c1-c0, v.m, t.pixels
	if n == v.m {
		n, step = 2048, 2048
		rows = (len(t.y) + n - 1) / n
	}
	for i := range rows {
		lo := i*step + c0
		y := t.y[lo:min(lo+n, len(t.y))]
		if residual != nil {
			ks.Add(y, residual[lo:lo+len(y)])
		}
		ks.Apply(kind, y, 1)
	}
}
