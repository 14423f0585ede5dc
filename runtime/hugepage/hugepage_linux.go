package hugepage

import (
	"os"
	"strings"
	"syscall"
)

// advise asks for huge pages behind b. A kernel without them refuses, which costs nothing.
func advise(b []byte) { _ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) }

// Available reports whether the system gives huge pages to those who ask.
func Available() bool {
	b, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	return err == nil && !strings.Contains(string(b), "[never]")
}
