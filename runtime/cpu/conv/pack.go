package conv

import "github.com/seed-c851cfd2/moec/codegen/plan/layout"

// pack writes panel p of the columns of image and group ig: a row per channel and tap,
// of the elements that the tap sees from each of 32 outputs.
func (v *Conv) pack(dst []float32, ig, p int, w *worker) {
	g := v.grid
	p0 := p * layout.NR
	n := min(layout.NR, g.area-p0)
	width := layout.NR
	if n <= layout.NR/2 {
		width = layout.NR / 2
	}
	segs := v.segments(w, p0, n)
	cg := v.c / v.groups
	src := v.padded
	plane := ig * cg * g.size // images at hand are side by side
	if g.plain {
		src = v.X
		plane += v.image * v.c * g.size
	}
	if n < width {
		clear(dst[:v.k*width])
	}
	for _, s := range segs {
		v.kernels.gather(dst[s.at:], width, src[plane+s.base:], g.taps, cg, g.size, s.n)
	}
}

// segments lists the stretches of outputs p0 to p0+n.
func (v *Conv) segments(w *worker, p0, n int) []seg {
	g := v.grid
	oh, ow := g.axes[1].Out, g.axes[2].Out
	count := 0
	for at := 0; at < n; {
		p := p0 + at
		x, h, d := p%ow, p/ow%oh, p/ow/oh
		s := seg{at: at, n: min(ow-x, n-at), base: g.base(d, h) + x}
		if l := count - 1; l >= 0 && w.segs[l].base+w.segs[l].n == s.base {
			w.segs[l].n += s.n
		} else {
			w.segs[count] = s
			count++
		}
		at += s.n
	}
	return w.segs[:count]
}
