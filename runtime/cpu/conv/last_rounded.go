package conv

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// rounded is how a strip lies in memory in bf16, for products on instructions of that
// precision. The strip is copied with its padding and rounded once. A row of the product
// is a window: one stretch of memory per row of its taps, or per tap, and the windows of
// a row of outputs are one step apart. They go on to the next row of outputs at that same
// step, so that tile registers, which load sixteen rows at one stride, fill across the
// ends of short rows; what lies between the rows is multiplied too, and dropped.
//
// Rows of the strip are in the order of the phases of the vertical stride, and those that
// no tap reads are left out. Padding between two rows serves both.
type rounded struct {
	width  int   // pixels of a row of the strip
	shared int   // of them zeros that the row before ends in, too
	each   int   // pixels of the input from one in the strip to the next
	pixel  int   // words of a pixel
	phases []int // of the vertical stride that some tap reads
	slots  int   // rows of a phase
	step   int   // words from a window to the next
	fill   int   // words of zeros behind a pixel
	spans  []int // of a window, in words
	run    int   // elements of a span, zeros behind a pixel included
	words  int   // of a strip with all of its images
	full   rowList
	less   rowList // of a strip of one row less, or of the last images
}

// rowList says which rows of the operand a block multiplies, and to which outputs they
// go; nil where the rows follow each other.
type rowList struct {
	from, to []int32
	n        int
}

// tileRows are the rows that a tile register loads at one stride.
const tileRows = 16

// rounds reports whether strips are rounded to bf16, and whether windows can be read from
// them: stretches start at whole words, and where there are several they are whole k
// tiles. Else they are put side by side.
func (v *Last) rounds() (yes, inPlace bool) {
	if v.precision != layout.BF16 {
		return false, false
	}
	taps := v.axes[0].Kernel * v.axes[1].Kernel * v.axes[2].Kernel
	if taps == 1 && v.groups == 1 {
		return true, true
	}
	return true, v.c%2 == 0 && v.stretch%layout.ConvTile == 0
}

// layOutRounded fills in v.round for the planned strip and returns the words it takes.
func (v *Last) layOutRounded() int {
	r, a, w := &v.round, v.axes, v.axes[2]
	single := w.Kernel == 1
	*r = rounded{pixel: v.c / 2, run: v.stretch, spans: r.spans[:0], phases: r.phases[:0], full: r.full, less: r.less}
	if !v.joined() || single {
		r.run = layout.BF16.ConvRows(r.run)
		r.fill = layout.BF16.Steps(r.run) - layout.BF16.Steps(v.stretch)
		r.pixel = v.kernels.gemm.OperandLen(layout.BF16, 1, max(v.c, r.run))
	}
	if v.direct {
		r.pixel = v.c / 2
	}
	outs := [3]int{a[0].Out, a[1].Out, a[2].Out}
	outs[v.cut] = v.rows
	switch stride := w.Stride; {
	case single:
		r.width, r.each, r.step = outs[2], stride, r.pixel
	default:
		r.each, r.step = 1, stride*r.pixel
		r.width = w.span(outs[2])
		if v.cut < 2 {
			// Less than a window is shared: a row that began before the last window of the one
			// before it would repeat windows, which tiles take one after the other.
			pad := max(0, w.Pad)
			r.shared = min(pad, (w.Kernel-1)*w.Dilation)
			image := max(0, min(r.width-pad, w.In-max(0, -w.Pad)))
			r.width -= min(r.shared, max(0, r.width-pad-image))
		}
		r.width = (r.width + stride - 1) / stride * stride
	}
	index := map[int]int{}
	for h := range a[1].Kernel {
		if p := h * a[1].Dilation % a[1].Stride; index[p] == 0 {
			r.phases = append(r.phases, p)
			index[p] = len(r.phases)
		}
	}
	r.slots = (a[1].span(outs[1]) + a[1].Stride - 1) / a[1].Stride
	row := r.width * r.pixel
	slice := len(r.phases) * r.slots * row
	for d := range a[0].Kernel {
		for h := range a[1].Kernel {
			y := h * a[1].Dilation
			at := d*a[0].Dilation*slice + (index[y%a[1].Stride]-1)*r.slots*row + y/a[1].Stride*row
			if v.joined() {
				r.spans = append(r.spans, at)
				continue
			}
			for k := range w.Kernel {
				r.spans = append(r.spans, at+k*w.Dilation*r.pixel)
			}
		}
	}
	if len(r.spans) == 1 {
		r.spans = nil
	}
	r.words = v.images * a[0].span(outs[0]) * slice
	r.full.list(v, v.images, v.rows, slice)
	images := v.images
	if v.strips == 1 {
		images = v.n - (v.n-1)/v.images*v.images
	}
	r.less.list(v, images, v.axes[v.cut].Out/v.strips, slice)
	if v.direct {
		return 0
	}
	// The last window may end in padding that no row follows.
	return (r.words + r.shared*r.pixel + 15) &^ 15
}

// list makes the list for a strip of that many rows, of some images.
func (l *rowList) list(v *Last, images, rows, slice int) {
	r, a := &v.round, v.axes
	outs := [3]int{a[0].Out, a[1].Out, a[2].Out}
	outs[v.cut] = rows
	steps := r.width / max(1, r.step/r.pixel) // windows of a row, those in between too
	perSlice := slice / max(1, r.step)
	*l = rowList{from: l.from[:0], to: l.to[:0]}
	tiled := v.kernels.gemm.Tiled(layout.BF16)
	plain, to, start := true, int32(0), int32(0)
	for i := range images {
		for d := range outs[0] {
			for h := range outs[1] {
				for x := range outs[2] {
					row := int32(((i*a[0].span(v.outs(0))+d*a[0].Stride)*perSlice + h*steps) + x)
					switch n := len(l.from); {
					case !tiled, n == 0, row-start >= tileRows:
						for ; tiled && n%tileRows != 0; n++ {
							l.from, l.to = append(l.from, l.from[n-1]+1), append(l.to, -1)
						}
						start = row
					default:
						for next := l.from[n-1] + 1; next < row; next++ {
							l.from, l.to = append(l.from, next), append(l.to, -1)
						}
					}
					l.from, l.to = append(l.from, row), append(l.to, to)
					plain = plain && row == to
					to++
				}
			}
		}
	}
	l.n = len(l.from)
	if plain {
		l.from, l.to = nil, nil
	}
}

// outs is the number of outputs of a strip along an axis.
func (v *Last) outs(i int) int {
	if i == v.cut {
		return v.rows
	}
	return v.axes[i].Out
}

// roundStrip copies what a strip from output r0 on reads of the image at element from to
// dst, in bf16, with zeros around it.
func (v *Last) roundStrip(dst []float32, from, r0 int) {
	r, a := &v.round, v.axes
	var first [3]int // element of the image at the strip's start
	for i := range a {
		first[i] = -a[i].Pad
	}
	first[v.cut] += r0 * a[v.cut].Stride
	row := r.width * r.pixel
	x0, lo := first[2], 0
	if x0 < 0 {
		lo = min(r.width, (-x0+r.each-1)/r.each)
		x0 += lo * r.each
	}
	hi := max(lo, min(r.width, lo+(a[2].In-x0+r.each-1)/r.each))
	at := 0
	for d := range a[0].span(v.outs(0)) {
		for _, phase := range r.phases {
			for s := range r.slots {
				out := dst[at:][:row]
				at += row
				id, ih := d+first[0], s*a[1].Stride+phase+first[1]
				if id < 0 || id >= a[0].In || ih < 0 || ih >= a[1].In || lo == hi {
					clear(out)
					continue
				}
				clear(out[:lo*r.pixel])
				v.roundPixels(out[lo*r.pixel:hi*r.pixel], from+((id*a[1].In+ih)*a[2].In+x0)*v.c)
				clear(out[hi*r.pixel:])
			}
		}
	}
}

// roundPixels copies pixels from element from on.
func (v *Last) roundPixels(out []float32, from int) {
	r := &v.round
	pixels, dense := len(out)/r.pixel, r.each == 1 && 2*r.pixel == v.c
	switch {
	case v.Rounded.X && dense:
		copy(halves(out), v.X.BF16[from:])
	case v.Rounded.X:
		for i := range pixels {
			to := halves(out[i*r.pixel : (i+1)*r.pixel])
			n := copy(to[:v.c], v.X.BF16[from+i*r.each*v.c:])
			clear(to[n : n+n%2])
		}
	case dense:
		v.kernels.gemm.RoundBF16(out, 0, v.X.F32[from:], 0, 1, pixels*v.c)
	default:
		v.kernels.gemm.RoundBF16(out, r.pixel, v.X.F32[from:], r.each*v.c, pixels, v.c)
	}
	for i := 0; i < pixels && r.fill > 0; i++ {
		clear(out[i*r.pixel+(v.c+1)/2:][:r.fill])
	}
}

// readsImage reports whether the windows are pixels of an image in bf16 as they lie: one
// tap each, of channels that fill their tile loads.
func (v *Last) readsImage() bool {
	for _, a := range v.axes {
		if a.Kernel != 1 || a.Stride != 1 {
			return false
		}
	}
	return v.Rounded.X && !v.padded && v.groups == 1 && v.c%layout.ConvTile == 0
}

// roundedGroup makes columns n0 to n1 of the channels out of group g from windows in
// bf16: those of the strip, or those put side by side.
func (t *lastTask) roundedGroup(g, n0, n1 int) {
	v, k := t.v, t.v.kernels.gemm
	r, mg, cg := &v.round, v.m/v.groups, v.c/v.groups
	b := t.mul
	*b = gemm.Block{
		M: t.pixels, B: v.W[g], N0: n0, N1: n1, K1: v.W[g].K, Act: v.act,
		C: gemm.Rows{Data: t.y[g*mg+n0:], Stride: v.m}, Spare: t.rest[:v.m],
	}
	if v.Bias != nil {
		b.Bias = v.Bias[g*mg : (g+1)*mg]
	}
	if v.gathered {
		data, step := t.rest[(v.m+15)&^15:], k.OperandLen(layout.BF16, 1, b.K1)
		t.roundSideBySide(t.x[g*cg:], data, step)
		b.A = gemm.Windows(data, step, nil, b.K1)
	} else {
		l := &r.full
		if t.pixels < v.images*v.rows*v.inner() {
			l = &r.less
		}
		b.M, b.C.Index = l.n, l.to
		b.A = gemm.Windows(t.x[g*cg/2:], r.step, r.spans, r.run)
		if l.from != nil {
			b.A = b.A.Pick(l.from)
		}
	}
	at := g*mg + n0
	switch {
	case v.Residual.none():
	case v.Rounded.Residual:
		b.HalfResidual = gemm.Windows(words(v.Residual.BF16[t.at+at:]), v.m/2, nil, 0)
	default:
		b.Residual = gemm.Rows{Data: v.Residual.F32[t.at+at:], Stride: v.m, Index: b.C.Index}
	}
	if v.Rounded.Y {
		b.Into, b.IntoCol = gemm.Windows(words(v.Y.BF16[t.at:]), v.m/2, nil, 0), at
	}
	k.Run(b)
}

// roundSideBySide puts the stretches of every window side by side in bf16, one window to
// a row of the operand.
func (t *lastTask) roundSideBySide(x, dst []float32, words int) {
	v := t.v
	run := v.axes[2].Out
	if v.cut == 2 {
		run = min(v.rows, t.pixels)
	}
	for p := 0; p < t.pixels; p += run {
		v.kernels.roundGather(dst[p*words:], words, x[int(v.index[p])*v.c:], v.at, v.stretch, min(run, t.pixels-p), v.axes[2].Stride*v.c, t.mul.K1-v.depth())
	}
}
