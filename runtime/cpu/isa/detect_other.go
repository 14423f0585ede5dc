//go:build !amd64 && !arm64

package isa

var levels = []level{{"portable", Features{}}}

// Detect reports no vector features: the portable kernels run.
func Detect() Features { return Features{} }

func isIntel() bool { return false }
