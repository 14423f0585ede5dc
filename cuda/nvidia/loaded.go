//go:build cuda && !cudaemu

package nvidia

// The driver's symbols come from libcuda.so.1, loaded at run time.
import _ "github.com/seed-c851cfd2/moec/cuda/nvidia/loader"
