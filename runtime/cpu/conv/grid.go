// Package conv convolves and pools f32 images of up to three spatial axes.
//
// Programs keep channels last, [N, spatial..., C], where the compiler could move them
// there: Last is a product of pixels where they lie by packed weights, Windows goes over
// the channels as vectors. What follows is for images [N, C, spatial...], which remain
// where weights are computed, groups are of few channels or windows reach far.
//
// A convolution is a product per image and group: the weights [M, C*taps] as they are
// stored, times the input's windows as columns, into rows of the output's own order. So
// nothing is transposed, and only the columns are packed, a few panels at a time, into
// memory that stays in L2. Before that the input is copied once with its padding, so
// that packing has no bounds to look after and every stride reads consecutive elements.
// Depthwise convolutions and pools have no product: they go over padded planes, all
// taps of a vector of outputs at a time.
//
// An output is one chain of multiply-adds over ascending channel and tap, that starts
// from the bias and the residual; threads, blocks and the batch do not enter it.
package conv

import (
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// Axis is a window on one spatial axis: window i covers elements i*Stride - Pad +
// j*Dilation for j below Kernel; those outside of 0..In-1 are padding.
type Axis struct{ In, Out, Kernel, Stride, Dilation, Pad int }

// used is the length of the padded axis that windows reach.
func (a Axis) used() int { return (a.Out-1)*a.Stride + (a.Kernel-1)*a.Dilation + 1 }

// Kernels are the kernels of a set of CPU features; immutable.
type Kernels struct{ gemm *gemm.Kernels }

// New picks the kernels that those of the products run on.
func New(g *gemm.Kernels) *Kernels { return &Kernels{gemm: g} }

// grid is a plane of the input with its padding, as kernels read it: rows, each split
// into the elements of every phase of the stride, so that neighbouring windows read
// neighbouring elements.
type grid struct {
	axes   [3]Axis
	area   int   // outputs of a plane
	in     int   // elements of an input plane
	plain  bool  // the input plane already is its grid
	phases []int // of the last axis that some tap reads
	width  int   // elements of a phase in a row
	row    int   // elements of a row
	depth  [2]int
	size   int   // elements of a plane
	taps   []int // offset of each tap in the grid
}

// maxGrid bounds the elements of a padded plane against those of input and output:
// windows with enormous dilations are rare enough to run elsewhere.
const maxGrid = 16

// newGrid lays out a grid; ok is false for one too sparse to be worth a copy.
func newGrid(axes [3]Axis) (g *grid, ok bool) {
	g = &grid{axes: axes, area: 1, in: 1, plain: true}
	for i, a := range axes {
		g.area *= a.Out
		g.in *= a.In
		if a.Pad != 0 || a.used() > a.In || i == 2 && a.Stride != 1 {
			g.plain = false
		}
	}
	if g.area == 0 {
		return g, true
	}
	w := axes[2]
	slot := map[int]int{}
	for k := range w.Kernel {
		p := k * w.Dilation % w.Stride
		if _, ok := slot[p]; !ok {
			slot[p] = len(g.phases)
			g.phases = append(g.phases, p)
		}
	}
	g.width = (w.used() + w.Stride - 1) / w.Stride
	g.row = g.width * len(g.phases)
	g.depth = [2]int{axes[0].used(), axes[1].used()}
	if g.plain {
		g.width, g.row, g.depth = w.In, w.In, [2]int{axes[0].In, axes[1].In}
	}
	for _, n := range []int{g.depth[0], g.depth[1], g.row} {
		if n > 1<<20 && n > maxGrid*(g.in+g.area) {
			return nil, false // before the product overflows
		}
	}
	g.size = g.depth[0] * g.depth[1] * g.row
	taps := axes[0].Kernel * axes[1].Kernel * w.Kernel
	if g.size > maxGrid*(g.in+g.area+taps)+1<<16 {
		return nil, false
	}
	for d := range axes[0].Kernel {
		for h := range axes[1].Kernel {
			for k := range w.Kernel {
				at := k * w.Dilation
				g.taps = append(g.taps, (d*axes[0].Dilation*g.depth[1]+h*axes[1].Dilation)*g.row+slot[at%w.Stride]*g.width+at/w.Stride)
			}
		}
	}
	return g, true
}

// base is the offset in the grid of the window at p on the first two axes.
func (g *grid) base(d, h int) int {
	return (d*g.axes[0].Stride*g.depth[1] + h*g.axes[1].Stride) * g.row
}

// fill copies a plane of the input into its grid.
func (g *grid) fill(k *Kernels, dst, src []float32, pad float32) {
	a, b, w := g.axes[0], g.axes[1], g.axes[2]
	for d := range g.depth[0] {
		for h := range g.depth[1] {
			row := dst[(d*g.depth[1]+h)*g.row:][:g.row]
			id, ih := d-a.Pad, h-b.Pad
			if id < 0 || id >= a.In || ih < 0 || ih >= b.In {
				set(row, pad)
				continue
			}
			in := src[(id*b.In+ih)*w.In:][:w.In]
			if w.Stride == 2 && len(g.phases) == 2 && g.phases[1] == 1 {
				g.pairs(k, row, in, pad)
				continue
			}
			for s, p := range g.phases {
				out := row[s*g.width : (s+1)*g.width]
				// Element i is in[p - Pad + i*Stride].
				first := p - w.Pad
				lo, hi := 0, 0
				if first < 0 {
					lo = min(g.width, (-first+w.Stride-1)/w.Stride)
				}
				if rest := w.In - first; rest > 0 {
					hi = min(g.width, (rest+w.Stride-1)/w.Stride)
				}
				hi = max(lo, hi)
				set(out[:lo], pad)
				set(out[hi:], pad)
				if w.Stride == 1 {
					if lo < hi {
						copy(out[lo:hi], in[first+lo:])
					}
					continue
				}
				at := first + lo*w.Stride
				for i := lo; i < hi; i++ {
					out[i] = in[at]
					at += w.Stride
				}
			}
		}
	}
}

// pairs splits a row into its even and odd elements.
func (g *grid) pairs(k *Kernels, row, in []float32, pad float32) {
	p := g.axes[2].Pad
	even, odd := row[:g.width], row[g.width:]
	// Elements lo to hi of either phase are both inside.
	lo := min(max(0, (p+1)/2), g.width)
	hi := max(lo, min(g.width, (len(in)+p)/2))
	at := func(i int) float32 {
		if i -= p; i < 0 || i >= len(in) {
			return pad
		}
		return in[i]
	}
	for _, r := range [2][2]int{{0, lo}, {hi, g.width}} {
		for i := r[0]; i < r[1]; i++ {
			even[i], odd[i] = at(2*i), at(2*i+1)
		}
	}
	if lo < hi {
		k.split(even[lo:hi], odd[lo:hi], in[2*lo-p:])
	}
}

func set(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}
