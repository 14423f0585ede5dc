package plan

import (
	"os"
	"syscall"
	"unsafe"
)

// release lets the system take back the whole pages of b, a part of a file mapping that is
// only read: they count no longer as the process's, and come from the file when read again.
func release(b []byte) {
	page := os.Getpagesize()
	if len(b) < page {
		return
	}
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & uintptr(page-1))
	if n := (len(b) - skip) &^ (page - 1); n > 0 {
		_ = syscall.Madvise(b[skip:skip+n], syscall.MADV_DONTNEED)
	}
}
