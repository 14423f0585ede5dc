//go:build cuda && cudaemu

package nvidia

// The driver's symbols come from the emulator.
import _ "github.com/seed-c851cfd2/moec/cuda/emu/capi"
