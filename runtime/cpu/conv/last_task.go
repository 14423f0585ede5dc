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
	at          int       // of the first output
	rest        []float32 // memory beside the strip
	zero        []float32 // two panels' bias where there is none
	mul         *gemm.Block
}

// group makes columns n0 to n1 of the channels out of group g.
func (t *lastTask) group(g, n0, n1 int) {
	v := t.v
	if v.bf16 {
		t.roundedGroup(g, n0, n1)
		return
	}
	k, mg := v.kernels.gemm, v.m/v.groups
	b := t.mul
	*b = gemm.Block{M: t.pixels, B: v.W[g], N0: n0, N1: n1, C: gemm.Rows{Data: t.y[g*mg+n0:], Stride: v.m}}
	if v.Bias != nil {
		b.Bias = v.Bias[g*mg : (g+1)*mg]
	}
	end := act.Identity
	if v.act == act.Relu && t.residual == nil {
		end = act.Relu
	}
	x := t.x[g*(v.c/v.groups):]
	if v.gathered {
		t.sideBySide(x)
	}
	if v.tiled() {
		t.tiles(x, g, n0, n1)
		return
	}
	if v.gathered {
		b.A = k.Place(layout.F32, gemm.Rows{Data: t.rest, Stride: v.depth()}, t.pixels, v.depth(), nil)
		b.K1, b.Act = v.depth(), end
		k.Run(b)
		return
	}
	for i, at := range v.at {
		b.A = k.Place(layout.F32, gemm.Rows{Data: x[at:], Stride: v.c, Index: v.index[:t.pixels]}, t.pixels, v.stretch, nil)
		b.K0, b.K1, b.Add = i*v.stretch, (i+1)*v.stretch, i > 0
		b.Next, b.NextK = b.B, b.K1
		if i == len(v.at)-1 {
			b.Next, b.Act = nil, end
		}
		k.Run(b)
	}
}

// tiles is group on kernels of its own. A few tiles of pixels meet all the weights before
// the next ones do, so that their channels out, and those of the residual, go to and come
// from memory as whole rows; but weights that do not stay in L2 are read once.
func (t *lastTask) tiles(x []float32, g, n0, n1 int) {
	v := t.v
	few := t.pixels
	if 4*v.depth()*(n1-n0) <= weightBytes {
		parts := (t.pixels + fewPixels - 1) / fewPixels
		few = (t.pixels + parts - 1) / parts
	}
	for p := 0; p < t.pixels; p += few {
		t.pixelTiles(x, g, n0, n1, p, min(p+few, t.pixels))
	}
}

const (
	// weightBytes of weights stay in L2 beside a strip.
	weightBytes = 768 << 10
	// fewPixels are eight tiles.
	fewPixels = 8 * maxRows
)

// pixelTiles multiplies pixels p0 to p1.
func (t *lastTask) pixelTiles(x []float32, g, n0, n1, p0, p1 int) {
	v, w := t.v, t.v.W[g]
	mg := v.m / v.groups
	p := product{x: x, stride: v.c, index: v.index[p0:p1], ystride: v.m}
	for n := n0; n < n1; n += p.width {
		p.width = min(layout.NR, n1-n)
		p.half = mg-n <= layout.NR/2
		p.apart = 0
		if whole := min(2*layout.NR, n1-n); whole > layout.NR && mg-n-layout.NR > layout.NR/2 {
			p.width, p.apart = whole, layout.NR*w.K
		}
		at := p0*v.m + g*mg + n
		p.y = t.y[at:]
		for i, b := range v.blocks {
			p.spans, p.b = v.spans[b.from:b.to], w.F32[w.Index(b.k, n):]
			p.bias, p.residual, p.after = nil, nil, act.Identity
			if i == 0 {
				p.bias = t.zero
				if v.Bias != nil {
					p.bias = v.Bias[g*mg+n:]
				}
			}
			if i == len(v.blocks)-1 {
				if inTile(v.act) {
					p.after = v.act
				}
				if t.residual != nil {
					p.residual = t.residual[at:]
				}
			}
			v.kernels.tiles(&p)
		}
	}
}

// inTile reports whether the tiles' kernels apply an activation.
func inTile(k act.Kind) bool {
	return k == act.Identity || k == act.Relu || k == act.Relu6 || k == act.HardSwish
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
			v.kernels.gather(t.rest[p*depth+j:], v.stretch, from[j:], v.at, min(run, t.pixels-p), v.axes[2].Stride*v.c, min(layout.NR, v.stretch-j))
		}
	}
}

// finish adds the residual and applies the activation to a part of the channels.
func (t *lastTask) finish(part int) {
	v := t.v
	kind, residual := v.act, t.residual
	if v.tiled() {
		residual = nil
		if inTile(kind) {
			kind = act.Identity
		}
	}
	if residual == nil && (kind == act.Relu || kind == act.Identity) {
		return
	}
	ks := v.kernels.gemm.Act()
	t.eachRow(part, func(lo, n int) {
		y := t.y[lo : lo+n]
		if residual != nil {
			ks.Add(y, residual[lo:lo+n])
		}
		ks.Apply(kind, y, 1)
	})
}

// columns are the channels out of a part.
func (v *Last) columns(part int) (c0, c1 int) {
	mg := v.m / v.groups
	per := (mg + layout.NR - 1) / layout.NR
	column := func(u int) int { return u/per*mg + min(mg, u%per*layout.NR) }
	return column(part * v.groups * per / v.parts), column((part + 1) * v.groups * per / v.parts)
}

// eachRow calls f with stretches of the task's outputs that are of a part: rows of them, or
// as much as stays in L1 where whole rows lie side by side.
func (t *lastTask) eachRow(part int, f func(lo, n int)) {
	c0, c1 := t.v.columns(part)
	n, step, rows, size := c1-c0, t.v.m, t.pixels, t.pixels*t.v.m
	if n == t.v.m {
		n, step = 2048, 2048
		rows = (size + n - 1) / n
	}
	for i := range rows {
		lo := i*step + c0
		f(lo, min(n, size-lo))
	}
}
