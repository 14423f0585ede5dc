//go:build !linux && amd64

package isa

// tilesAllowed: only Linux is known to hand out the tile registers.
func tilesAllowed() bool { return false }
