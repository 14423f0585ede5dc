//go:build cudaemu

// Command libcuda builds the emulator as a stand-in for the CUDA driver:
//
//	go build -tags cudaemu -buildmode=c-shared -o libcuda.so.1 ./cuda/emu/libcuda
//
// A program that loads it in the driver's place runs its kernels in the
// emulator.
package main

import _ "github.com/seed-c851cfd2/moec/cuda/emu/capi"

func main() {}
