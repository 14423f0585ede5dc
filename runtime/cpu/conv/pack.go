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
	for range cg {
		// Copies go eight at a time, over the end of a stretch, where the next stretch
		// or row overwrites them; in the input's own memory there may be nothing there.
		over := plane+g.size+8 <= len(src)
		for _, t := range g.taps {
			row := dst[:width]
			dst = dst[width:]
			if len(segs) == 1 && n == layout.NR {
				*(*[layout.NR]float32)(row) = *(*[layout.NR]float32)(src[plane+t+segs[0].base:])
				continue
			}
			for _, s := range segs {
				from := src[plane+t+s.base:]
				if end := s.at + (s.n+7)&^7; !over || end > width {
					copy(row[s.at:s.at+s.n], from)
					continue
				}
				to := row[s.at:]
				for i := 0; i < s.n; i += 8 {
					*(*[8]float32)(to[i:]) = *(*[8]float32)(from[i:])
				}
			}
		}
		plane += g.size
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
