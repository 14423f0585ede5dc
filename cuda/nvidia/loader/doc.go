// Package loader finds the CUDA driver at run time; see loader.go. It is empty
// without the build tag cuda.
package loader
