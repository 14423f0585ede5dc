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

// MeanLast is the mean of all positions of each channel of N images [Inner, C], channels
// last. It must not be run by two goroutines at a time.
type MeanLast struct {
	Kernels     *Kernels
	N, Inner, C int
	X, Y        []float32

	off  []int
	sums []float32
}

const (
	// meanChannels are summed up at a time: as many as stay in registers.
	meanChannels = 256
	// meanRows are added up before their sum is: both sums are short, and so exact to
	// some 2 sqrt(Inner) roundings.
	meanRows = 64
)

// Prepare makes room for a number of workers; Run takes no more.
func (v *MeanLast) Prepare(workers int) {
	v.sums = make([]float32, workers*meanChannels)
	for i := range min(meanRows, v.Inner) {
		v.off = append(v.off, 4*i*v.C)
	}
}

func (v *MeanLast) blocks() int { return (v.C + meanChannels - 1) / meanChannels }

// Run computes Y. It fails only if a task panics.
func (v *MeanLast) Run(r pool.Runner) error { return r.Run(v.N*v.blocks(), v) }

// Do does one task; it is for the pool.
func (v *MeanLast) Do(i, worker int) {
	img, c := i/v.blocks(), i%v.blocks()*meanChannels
	n := min(meanChannels, v.C-c)
	y := v.Y[img*v.C+c:][:n]
	clear(y)
	sum := v.sums[worker*meanChannels:][:n]
	a := v.Kernels.gemm.Act()
	for p := 0; p < v.Inner; p += meanRows {
		v.Kernels.fold(Average, sum, n, Images{F32: v.X[(img*v.Inner+p)*v.C+c:]}, 0, v.off[:min(meanRows, v.Inner-p)], nil, nil, nil)
		a.Add(y, sum)
	}
	for j := range y {
		y[j] /= float32(v.Inner)
	}
}
