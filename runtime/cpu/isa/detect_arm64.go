package isa

import "golang.org/x/sys/cpu"

var levels = []level{
	{"portable", Features{}},
	{"neon", Features{NEON: true}},
	{"neondot", Features{NEON: true, Dot: true}},
}

// Detect reports what this machine and its operating system support. Go itself needs
// NEON on arm64.
func Detect() Features { return Features{NEON: true, Dot: cpu.ARM64.HasASIMDDP} }

func isIntel() bool { return false }
