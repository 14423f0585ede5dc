package conv

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// Conv is y = Act(x*w + Bias + Residual) for N images of C channels in and M channels
// out. Make it with NewConv, set the operands, and Run; it must not be run by two
// goroutines at a time.
type Conv struct {
	X, W           []float32 // [N, C, in...], [M, C/groups, taps...]
	Bias, Residual []float32 // [M], [N, M, out...], or nil
	Y              []float32 // [N, M, out...]; must not overlap X

	kernels *Kernels
	grid    *grid
	n, c, m int
	groups  int
	act     act.Kind
	k       int // rows of the columns' matrix: channels of a group times taps

	// How the work is cut, by workers; see plan.
	images  int  // at a time
	apart   bool // columns are packed first, all of them, then multiplied
	panels  int  // of an image
	perTask int  // panels of a task
	cuts    int  // of the channels out of a group, for one task each
	cols    int  // tasks along an image's panels

	image   int // first of those at hand
	batch   int // images at hand
	phase   int
	padded  []float32
	packed  []float32
	workers []worker
}

// worker is what a thread keeps from panel to panel.
type worker struct {
	segs [layout.NR]seg
	at   [1]int     // one tap of weight 1, for residuals
	one  [1]float32 // and its weight
	b    layout.Matrix
	mul  gemm.Block
}

// seg is a stretch of a panel's columns that lie side by side in the grid.
type seg struct{ at, n, base int }

// The phases of a run.
const (
	phasePad = iota
	phasePack
	phaseMul
	phaseWhole // pack and multiply
)

// NewConv prepares a convolution; axes are the spatial axes, those that the images lack
// first, as one element each. It fails for windows that reach over far more padding than
// input.
func NewConv(k *Kernels, n, c, m, groups int, axes [3]Axis, kind act.Kind) (*Conv, error) {
	g, ok := newGrid(axes)
	if !ok {
		return nil, fmt.Errorf("conv: windows %v are too sparse", axes)
	}
	v := &Conv{kernels: k, grid: g, n: n, c: c, m: m, groups: groups, act: kind, k: c / groups * len(g.taps)}
	v.panels = (g.area + layout.NR - 1) / layout.NR
	return v, nil
}

// Work is the number of multiply-adds of a run.
func (v *Conv) Work() int { return v.n * v.m * v.grid.area * v.k }

// packedLen is the number of floats of p packed panels of columns; a last half panel is
// given the room of a whole one.
func (v *Conv) packedLen(p int) int { return p * layout.NR * v.k }

const (
	packBytes  = 256 << 10 // of columns of a task: they stay in L2 beside weights and output
	imageBytes = 8 << 20   // of padded and packed images at a time: they stay in L3
)

// plan cuts the work for a number of workers.
func (v *Conv) plan(workers int) {
	total := v.n * v.groups * v.panels
	v.apart = workers > 1 && total < 4*workers
	image := 0
	if !v.grid.plain {
		image += v.c * v.grid.size
	}
	if v.apart {
		image += v.groups * v.packedLen(v.panels)
	}
	v.images = max(1, min(v.n, imageBytes/4/max(1, image)))
	mg := v.m / v.groups
	if v.apart {
		v.perTask, v.cols = v.panels, 1
		v.cuts = max(1, min((mg+11)/12, (2*workers+v.n*v.groups-1)/(v.n*v.groups)))
		return
	}
	fit := max(1, packBytes/4/max(1, v.packedLen(1)))
	share := (v.images*v.groups*v.panels + 4*workers - 1) / (4 * workers)
	if workers == 1 {
		share = fit
	}
	v.perTask = max(1, min(fit, share, v.panels))
	v.cols = (v.panels + v.perTask - 1) / v.perTask
	v.cuts = 1
}

func (v *Conv) sizes(workers int) (padded, packed int) {
	if !v.grid.plain {
		padded = (v.images*v.c*v.grid.size + 15) &^ 15
	}
	if v.apart {
		return padded, v.images * v.groups * v.packedLen(v.panels)
	}
	return padded, workers * v.packedLen(v.perTask)
}

// Scratch is the number of floats that Run takes with a number of workers.
func (v *Conv) Scratch(workers int) int {
	if v.grid.area == 0 {
		return 0
	}
	v.plan(workers)
	padded, packed := v.sizes(workers)
	return padded + packed
}

// Run convolves. It fails only if a task panics.
func (v *Conv) Run(r pool.Runner, scratch []float32) error {
	if v.n*v.m*v.grid.area == 0 {
		return nil
	}
	workers := r.Workers()
	v.plan(workers)
	padded, _ := v.sizes(workers)
	v.padded, v.packed = scratch[:padded], scratch[padded:]
	if len(v.workers) < workers {
		v.workers = make([]worker, workers)
		for i := range v.workers {
			v.workers[i].one[0] = 1
		}
	}
	for v.image = 0; v.image < v.n; v.image += v.images {
		v.batch = min(v.images, v.n-v.image)
		if !v.grid.plain {
			v.phase = phasePad
			if err := r.Run(v.batch*v.c, v); err != nil {
				return err
			}
		}
		if v.apart {
			v.phase = phasePack
			if err := r.Run(v.batch*v.groups*v.panels, v); err != nil {
				return err
			}
			v.phase = phaseMul
		} else {
			v.phase = phaseWhole
		}
		if err := r.Run(v.batch*v.groups*v.cols*v.cuts, v); err != nil {
			return err
		}
	}
	return nil
}

// Do does one task; it is for the pool.
func (v *Conv) Do(i, w int) {
	g := v.grid
	switch v.phase {
	case phasePad:
		at := (v.image*v.c + i) * g.in
		g.fill(v.kernels, v.padded[i*g.size:(i+1)*g.size], v.X[at:at+g.in], 0)
	case phasePack:
		ig, p := i/v.panels, i%v.panels
		v.pack(v.packed[v.packedLen(i):v.packedLen(i+1)], ig, p, &v.workers[w])
	default:
		cut := i % v.cuts
		i /= v.cuts
		ig, q := i/v.cols, i%v.cols
		p0, p1 := q*v.perTask, min((q+1)*v.perTask, v.panels)
		packed := v.packed
		if v.apart {
			packed = packed[v.packedLen(ig*v.panels+p0):]
		} else {
			packed = packed[w*v.packedLen(v.perTask):]
			for p := p0; p < p1; p++ {
				v.pack(packed[v.packedLen(p-p0):v.packedLen(p-p0+1)], ig, p, &v.workers[w])
			}
		}
		mg := v.m / v.groups
		v.multiply(packed, ig, p0*layout.NR, min(p1*layout.NR, g.area), cut*mg/v.cuts, (cut+1)*mg/v.cuts, &v.workers[w])
	}
}

// multiply makes columns c0 to c1 of channels m0 to m1 of image and group ig.
func (v *Conv) multiply(packed []float32, ig, c0, c1, m0, m1 int, w *worker) {
	area, mg := v.grid.area, v.m/v.groups
	img, group := v.image+ig/v.groups, ig%v.groups
	if m1 <= m0 {
		return
	}
	m0, m1 = group*mg+m0, group*mg+m1
	y := v.Y[(img*v.m+m0)*area+c0:]
	add := v.Bias != nil || v.Residual != nil
	if add {
		for o := m0; o < m1; o++ {
			row := y[(o-m0)*area:][:c1-c0]
			bias := float32(0)
			if v.Bias != nil {
				bias = v.Bias[o]
			}
			if v.Residual == nil {
				v.kernels.sumTaps(row, nil, nil, nil, bias)
			} else {
				v.kernels.sumTaps(row, v.Residual[(img*v.m+o)*area+c0:], w.at[:], w.one[:], bias)
			}
		}
	}
	k := v.kernels.gemm
	w.b = layout.Matrix{Precision: layout.F32, K: v.k, N: c1 - c0}
	w.b.F32 = packed[:layout.F32.Bytes(v.k, c1-c0)/4]
	w.mul = gemm.Block{
		A: k.Place(layout.F32, gemm.Rows{Data: v.W[m0*v.k:], Stride: v.k}, m1-m0, v.k, nil), M: m1 - m0,
		B: &w.b, N1: c1 - c0, K1: v.k, C: gemm.Rows{Data: y, Stride: area}, Add: add, Act: v.act,
	}
	k.Run(&w.mul)
}
