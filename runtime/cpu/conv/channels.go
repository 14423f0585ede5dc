package conv

import (
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
	"github.com/seed-c851cfd2/moec/runtime/cpu/rows"
)

// Channels applies x*mul + add with factors of each channel: batch normalisation by
// given statistics. X and Y are [N, C, Inner]. It must not be run by two goroutines at
// a time.
type Channels struct {
	Kernels                     *Kernels
	N, C, Inner                 int
	X, Y                        []float32
	Scale, Bias, Mean, Variance []float32 // [C]
	Epsilon                     float32

	perTask int
}

// Run computes Y. It fails only if a task panics.
func (v *Channels) Run(r pool.Runner) error {
	v.perTask = max(1, 16<<10/max(1, v.Inner))
	return r.Run((v.N*v.C+v.perTask-1)/v.perTask, v)
}

// Do does one task; it is for the pool.
func (v *Channels) Do(i, _ int) {
	var at [1]int
	var w [1]float32
	for p := i * v.perTask; p < min((i+1)*v.perTask, v.N*v.C); p++ {
		c := p % v.C
		g := float64(v.Scale[c]) / math.Sqrt(float64(v.Variance[c])+float64(v.Epsilon))
		w[0] = float32(g)
		v.Kernels.sumTaps(v.Y[p*v.Inner:(p+1)*v.Inner], v.X[p*v.Inner:(p+1)*v.Inner], at[:], w[:], float32(float64(v.Bias[c])-float64(v.Mean[c])*g))
	}
}

// Mean is the mean of each of Planes planes of Inner elements. It must not be run by two
// goroutines at a time.
type Mean struct {
	Rows          *rows.Kernels
	Planes, Inner int
	X, Y          []float32

	perTask int
}

// Run computes Y. It fails only if a task panics.
func (v *Mean) Run(r pool.Runner) error {
	v.perTask = max(1, 16<<10/max(1, v.Inner))
	return r.Run((v.Planes+v.perTask-1)/v.perTask, v)
}

// Do does one task; it is for the pool.
func (v *Mean) Do(i, _ int) {
	for p := i * v.perTask; p < min((i+1)*v.perTask, v.Planes); p++ {
		v.Y[p] = v.Rows.Sum(v.X[p*v.Inner:(p+1)*v.Inner]) / float32(v.Inner)
	}
}
