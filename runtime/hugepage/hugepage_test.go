package hugepage

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// Lengths around a page and a cache line: as long as asked, zero, aligned, writable to
// the last byte, and no more.
func TestBytes(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 4096, Size - 1, Size, Size + 1, 3*Size + 5} {
		b := Bytes(n)
		if len(b) != n || cap(b) != n {
			t.Fatalf("Bytes(%d) has length %d and capacity %d", n, len(b), cap(b))
		}
		if n == 0 {
			continue
		}
		to := uintptr(64)
		if n >= Size {
			to = Size
		}
		if at := uintptr(unsafe.Pointer(&b[0])); at%to != 0 {
			t.Errorf("Bytes(%d) begins at %x, not at a multiple of %d", n, at, to)
		}
		for i, v := range b {
			if v != 0 {
				t.Fatalf("Bytes(%d): byte %d is %d", n, i, v)
			}
			b[i] = byte(i) | 1
		}
	}
}

// Where the system has huge pages, written memory is in them.
func TestBytesAreHuge(t *testing.T) {
	if runtime.GOOS != "linux" || !Available() {
		t.Skip("no huge pages here")
	}
	const n = 16 * Size
	b := Bytes(n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	got, err := hugeBytes(uintptr(unsafe.Pointer(&b[0])))
	if err != nil {
		t.Skip(err)
	}
	if got == 0 {
		t.Skip("the system had no huge page to give") // memory may be fragmented
	}
	if got < n/2 {
		t.Errorf("%d of %d bytes are in huge pages", got, n)
	}
	runtime.KeepAlive(b)
}

// The request for huge pages does not outlive the memory: what the collector frees has it no
// more, and what it frees only in part keeps it.
func TestTheRequestGoesWithTheMemory(t *testing.T) {
	if runtime.GOOS != "linux" || !Available() {
		t.Skip("no huge pages here")
	}
	if all, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled"); err != nil || strings.Contains(string(all), "[always]") {
		t.Skip("the system gives huge pages to all")
	}
	b := Bytes(4 * Size)
	at := uintptr(unsafe.Pointer(&b[0]))
	asked := func() bool {
		flags, err := field(at, "VmFlags:")
		if err != nil {
			t.Skip(err)
		}
		return strings.Contains(flags+" ", " hg ")
	}
	tail := b[3*Size:]
	b = nil
	for range 3 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	if !asked() {
		t.Fatal("memory in use is not asked for huge pages")
	}
	runtime.KeepAlive(tail)
	tail = nil
	for range 100 { // finalizers run in time, not at once
		runtime.GC()
		if !asked() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the system is still asked for huge pages behind memory that nobody holds")
}

// hugeBytes is AnonHugePages of the mapping that holds an address.
func hugeBytes(at uintptr) (int, error) {
	text, err := field(at, "AnonHugePages:")
	if err != nil {
		return 0, err
	}
	var kb int
	_, err = fmt.Sscanf(text, "%d kB", &kb)
	return kb << 10, err
}

// field is what the system says of the mapping that holds an address.
func field(at uintptr, name string) (string, error) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return "", err
	}
	defer f.Close()
	inside := false
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var lo, hi uintptr
		line := sc.Text()
		if _, err := fmt.Sscanf(line, "%x-%x ", &lo, &hi); err == nil {
			inside = lo <= at && at < hi
		}
		if text, ok := strings.CutPrefix(line, name); ok && inside {
			return text, nil
		}
	}
	return "", fmt.Errorf("no %s in /proc/self/smaps", name)
}
