package conv

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// Last convolves images whose channels come last: y = Act(x*w + Bias + Residual). It is
// a product of rows of pixels by packed weights: the window of an output on its last
// axis is one stretch of memory, so the rows of the product are the input itself, at
// strides, and nothing is packed. An image with padding is first copied with it, a strip
// of rows at a time that stays in L2. Stretches too short for a product of package gemm
// (few channels) are put side by side first; the kernels for AVX-512 take any. By weights
// in bf16 the same runs on package gemm's products of that precision: see rounded.
//
// An output is one chain of multiply-adds over ascending tap and channel that starts
// from the bias; strips, threads and the batch do not enter it.
//
// Make it with NewLast, set the operands, and Run; it must not be run by two goroutines
// at a time.
type Last struct {
	X, Y     Images           // [N, in..., C], [N, out..., M]; must not overlap
	W        []*layout.Matrix // of each group: [taps*C/groups, M/groups], taps outermost; see layout.Precision.ConvRows
	Bias     []float32        // [M], or nil
	Residual Images           // [N, out..., M], or none
	// Rounded says which of the images are bf16; set it before Scratch.
	Rounded struct{ X, Y, Residual bool }

	kernels   *Kernels
	precision layout.Precision // of W: F32 or BF16
	axes      [3]Axis
	n, c, m   int
	groups    int
	act       act.Kind

	padded   bool    // some windows reach beyond the image
	direct   bool    // pixels are read where they are
	gathered bool    // stretches are put side by side
	bf16     bool    // and rounded, or read from
	round    rounded // a strip in bf16
	stretch  int     // floats of a stretch
	at       []int   // of each stretch in the image, in floats, for the planned strip
	spans    []span
	blocks   []block // of spans
	cut      int     // axis along which images are cut into strips
	area     int     // outputs of an image

	// How the work is cut, by workers; see plan.
	rows     int     // outputs of a strip along the axis it is cut from; some have one less
	strips   int     // of an image
	images   int     // of a task; more than one only if a strip is all of an image
	parts    int     // of the channels out, for one task each
	size     [3]int  // pixels of a strip's input
	index    []int32 // windows of a task, in pixels from the first
	count    []int32 // 0, 1, ...: gathered windows
	tasks    int
	buf      []float32
	perStrip int
	perBuf   int // floats of a worker: the strip, then the gathered rows, then what nobody wants
	muls     []gemm.Block
	strip    []int // of each worker: the strip that its memory holds, padded, or -1
	zero     [2 * layout.NR]float32
}

// shortStretch: stretches of fewer floats go side by side. At 64 steps a tile's start
// and end take a tenth of its time.
const shortStretch = 64

const (
	// stripBytes of input and output of a strip stay in L2 beside the weights.
	stripBytes = 512 << 10
	// wideStripBytes are those of a strip whose weights do not stay in L2: the more
	// pixels, the less often they are read.
	wideStripBytes = 1280 << 10
)

// NewLast prepares a convolution; see NewConv for axes. Padding takes scratch memory: who
// asks for a convolution should not ask for one with far more padding than input. p is
// the precision of the weights: F32, or BF16 where the CPU has products of it.
func NewLast(k *Kernels, p layout.Precision, n, c, m, groups int, axes [3]Axis, kind act.Kind) *Last {
	v := &Last{kernels: k, precision: p, axes: axes, n: n, c: c, m: m, groups: groups, act: kind, area: 1}
	for _, a := range axes {
		v.area *= a.Out
		v.padded = v.padded || a.Pad != 0 || a.used() > a.In
	}
	for v.cut < 2 && axes[v.cut].Out == 1 {
		v.cut++
	}
	v.stretch = c / groups
	if v.joined() {
		v.stretch *= axes[2].Kernel
	}
	v.gathered = v.stretch < shortStretch && v.stretch < v.depth() && !v.tiled()
	if bf16, inPlace := v.rounds(); bf16 {
		v.bf16, v.gathered = true, !inPlace
	}
	return v
}

// tiled reports whether the product runs on kernels of its own, which take stretches of
// any length; else it is one of package gemm per stretch.
func (v *Last) tiled() bool { return v.precision == layout.F32 && v.kernels.gemm.Features().AVX512 }

// joined reports whether the taps of the last axis lie side by side.
func (v *Last) joined() bool { return v.groups == 1 && v.axes[2].Dilation == 1 }

// depth is the length of the reduction: channels of a group times taps.
func (v *Last) depth() int {
	return v.c / v.groups * v.axes[0].Kernel * v.axes[1].Kernel * v.axes[2].Kernel
}

// Work is the number of multiply-adds of a run.
func (v *Last) Work() int { return v.n * v.m * v.area * v.depth() }

// span is the length of input that n windows cover.
func (a Axis) span(n int) int { return (n-1)*a.Stride + (a.Kernel-1)*a.Dilation + 1 }

// inner is the number of outputs of a strip per row of it.
func (v *Last) inner() int {
	n := 1
	for _, a := range v.axes[v.cut+1:] {
		n *= a.Out
	}
	return n
}

// block is a part of the reduction whose weights stay in L1: spans from to to, from row
// k of the weights on.
type block struct{ from, to, k int }

// blockSteps rows of two panels are 40 KB; from 96 to 320 it makes no difference.
const blockSteps = 160

// cutSpans lists the spans of a window, cut into blocks of about equal length.
func (v *Last) cutSpans() {
	v.spans, v.blocks = v.spans[:0], v.blocks[:0]
	depth := v.depth()
	n := (depth + blockSteps - 1) / blockSteps
	at := v.at
	stretch := v.stretch
	if v.gathered {
		at, stretch = []int{0}, depth
	}
	k := 0
	for i := range n {
		b := block{from: len(v.spans), k: k}
		for end := (i + 1) * depth / n; k < end; {
			s, in := k/stretch, k%stretch
			run := min(stretch-in, end-k)
			v.spans = append(v.spans, span{4 * (at[s] + in), run})
			k += run
		}
		b.to = len(v.spans)
		v.blocks = append(v.blocks, b)
	}
}

// plan cuts the work for a number of workers.
func (v *Last) plan(workers int) {
	v.direct = !v.padded && !v.Rounded.X
	if v.bf16 && !v.gathered {
		v.direct = v.readsImage()
	}
	a, inner := v.axes[v.cut], v.inner()
	pixels := 1 // of input per row of a strip
	for _, b := range v.axes[v.cut+1:] {
		pixels *= b.span(b.Out)
	}
	perRow := 4 * (a.Stride*pixels*v.c + inner*v.m)
	if v.gathered {
		perRow += 4 * inner * v.depth() * v.groups
	}
	weights := 4 * v.depth() * v.m
	bytes := stripBytes
	if weights > stripBytes {
		bytes = wideStripBytes
	}
	fit := max(1, bytes/max(1, perRow), (23+inner)/inner)
	panels := v.groups * ((v.m/v.groups + layout.NR - 1) / layout.NR)
	v.parts = 1
	if workers > 1 {
		// Several tasks for each worker by strips, which leave a worker's own outputs in
		// its caches; one where there are many weights, which every strip reads; and by
		// channels out where that would be few pixels.
		each := 4
		if weights > stripBytes {
			each = 1
		}
		if weights > stripBytes && panels >= 4*workers && v.n*v.area < 64*workers {
			v.parts = min(4*workers, panels/2)
		} else {
			share := (v.n*a.Out + each*workers - 1) / (each * workers)
			fit = max(1, min(fit, max(share, (47+inner)/inner)))
			if tasks := v.n * ((a.Out + fit - 1) / fit); tasks < workers {
				v.parts = max(1, min(panels, (2*workers+tasks-1)/tasks))
			}
		}
	}
	v.strips = (a.Out + fit - 1) / fit
	// As many for one worker as for the next, and about equal: three strips for two workers
	// took 0.65 of the time of one worker, of 512 channels in 28 x 28 pixels.
	for v.strips > 1 && v.strips < a.Out && v.n*v.strips%workers != 0 {
		v.strips++
	}
	v.rows = (a.Out + v.strips - 1) / v.strips
	v.images = 1
	if v.strips == 1 {
		v.images = max(1, min(v.n, fit/max(1, a.Out)))
		tasks := (v.n + v.images - 1) / v.images
		tasks = min(v.n, (tasks+workers-1)/workers*workers)
		v.images = (v.n + tasks - 1) / tasks
	}
	v.tasks = (v.n + v.images - 1) / v.images * v.strips * v.parts
	for i, b := range v.axes {
		v.size[i] = b.In
		if !v.direct {
			v.size[i] = b.span(b.Out)
			if i == v.cut {
				v.size[i] = b.span(v.rows)
			}
		}
	}
	pixels = v.images * v.rows * inner
	v.perStrip = 0
	switch {
	case v.bf16 && !v.gathered:
		v.perStrip = v.layOutRounded()
	case !v.direct:
		v.perStrip = (v.images*v.size[0]*v.size[1]*v.size[2]*v.c + 15) &^ 15
	}
	v.perBuf = v.perStrip + 2*v.perImage()
	if v.bf16 {
		v.perBuf += (v.m + 15) &^ 15
	}
	switch {
	case v.gathered && v.bf16:
		v.perBuf += (v.kernels.gemm.OperandLen(layout.BF16, pixels, layout.BF16.ConvRows(v.depth())) + 15) &^ 15
	case v.gathered:
		v.perBuf += (pixels*v.depth() + 15) &^ 15
	}
	v.layOut()
}

// layOut lists where the stretches of a window are, and the pixels of the outputs of a
// task.
func (v *Last) layOut() {
	v.at, v.index = v.at[:0], v.index[:0]
	a := v.axes
	for d := range a[0].Kernel {
		for h := range a[1].Kernel {
			row := (d*a[0].Dilation*v.size[1] + h*a[1].Dilation) * v.size[2]
			if v.joined() {
				v.at = append(v.at, row*v.c)
				continue
			}
			for w := range a[2].Kernel {
				v.at = append(v.at, (row+w*a[2].Dilation)*v.c)
			}
		}
	}
	out := [3]int{a[0].Out, a[1].Out, a[2].Out}
	out[v.cut] = v.rows
	for i := range v.images {
		for d := range out[0] {
			for h := range out[1] {
				base := ((i*v.size[0]+d*a[0].Stride)*v.size[1] + h*a[1].Stride) * v.size[2]
				for w := range out[2] {
					v.index = append(v.index, int32(base+w*a[2].Stride))
				}
			}
		}
	}
	v.count = v.count[:0]
	for i := range v.index {
		if v.gathered {
			v.count = append(v.count, int32(i))
		}
	}
	v.cutSpans()
}

// Scratch is the number of floats that Run takes with a number of workers; it also
// plans the runs with that number.
func (v *Last) Scratch(workers int) int {
	if v.n*v.m*v.area == 0 {
		return 0
	}
	v.plan(workers)
	v.muls, v.strip = make([]gemm.Block, workers), make([]int, workers)
	return workers * v.perBuf
}

// Run convolves, with as many workers as Scratch was asked about. It fails only if a
// task panics.
func (v *Last) Run(r pool.Runner, scratch []float32) error {
	if v.n*v.m*v.area == 0 {
		return nil
	}
	v.buf = scratch
	for i := range v.strip {
		v.strip[i] = -1
	}
	return r.Run(v.tasks, v)
}

// Do does one task; it is for the pool.
func (v *Last) Do(i, worker int) {
	part := i % v.parts
	i /= v.parts
	out := v.axes[v.cut].Out
	r0 := i % v.strips * out / v.strips
	rows := (i%v.strips+1)*out/v.strips - r0
	img := i / v.strips * v.images
	images := min(v.images, v.n-img)
	inner := v.inner()
	pixels := images * rows * inner
	buf := v.buf[worker*v.perBuf : (worker+1)*v.perBuf]
	a := v.axes[v.cut]
	in := v.axes[0].In * v.axes[1].In * v.axes[2].In * v.c
	var x []float32
	if v.direct {
		rest := 1 // pixels of a row of the axis that is cut
		for _, b := range v.axes[v.cut+1:] {
			rest *= b.In
		}
		from, to := img*in+r0*a.Stride*rest*v.c, (img+images)*in
		if v.Rounded.X {
			x = words(v.X.BF16[from:to])
		} else {
			x = v.X.F32[from:to]
		}
	} else {
		x = buf[:v.perStrip]
		if v.strip[worker] != i { // else a task of other channels has left it
			v.fill(x, img*in, r0, images)
			v.strip[worker] = i
		}
		buf = buf[v.perStrip:]
	}
	at, size := (img*v.area+r0*inner)*v.m, pixels*v.m
	t := lastTask{v: v, x: x, at: at, pixels: pixels, rest: buf[2*v.perImage():], zero: v.zero[:], mul: &v.muls[worker]}
	if v.Rounded.Y {
		t.y = buf[:size]
	} else {
		t.y = v.Y.F32[at : at+size]
	}
	switch {
	case v.Residual.none() || v.bf16:
	case v.Rounded.Residual:
		t.residual = buf[v.perImage():][:size]
		t.eachRow(part, func(lo, n int) { v.Residual.load(v.kernels.gemm, t.residual[lo:lo+n], at+lo) })
	default:
		t.residual = v.Residual.F32[at : at+size]
	}
	mg := v.m / v.groups
	per := (mg + layout.NR - 1) / layout.NR
	u0, u1 := part*v.groups*per/v.parts, (part+1)*v.groups*per/v.parts
	for u0 < u1 {
		g := u0 / per
		end := min(u1, (g+1)*per)
		t.group(g, u0%per*layout.NR, min(mg, (end-g*per)*layout.NR))
		u0 = end
	}
	if v.bf16 {
		return
	}
	t.finish(part)
	if v.Rounded.Y {
		c0, c1 := v.columns(part)
		v.Y.store(v.kernels.gemm, at+c0, t.y[c0:], v.m, pixels, c1-c0)
	}
}

// perImage is the room in f32 for the outputs of a task that are kept in bf16.
func (v *Last) perImage() int {
	if !v.Rounded.Y && !v.Rounded.Residual {
		return 0
	}
	return (v.images*v.rows*v.inner()*v.m + 15) &^ 15
}

// fill makes the strip from output r0 on, of some images; element at is their first.
func (v *Last) fill(strip []float32, at, r0, images int) {
	from, to := v.axes[0].In*v.axes[1].In*v.axes[2].In*v.c, v.size[0]*v.size[1]*v.size[2]*v.c
	if v.bf16 && !v.gathered {
		to = v.round.words / v.images
		clear(strip[images*to:])
	}
	for i := range images {
		dst := strip[i*to : (i+1)*to]
		if v.bf16 && !v.gathered {
			v.roundStrip(dst, at+i*from, r0)
		} else {
			v.pad(dst, at+i*from, r0)
		}
	}
}

// pad copies what a strip from output r0 on reads of the image at element from, with zeros
// around it.
func (v *Last) pad(dst []float32, from, r0 int) {
	a := v.axes
	var first [3]int // element of the image at the strip's start
	for i := range a {
		first[i] = -a[i].Pad
	}
	first[v.cut] += r0 * a[v.cut].Stride
	row := v.size[2] * v.c
	lo, hi := min(v.size[2], max(0, -first[2])), min(v.size[2], a[2].In-first[2])
	hi = max(lo, hi)
	for d := range v.size[0] {
		for h := range v.size[1] {
			out := dst[(d*v.size[1]+h)*row:][:row]
			id, ih := d+first[0], h+first[1]
			if id < 0 || id >= a[0].In || ih < 0 || ih >= a[1].In || lo == hi {
				clear(out)
				continue
			}
			clear(out[:lo*v.c])
			v.X.load(v.kernels.gemm, out[lo*v.c:hi*v.c], from+((id*a[1].In+ih)*a[2].In+first[2]+lo)*v.c)
			clear(out[hi*v.c:])
		}
	}
}
