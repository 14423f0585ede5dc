package ffn

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
)

// huge moves a matrix to memory in huge pages, as a session does with weights.
func huge(b *testing.B, m *layout.Matrix) *layout.Matrix {
	const page = 2 << 20
	n := m.Precision.Bytes(m.K, m.N)
	mem := hugePool(b, (n+page-1)&^(page-1))
	switch m.Precision {
	case layout.F32:
		to := unsafe.Slice((*float32)(mem), n/4)
		copy(to, m.F32)
		m.F32 = to
	case layout.BF16:
		to := unsafe.Slice((*uint16)(mem), n/2)
		copy(to, m.BF16)
		m.BF16 = to
	case layout.I8:
		to := unsafe.Slice((*int8)(mem), n)
		copy(to, m.I8)
		m.I8 = to
	}
	return m
}

func hugePool(b *testing.B, n int) unsafe.Pointer {
	const page = 2 << 20
	raw, err := syscall.Mmap(-1, 0, n+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = syscall.Munmap(raw) })
	_ = syscall.Madvise(raw, 14) // MADV_HUGEPAGE
	at := unsafe.Pointer(unsafe.SliceData(raw))
	return unsafe.Add(at, -uintptr(at)&(page-1))
}
