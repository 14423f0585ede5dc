// Package nvidia runs moec's kernels on NVIDIA GPUs through gorgonia.org/cu.
// It needs the build tag cuda, cgo and CUDA 12 headers to build, and the
// NVIDIA driver alone to run; scripts/cuda-env.sh sets a build up. Without the
// tag, Driver's methods explain how to get it.
//
//	go build -tags cuda            calls reach libcuda.so.1, loaded when first
//	                               needed: a machine without it gets an error
//	go build -tags cuda,cudaemu    calls reach the emulator in this process,
//	                               so the same code runs in CI with no GPU
package nvidia

import "github.com/seed-c851cfd2/moec/cuda"

// MinDriver is the oldest driver interface, as 1000*major + 10*minor, that
// accepts the PTX moec emits (.version 7.0 needs CUDA 11.0).
const MinDriver = 11000

// Driver is the NVIDIA driver.
type Driver struct{}

var _ cuda.Driver = Driver{}
