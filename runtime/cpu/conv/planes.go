package conv

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// Kind is what a Planes makes of a window.
type Kind uint8

// The kinds of windows.
const (
	Depthwise Kind = iota // weighted sum
	Max                   // maximum, -Inf of no elements; a NaN stays
	Average               // sum over Count
)

// Planes goes over N*C planes of an image, each on its own: a depthwise convolution with
// Mult planes out for each in, or a pool. Make it with NewPlanes, set the operands, and
// Run; it must not be run by two goroutines at a time.
type Planes struct {
	X, Y []float32 // [N, C, in...], [N, C*mult, out...]
	// Depthwise: [C*mult, taps...], [C*mult], [N, C*mult, out...].
	W, Bias, Residual []float32
	Count             []float32 // Average: elements of each window, [out...]

	kernels *Kernels
	grid    *grid
	kind    Kind
	n, c    int
	mult    int
	act     act.Kind
	flat    int // elements of an output plane with the grid's rows, 0 if rows go one by one
	perTask int
	scratch []float32
	ones    []float32
}

// NewPlanes prepares it for n images of c channels; see NewConv for axes.
func NewPlanes(k *Kernels, kind Kind, n, c, mult int, axes [3]Axis, after act.Kind) (*Planes, error) {
	g, ok := newGrid(axes)
	if !ok {
		return nil, fmt.Errorf("conv: windows %v are too sparse", axes)
	}
	v := &Planes{kernels: k, grid: g, kind: kind, n: n, c: c, mult: mult, act: after}
	// Short rows that follow each other at the grid's own distance are one long row, if
	// what lies between them is little.
	if h, w := axes[1], axes[2]; g.area > 0 && w.Out < 48 && axes[0].Out == 1 && h.Stride == 1 && h.Out > 1 && g.row < 2*w.Out+16 {
		v.flat = (h.Out-1)*g.row + w.Out
	}
	v.ones = make([]float32, len(g.taps))
	set(v.ones, 1)
	v.perTask = max(1, 16<<10/max(1, g.size+g.area*(1+len(g.taps)/8)))
	return v, nil
}

// Work is the number of taps of a run.
func (v *Planes) Work() int { return v.n * v.c * v.mult * v.grid.area * len(v.grid.taps) }

// perWorker is the number of floats of scratch of a thread.
func (v *Planes) perWorker() int {
	n := v.flat
	if !v.grid.plain {
		n += v.grid.size
	}
	return (n + 31) &^ 15
}

// Scratch is the number of floats that Run takes with a number of workers.
func (v *Planes) Scratch(workers int) int { return workers * v.perWorker() }

// Run does all planes. It fails only if a task panics.
func (v *Planes) Run(r pool.Runner, scratch []float32) error {
	if v.grid.area == 0 {
		return nil
	}
	v.scratch = scratch
	return r.Run((v.n*v.c+v.perTask-1)/v.perTask, v)
}

// Do does one task; it is for the pool.
func (v *Planes) Do(i, w int) {
	for p := i * v.perTask; p < min((i+1)*v.perTask, v.n*v.c); p++ {
		v.plane(p, v.scratch[w*v.perWorker():(w+1)*v.perWorker()])
	}
}

func (v *Planes) plane(p int, scratch []float32) {
	g := v.grid
	x := v.X[p*g.in : (p+1)*g.in]
	if !g.plain {
		pad := float32(0)
		if v.kind == Max {
			pad = float32(math.Inf(-1))
		}
		g.fill(v.kernels, scratch[:g.size], x, pad)
		x, scratch = scratch[:g.size], scratch[g.size:]
	}
	for j := range v.mult {
		o := p*v.mult + j // plane out, of n*c*mult
		y := v.Y[o*g.area : (o+1)*g.area]
		if v.flat > 0 {
			tmp := scratch[:v.flat]
			v.window(tmp, x, 0, o)
			n := g.axes[2].Out
			for h := range g.axes[1].Out {
				copy(y[h*n:(h+1)*n], tmp[h*g.row:])
			}
		} else {
			n, at := g.axes[2].Out, 0
			for d := range g.axes[0].Out {
				for h := range g.axes[1].Out {
					v.window(y[at:at+n], x, g.base(d, h), o)
					at += n
				}
			}
		}
		v.finish(y, o)
	}
}

// window makes outputs side by side of plane o from element at of the grid on.
func (v *Planes) window(y, x []float32, at, o int) {
	x, taps := x[at:], v.grid.taps
	switch v.kind {
	case Max:
		v.kernels.maxTaps(y, x, taps, float32(math.Inf(-1)))
	case Average:
		v.kernels.sumTaps(y, x, taps, v.ones, 0)
	default:
		ch := o % (v.c * v.mult)
		bias := float32(0)
		if v.Bias != nil {
			bias = v.Bias[ch]
		}
		v.kernels.sumTaps(y, x, taps, v.W[ch*len(taps):(ch+1)*len(taps)], bias)
	}
}

// finish divides, or adds the residual and applies the activation.
func (v *Planes) finish(y []float32, o int) {
	if v.kind == Average {
		for i, n := range v.Count[:len(y)] {
			if n > 0 {
				y[i] /= n
			}
		}
	}
	a := v.kernels.gemm.Act()
	if v.Residual != nil {
		a.Add(y, v.Residual[o*len(y):(o+1)*len(y)])
	}
	a.Apply(v.act, y, 1)
}
