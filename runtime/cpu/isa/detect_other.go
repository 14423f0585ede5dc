//go:build !amd64

package isa

// Detect reports no vector features: the portable kernels run.
func Detect() Features { return Features{} }

func isIntel() bool { return false }
