package hugepage

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// advise asks for huge pages behind b, whole pages of the allocation that begins at base. A
// kernel without them refuses, which costs nothing.
//
// Advice belongs to addresses: it would stay with them after the collector has given the
// memory to others, and the system could back with 2 MB what they use 4 KB of. So the last
// act before the memory is free is to withdraw it. Where the system gives huge pages to all
// who do not refuse them, withdrawing would refuse them, and the advice stays: it says there
// what already holds.
func advise(base *byte, b []byte) {
	if syscall.Madvise(b, syscall.MADV_HUGEPAGE) != nil || mode() == "always" {
		return
	}
	from := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(base))
	n := len(b)
	// A finalizer and no cleanup: it holds the memory until the advice is gone.
	runtime.SetFinalizer(base, func(base *byte) {
		_ = syscall.Madvise(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(base), from)), n), syscall.MADV_NOHUGEPAGE)
	})
}

// Available reports whether the system gives huge pages to those who ask.
func Available() bool {
	m := mode()
	return m != "" && m != "never"
}

// mode says to whom the system gives huge pages: always, madvise, or never; it is empty
// where the system does not say.
func mode() string {
	b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(b), "[")
	m, _, _ := strings.Cut(rest, "]")
	return m
}
