package ptx

import (
	"fmt"
	"math"
)

// GPU is what the planner knows of a device. Rates are dense peaks with f32 accumulation; memory rates are
// what the data sheets give, except for the H200, whose rates were measured (cuBLAS 8192^3, a device copy).
// L2 rates are leads from public microbenchmarks, good to about 30 %.
type GPU struct {
	Name          string
	SMs           int
	Tensor16      float64 // TFLOP/s of f16 and bf16 by tensor cores
	TF32          float64
	FP32          float64
	MMASync       float64 // share of the tensor peaks that mma.sync reaches
	Memory        float64 // GB/s of device memory
	L2Rate        float64 // GB/s
	L2            float64 // MB
	SharedPerSM   int     // bytes
	SharedPerCTA  int     // bytes
	LaunchMicros  float64 // per launch in a stream, as in the first run of a set of shapes
	GraphedMicros float64 // per launch in a captured graph, as sessions replay it from then on: what bounds count
}

// gpus is the table of named devices. "generic" is what every sm_80 device has at least.
var gpus = []GPU{
	{"3090", 82, 71, 35.6, 35.6, 1, 936, 2000, 6, 100 << 10, 99 << 10, 2.3, 1.3},
	{"a100", 108, 312, 156, 19.5, 1, 2039, 4500, 40, 164 << 10, 163 << 10, 2.3, 1.3},
	{"h100", 132, 989, 494, 67, .62, 3350, 5500, 50, 228 << 10, 227 << 10, 2.3, 1.3},
	{"h200", 132, 788, 394, 60, .78, 4300, 5500, 60, 228 << 10, 227 << 10, 2.3, 1.3},
	{"generic", 80, 70, 35, 17, 1, 900, 2000, 4, 100 << 10, 99 << 10, 2.5, 1.5},
}

// GPUNames lists the devices that GPUByName knows.
func GPUNames() []string {
	out := make([]string, len(gpus))
	for i, g := range gpus {
		out[i] = g.Name
	}
	return out
}

// GPUByName finds a device; the error lists the names there are.
func GPUByName(name string) (GPU, error) {
	for _, g := range gpus {
		if g.Name == name {
			return g, nil
		}
	}
	return GPU{}, fmt.Errorf("ptx: no GPU is called %q; there are %v", name, GPUNames())
}

// peak is the arithmetic rate of a kind of product in FLOP/s.
func (g GPU) peak(m Math) float64 {
	switch m {
	case TF32:
		return g.TF32 * g.MMASync * 1e12
	case TF32x3:
		return g.TF32 * g.MMASync * 1e12 / 3
	case Tensor16:
		return g.Tensor16 * g.MMASync * 1e12
	}
	return g.FP32 * 1e12
}

// Bound is the least time of work on a device, and what limits it.
type Bound struct {
	Micros                      float64
	Compute, MemoryT, L2, Calls float64 // microseconds of each
	Limit                       string  // "arithmetic", "memory", "L2", "launches"
}

// bound combines times: launches overlap with the work of the launch before only in part, so they count as
// a floor.
func (g GPU) bound(m Math, flops, bytes, l2bytes float64, launches int) Bound {
	b := Bound{
		Compute: flops / g.peak(m) * 1e6,
		MemoryT: bytes / g.Memory / 1e3,
		L2:      l2bytes / g.L2Rate / 1e3,
		Calls:   float64(launches) * g.GraphedMicros,
	}
	for _, t := range []struct {
		t    float64
		name string
	}{{b.Compute, "arithmetic"}, {b.MemoryT, "memory"}, {b.L2, "L2"}, {b.Calls, "launches"}} {
		if t.t > b.Micros {
			b.Micros, b.Limit = t.t, t.name
		}
	}
	return b
}

func (b Bound) String() string {
	return fmt.Sprintf("%s us, limited by %s (arithmetic %s, memory %s, launches %s)",
		short(b.Micros), b.Limit, short(b.Compute), short(b.MemoryT), short(b.Calls))
}

func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// Bound is the least time of the Op for given dimensions, from its launches' costs.
func (g GPU) Bound(op *Op, m Math, dims map[string]int64) (Bound, error) {
	c := op.Cost()
	flops, err := c.FLOPs.Eval(dims)
	if err != nil {
		return Bound{}, err
	}
	bytes, err := c.Bytes.Eval(dims)
	if err != nil {
		return Bound{}, err
	}
	return g.bound(m, float64(flops), float64(bytes), 0, len(op.Launches)), nil
}

// ceilDiv of floats.
func ceilDiv(a, b float64) float64 { return math.Ceil(a / b) }
