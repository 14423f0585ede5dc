// Package hugepage allocates memory that the system may back with huge pages: one entry
// of the translation buffers covers 2 MB instead of 4 KB, and the hardware's prefetchers,
// which stop at the end of a page, run on.
//
// Memory comes from Go's heap, so that it needs no freeing and counts as any other; the
// request goes with it. Where the system has no huge pages, or is asked for less than one, it is ordinary memory.
package hugepage

import "unsafe"

// Size is the size of a huge page in bytes.
const Size = 2 << 20

// Bytes returns n zeroed bytes. From Size bytes on they begin on a huge page, and the
// system is asked to back them with such pages as they are first written; smaller pieces
// begin on a cache line.
func Bytes(n int) []byte {
	to := uintptr(64)
	if n >= Size {
		to = Size
	}
	b := make([]byte, n+int(to)-1)
	base := unsafe.SliceData(b)
	off := int(-uintptr(unsafe.Pointer(base)) & (to - 1))
	b = b[off : off+n : off+n]
	if n >= Size {
		advise(base, b[:n&^(Size-1)])
	}
	return b
}
