//go:build !arm64

package gemm

// edge is empty where kernels have masks, or take any width.
type edge struct{}
