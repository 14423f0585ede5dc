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
	X, Y []float32 // [N, in..., C], [N, out..., C]
	// Depthwise: [taps..., C], [C], [N, out..., C].
	W, Bias, Residual []float32
	Count             []float32 // Average: elements of each window, [out...]

	kernels *Kernels
	kind    Kind
	axes    [3]Axis
	n, c    int
	act     act.Kind
	row     int // outputs of a row
	perTask int // rows
	workers []windowTask
}

// windowTask is what a thread keeps from row to row.
type windowTask struct {
	off, woff []int // of the taps at hand, in bytes
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

// Prepare makes room for a number of workers; Run takes no more.
func (v *Windows) Prepare(workers int) {
	taps := v.axes[0].Kernel * v.axes[1].Kernel * v.axes[2].Kernel
	v.workers = make([]windowTask, workers)
	for i := range v.workers {
		v.workers[i] = windowTask{off: make([]int, 0, taps), woff: make([]int, 0, taps)}
	}
	if workers > 1 {
		v.perTask = max(1, min(v.perTask, v.rows()/(4*workers)))
	}
}

// Run does all windows. It fails only if a task panics.
func (v *Windows) Run(r pool.Runner) error {
	if v.row*v.c == 0 {
		return nil
	}
	return r.Run((v.rows()+v.perTask-1)/v.perTask, v)
}

// Do does one task; it is for the pool.
func (v *Windows) Do(i, worker int) {
	lo, hi := i*v.perTask, min((i+1)*v.perTask, v.rows())
	for r := lo; r < hi; r++ {
		v.line(r, &v.workers[worker])
	}
	if v.kind == Average {
		v.divide(lo, hi)
	}
	y := v.Y[lo*v.row*v.c : hi*v.row*v.c]
	a := v.kernels.gemm.Act()
	if v.Residual != nil {
		a.Add(y, v.Residual[lo*v.row*v.c:][:len(y)])
	}
	a.Apply(v.act, y, 1)
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

// line makes row r of all images' rows.
func (v *Windows) line(r int, t *windowTask) {
	a := v.axes
	d, h, img := r/a[1].Out%a[0].Out, r%a[1].Out, r/a[1].Out/a[0].Out
	d0, d1 := a[0].inside(d)
	h0, h1 := a[1].inside(h)
	w := a[2]
	// Windows w0 to w1 lie inside the image along the row.
	w0 := min(w.Out, max(0, (w.Pad+w.Stride-1)/w.Stride))
	w1 := w0
	if rest := w.In - 1 - (w.Kernel-1)*w.Dilation + w.Pad; rest >= 0 {
		w1 = max(w0, min(w.Out, rest/w.Stride+1))
	}
	x := v.X[img*a[0].In*a[1].In*w.In*v.c:]
	y := v.Y[r*v.row*v.c : (r+1)*v.row*v.c]
	take := func(from, to, k0, k1 int) {
		t.off, t.woff = t.off[:0], t.woff[:0]
		for kd := d0; kd < d1; kd++ {
			id := d*a[0].Stride - a[0].Pad + kd*a[0].Dilation
			for kh := h0; kh < h1; kh++ {
				ih := h*a[1].Stride - a[1].Pad + kh*a[1].Dilation
				at := (id*a[1].In+ih)*w.In + from*w.Stride - w.Pad
				tap := (kd*a[1].Kernel + kh) * w.Kernel
				for k := k0; k < k1; k++ {
					t.off = append(t.off, 4*(at+k*w.Dilation)*v.c)
					t.woff = append(t.woff, 4*(tap+k)*v.c)
				}
			}
		}
		v.kernels.fold(v.kind, y[from*v.c:to*v.c], v.c, x, w.Stride*v.c, t.off, v.W, t.woff, v.Bias)
	}
	for i := range w0 {
		k0, k1 := w.inside(i)
		take(i, i+1, k0, k1)
	}
	if w0 < w1 {
		take(w0, w1, 0, w.Kernel)
	}
	for i := w1; i < w.Out; i++ {
		k0, k1 := w.inside(i)
		take(i, i+1, k0, k1)
	}
}

// divide makes means of the sums of rows lo to hi.
func (v *Windows) divide(lo, hi int) {
	area := v.axes[0].Out * v.axes[1].Out * v.row
	for p := lo * v.row; p < hi*v.row; p++ {
		if n := v.Count[p%area]; n > 0 {
			y := v.Y[p*v.c : (p+1)*v.c]
			for i := range y {
				y[i] /= n
			}
		}
	}
}

// fold folds windows side by side, channel by channel: y are len(y)/c pixels of c
// channels, off and woff the byte offsets of the first window's taps in x and of their
// weights in w, step the elements from one window to the next.
func (k *Kernels) fold(kind Kind, y []float32, c int, x []float32, step int, off []int, w []float32, woff []int, bias []float32) {
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
			in := x[o/4+p*step:][:c]
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
func reachWindows(c, pixels int, x []float32, step int, off []int, w []float32, woff []int, bias []float32) {
	for i, o := range off {
		_ = x[o/4 : o/4+(pixels-1)*step+c]
		if w != nil {
			_ = w[woff[i]/4 : woff[i]/4+c]
		}
	}
	if bias != nil {
		_ = bias[c-1]
	}
}
