// Package capi exports the emulator under the CUDA driver's C names, so that a
// program written for libcuda runs on it unchanged. Built with the tag
// cudaemu; without the tag the package is empty.
//
// Linked into a program (a blank import and an empty libcuda.a for the
// linker), the program's own driver calls land here: that is how CI runs
// gorgonia.org/cu with no GPU. Package cuda/emu/libcuda builds the same as
// a shared library libcuda.so.1.
//
// The environment sets it up: MOEC_EMU_SEED orders blocks, MOEC_EMU_CHECKS=0
// turns the optional checks off. Faults are written to standard error, where
// the driver interface has numbers only.
package capi
