//go:build !linux

package hugepage

func advise(*byte, []byte) {}

// Available reports whether the system gives huge pages to those who ask.
func Available() bool { return false }
