package conv

import (
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// Windows goes over the windows of each channel on its own, channels last: a depthwise
// convolution or a pool. Pixels side by side whose windows lie inside the image go
// together, channels as vectors; those at its borders one by one, with the taps that hit
// the image. So nothing is copied for padding. Make it with NewWindows, set the operands,
// and Run; it must not be run by two goroutines at a time.
type Windows struct {
	X, Y Images // [N, in..., C], [N, out..., C]
	// Depthwise: [taps..., C], [C], [N, out..., C].
	W, Bias, Residual []float32
	Count             []float32 // Average: elements of each window, [out...]

	// Rounded says which of X and Y are bf16: images of two axes, C even. Set it before Prepare.
	Rounded struct{ X, Y bool }

	kernels *Kernels
	kind    Kind
	axes    [3]Axis
	n, c    int
	act     act.Kind
	row     int // outputs of a row
	perTask int // rows
	// Rows that hit the image with the same taps are of a class.
	classOf []int // of each row of an image
	classes [][]windowRun

	widen bool // rows of X are widened first
	// Of each worker: room for the rows of the input that a task reads, and for a row of outputs.
	perIn, perOut int
	buf           []float32
}

// windowRun is a stretch of a row whose windows hit the image with the same taps.
type windowRun struct {
	from, to  int
	k0        int   // first tap along the row
	off, woff []int // bytes of each tap from the first one in the image, and in the weights
}

// NewWindows prepares it for n images of c channels; see NewConv for axes.
func NewWindows(k *Kernels, kind Kind, n, c int, axes [3]Axis, after act.Kind) *Windows {
	v := &Windows{kernels: k, kind: kind, axes: axes, n: n, c: c, act: after, row: axes[2].Out}
	taps := 1
	for _, a := range axes {
		taps *= a.Kernel
	}
	v.perTask = max(1, 1<<18/max(1, v.row*c*taps))
	return v
}

// Work is the number of taps of a run.
func (v *Windows) Work() int {
	a := v.axes
	return v.rows() * v.row * v.c * a[0].Kernel * a[1].Kernel * a[2].Kernel
}

func (v *Windows) rows() int { return v.n * v.axes[0].Out * v.axes[1].Out }

// roundedBytes of a task's rows in f32 stay in L2.
const roundedBytes = 768 << 10

// Prepare lists the taps of all windows, cuts the work for a number of workers, and returns
// the floats of scratch memory that Run takes.
func (v *Windows) Prepare(workers int) int {
	h, in := v.axes[1], v.axes[2].In*v.c
	v.widen = v.Rounded.X && !v.kernels.foldsHalves()
	if v.widen {
		v.perTask = max(1, min(h.Out, roundedBytes/4/max(1, h.Stride*in+v.row*v.c)))
	}
	if workers > 1 {
		v.perTask = max(1, min(v.perTask, v.rows()/(4*workers)))
	}
	a := v.axes
	seen := map[[4]int]int{}
	for d := range a[0].Out {
		for h := range a[1].Out {
			var taps [4]int
			taps[0], taps[1] = a[0].inside(d)
			taps[2], taps[3] = a[1].inside(h)
			class, ok := seen[taps]
			if !ok {
				class = len(v.classes)
				seen[taps] = class
				v.classes = append(v.classes, v.runs(taps))
			}
			v.classOf = append(v.classOf, class)
		}
	}
	if v.widen {
		v.perIn = min(h.In, h.span(v.perTask)) * in
	}
	if v.Rounded.Y {
		v.perOut = v.row * v.c
	}
	return workers * (v.perIn + v.perOut)
}

// runs cuts a row of the class whose taps on the first two axes are taps[0] to taps[1]
// and taps[2] to taps[3].
func (v *Windows) runs(taps [4]int) (out []windowRun) {
	a, w := v.axes, v.axes[2]
	for i := 0; i < w.Out; {
		k0, k1 := w.inside(i)
		r := windowRun{from: i, k0: k0}
		for i++; i < w.Out; i++ {
			if l0, l1 := w.inside(i); l0 != k0 || l1 != k1 {
				break
			}
		}
		r.to = i
		for d := taps[0]; d < taps[1]; d++ {
			for h := taps[2]; h < taps[3]; h++ {
				row := ((d-taps[0])*a[0].Dilation*a[1].In + (h-taps[2])*a[1].Dilation) * w.In
				tap := (d*a[1].Kernel + h) * w.Kernel
				for k := k0; k < k1; k++ {
					r.off = append(r.off, 4*(row+(k-k0)*w.Dilation)*v.c)
					r.woff = append(r.woff, 4*(tap+k)*v.c)
				}
			}
		}
		out = append(out, r)
	}
	return out
}

// Run does all windows. It fails only if a task panics.
func (v *Windows) Run(r pool.Runner, scratch []float32) error {
	if v.row*v.c == 0 {
		return nil
	}
	v.buf = scratch
	return r.Run((v.rows()+v.perTask-1)/v.perTask, v)
}

// Do does one task; it is for the pool.
func (v *Windows) Do(i, worker int) {
	lo, hi := i*v.perTask, min((i+1)*v.perTask, v.rows())
	if !v.widen {
		v.lines(lo, hi, v.X, 0, worker)
		return
	}
	// Image by image, the rows that the windows reach in f32.
	h, row := v.axes[1], v.axes[2].In*v.c
	for lo < hi {
		img := lo / h.Out
		end := min(hi, (img+1)*h.Out)
		from, to := lo-img*h.Out, end-img*h.Out
		y0 := min(h.In, max(0, from*h.Stride-h.Pad))
		y1 := max(y0, min(h.In, from*h.Stride-h.Pad+h.span(to-from)))
		strip := v.buf[worker*(v.perIn+v.perOut):][:(y1-y0)*row]
		v.X.load(v.kernels.gemm, strip, (img*h.In+y0)*row)
		v.lines(lo, end, Images{F32: strip}, (img*h.In+y0)*v.axes[2].In, worker)
		lo = end
	}
}

// lines makes rows lo to hi of all images' rows, where x begins with that pixel of them.
func (v *Windows) lines(lo, hi int, x Images, pixel, worker int) {
	size := v.row * v.c
	a := v.kernels.gemm.Act()
	for r := lo; r < hi; r++ {
		var y []float32
		if v.Rounded.Y {
			y = v.buf[worker*(v.perIn+v.perOut)+v.perIn:][:size]
		} else {
			y = v.Y.F32[r*size : (r+1)*size]
		}
		v.line(r, y, x, pixel)
		if v.kind == Average {
			v.divide(y, r*v.row)
		}
		if v.Residual != nil {
			a.Add(y, v.Residual[r*size:(r+1)*size])
		}
		a.Apply(v.act, y, 1)
		if v.Rounded.Y {
			v.Y.store(v.kernels.gemm, r*size, y, size, 1, size)
		}
	}
}

// inside is the range of taps of window i that hit the image.
func (a Axis) inside(i int) (lo, hi int) {
	first := i*a.Stride - a.Pad
	if first < 0 {
		lo = (-first + a.Dilation - 1) / a.Dilation
	}
	hi = a.Kernel
	if rest := a.In - first; rest < (a.Kernel-1)*a.Dilation+1 {
		hi = 0
		if rest > 0 {
			hi = (rest + a.Dilation - 1) / a.Dilation
		}
	}
	return min(lo, a.Kernel), max(min(lo, a.Kernel), hi)
}

// line makes row r of all images' rows from x, which begins with that pixel of them.
func (v *Windows) line(r int, y []float32, x Images, pixel int) {
	a, w := v.axes, v.axes[2]
	d, h, img := r/a[1].Out%a[0].Out, r%a[1].Out, r/a[1].Out/a[0].Out
	d0, _ := a[0].inside(d)
	h0, _ := a[1].inside(h)
	id, ih := d*a[0].Stride-a[0].Pad+d0*a[0].Dilation, h*a[1].Stride-a[1].Pad+h0*a[1].Dilation
	row := ((img*a[0].In+id)*a[1].In+ih)*w.In - pixel
	for _, t := range v.classes[v.classOf[d*a[1].Out+h]] {
		var in Images
		if len(t.off) > 0 {
			in = x.from((row + t.from*w.Stride - w.Pad + t.k0*w.Dilation) * v.c)
		}
		v.kernels.fold(v.kind, y[t.from*v.c:t.to*v.c], v.c, in, w.Stride*v.c, t.off, v.W, t.woff, v.Bias)
	}
}

// divide makes means of the sums of pixels from that one of all outputs on.
func (v *Windows) divide(sums []float32, pixel int) {
	area := v.axes[0].Out * v.axes[1].Out * v.row
	for p := range len(sums) / v.c {
		if n := v.Count[(pixel+p)%area]; n > 0 {
			y := sums[p*v.c : (p+1)*v.c]
			for i := range y {
				y[i] /= n
			}
		}
	}
}

// fold folds windows side by side, channel by channel: y are len(y)/c pixels of c
// channels, off and woff the byte offsets of the first window's taps in x and of their
// weights in w, both ascending, step the elements from one window to the next.
func (k *Kernels) fold(kind Kind, y []float32, c int, x Images, step int, off []int, w []float32, woff []int, bias []float32) {
	start := float32(0)
	if kind == Max {
		start = float32(math.Inf(-1))
	}
	if k.foldVector(kind, y, c, x, step, off, w, woff, bias, start) {
		return
	}
	for p := 0; p*c < len(y); p++ {
		out := y[p*c : (p+1)*c]
		for i := range out {
			out[i] = start
		}
		copy(out, bias)
		for t, o := range off {
			in := x.F32[o/4+p*step:][:c]
			switch kind {
			case Max:
				for i, v := range in {
					if v > out[i] || v != v {
						out[i] = v
					}
				}
			case Average:
				for i, v := range in {
					out[i] += v
				}
			default:
				wt := w[woff[t]/4:][:c]
				for i, v := range in {
					out[i] += wt[i] * v
				}
			}
		}
	}
}

// reachWindows checks what the assembly does not.
func reachWindows(c, pixels int, x Images, step int, off []int, w []float32, woff []int, bias []float32) {
	if last := len(off) - 1; last >= 0 {
		from, to := off[last]/4, off[last]/4+(pixels-1)*step+c
		if x.BF16 != nil {
			_ = x.BF16[from:to]
		} else {
			_ = x.F32[from:to]
		}
		if w != nil {
			_ = w[woff[last]/4 : woff[last]/4+c]
		}
	}
	if bias != nil {
		_ = bias[c-1]
	}
}
