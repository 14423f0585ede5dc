package emu

// GPU is what the time bounds need to know of a device.
type GPU struct {
	Name     string
	SMs      int
	GHz      float64 // sustained clock
	TensorTF float64 // TFLOP/s of dense bf16 and f16 mma with f32 accumulation
	FloatTF  float64 // TFLOP/s of f32 fma outside the tensor cores
	DRAMGBs  float64
	L2GBs    float64
	L2MB     float64
	SharedKB int     // per SM
	LaunchUS float64 // microseconds from one launch to the next
}

// gpus holds vendor data sheets (tensor, f32, DRAM, L2 size, SMs, clock), the
// H200's tensor and DRAM rates as measured, and published microbenchmarks of
// L2 bandwidth, which are good to about 30 %. Generic is a small Ampere card.
var gpus = []GPU{
	{Name: "3090", SMs: 82, GHz: 1.695, TensorTF: 71, FloatTF: 35.6, DRAMGBs: 936, L2GBs: 2000, L2MB: 6, SharedKB: 100, LaunchUS: 3},
	{Name: "A100", SMs: 108, GHz: 1.41, TensorTF: 312, FloatTF: 19.5, DRAMGBs: 2039, L2GBs: 4500, L2MB: 40, SharedKB: 164, LaunchUS: 3},
	{Name: "H100", SMs: 132, GHz: 1.755, TensorTF: 989, FloatTF: 66.9, DRAMGBs: 3350, L2GBs: 5500, L2MB: 50, SharedKB: 228, LaunchUS: 3},
	{Name: "H200", SMs: 132, GHz: 1.755, TensorTF: 788, FloatTF: 66.9, DRAMGBs: 4300, L2GBs: 5500, L2MB: 60, SharedKB: 228, LaunchUS: 3},
	{Name: "generic", SMs: 48, GHz: 1.5, TensorTF: 50, FloatTF: 16, DRAMGBs: 400, L2GBs: 1200, L2MB: 4, SharedKB: 100, LaunchUS: 4},
}

// GPUs lists the devices that bounds can be given for.
func GPUs() []GPU { return append([]GPU(nil), gpus...) }
