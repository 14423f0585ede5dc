//go:build linux && amd64

package isa

import "syscall"

// Linux lets a process use the tile registers after it has asked for them once
// (Documentation/arch/x86/xstate.rst).
const (
	archReqXCompPerm  = 0x1023
	xfeatureXTileData = 18
)

// tilesAllowed asks the kernel for the tile registers. It refuses where it has no
// support, or where a thread's signal stack is too small to save them; Go's own are
// large enough.
func tilesAllowed() bool {
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, archReqXCompPerm, xfeatureXTileData, 0)
	return errno == 0
}
