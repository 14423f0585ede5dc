package gemm

import "unsafe"

// maxRows is the most rows of C that a micro-kernel works on.
const maxRows = 12

// tile is the argument of every micro-kernel: a few rows of A times consecutive
// panels of B into rows of C. Pointers stay as given; kernels advance off and
// boff, so that no pointer ever leaves its object.
type tile struct {
	a     [maxRows]unsafe.Pointer // rows of A at the first step; four bytes per step
	c     [maxRows]unsafe.Pointer // rows of C at column off/4
	b     unsafe.Pointer          // first panel at the first step
	bias  unsafe.Pointer          // f32 per column, or nil
	scale unsafe.Pointer          // int8: f32 scale per column
	corr  unsafe.Pointer          // int8: sum of each column as two digits
	mask8 unsafe.Pointer          // AVX2: 16 lanes of the store mask
	k     uintptr                 // steps
	bk    uintptr                 // bytes of B from one step to the next
	ahead uintptr                 // bytes from B to what is wanted next, modulo 2^64
	bp    uintptr                 // bytes of B from one panel to the next
	n     uintptr                 // panels
	off   uintptr                 // bytes into rows of C, bias, scale and corr
	boff  uintptr                 // bytes into B
	sa    [maxRows]float32        // int8: scale of each row
	za    [maxRows]uint32         // int8: (-zp, -128*zp) of each row as signed 16-bit halves
	//lint:ignore U1000 kernels of arm64 use it
	edge  edge    // arm64: what a partial half panel reads and writes
	lo    float32 // lower bound of C
	flags uint32  // accumulate, stream, bounded
	mask  uint32  // columns of the last panel (arm64: of the half), one bit each
}

const (
	accumulate = 1 << iota // start from C instead of from the bias or zero
	stream                 // B comes from memory
	bounded                // lo is above minus infinity
)
