// Package probe measures what a machine can do at most: multiply-adds per second
// by precision, and bytes read per second by size. Reports divide by these.
package probe

import (
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/hugepage"
)

// Rate is what several short runs gave. Best is the machine undisturbed; on a
// shared machine the median may be far below it.
type Rate struct{ Best, Median float64 }

// Peak measures the greatest rate of multiply-adds, in GFLOP/s (GOP/s for int8;
// a multiply and an add are two), of the instruction that the kernels of f use
// for p, on a number of threads, for about the time given.
func Peak(f isa.Features, p layout.Precision, threads int, d time.Duration) Rate {
	loop, ops := peakLoop(f, p)
	return measure(threads, d, func(_, n int) float64 {
		loop(n)
		return float64(n) * ops
	})
}

// Read measures the rate of reading size bytes (rounded up to 4 KB) again and
// again, in GB/s over all threads, each with memory of its own, in huge pages where the
// system has them.
func Read(f isa.Features, size, threads int, d time.Duration) Rate {
	size = (max(size, 1) + 4095) &^ 4095
	loop := readLoop(f)
	bufs := make([][]uint64, threads)
	for i := range bufs {
		b := hugepage.Bytes(size)
		bufs[i] = unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), size/8)
		for j := range bufs[i] {
			bufs[i][j] = uint64(j) // touches every page, and no page twice the same
		}
	}
	rate := measure(threads, d, func(t, n int) float64 {
		for range max(1, n*512/size) {
			loop(unsafe.Pointer(&bufs[t][0]), size)
		}
		return float64(max(1, n*512/size)) * float64(size)
	})
	runtime.KeepAlive(bufs)
	return rate
}

// ReadOver is Read of memory that is there: each thread reads regions of its own, of which
// there should be one per thread at least, in whole pages.
func ReadOver(f isa.Features, regions [][]byte, threads int, d time.Duration) Rate {
	loop, size := readLoop(f), make([]int, threads)
	for i, r := range regions {
		size[i%threads] += len(r) &^ 4095
	}
	rate := measure(threads, d, func(t, n int) float64 {
		passes := max(1, n*512/max(1, size[t]))
		for range passes {
			for i := t; i < len(regions); i += threads {
				if whole := len(regions[i]) &^ 4095; whole > 0 {
					loop(unsafe.Pointer(&regions[i][0]), whole)
				}
			}
		}
		return float64(passes) * float64(size[t])
	})
	runtime.KeepAlive(regions)
	return rate
}

// measure runs rounds of about a millisecond on all threads together and reports
// the rates, in 1e9 per second.
func measure(threads int, d time.Duration, run func(thread, n int) float64) Rate {
	threads = max(1, threads)
	round := func(n int) (work, seconds float64) {
		var wg sync.WaitGroup
		parts := make([]float64, threads)
		begin := time.Now()
		for t := 1; t < threads; t++ {
			wg.Add(1)
			go func() {
				defer wg.Done()
				parts[t] = run(t, n)
			}()
		}
		parts[0] = run(0, n)
		wg.Wait()
		seconds = time.Since(begin).Seconds()
		for _, w := range parts {
			work += w
		}
		return work, seconds
	}
	n := 1000
	for {
		if _, s := round(n); s > 1e-3 || n > 1<<30 {
			break
		}
		n *= 2
	}
	var rates []float64
	for end := time.Now().Add(d); len(rates) < 3 || time.Now().Before(end); {
		work, s := round(n)
		rates = append(rates, work/s/1e9)
	}
	slices.Sort(rates)
	return Rate{Best: rates[len(rates)-1], Median: rates[len(rates)/2]}
}

// portablePeak does n rounds of eight independent multiply-adds.
func portablePeak(n int) {
	var a, b, c, d, e, f, g, h float32
	x, y := float32(n)*0, float32(n)*0
	for range n {
		a, b, c, d = a+x*y, b+x*y, c+x*y, d+x*y
		e, f, g, h = e+x*y, f+x*y, g+x*y, h+x*y
	}
	runtime.KeepAlive(a + b + c + d + e + f + g + h)
}

// portableRead reads n bytes.
func portableRead(p unsafe.Pointer, n int) {
	var a, b, c, d uint64
	x := unsafe.Slice((*uint64)(p), n/8)
	for i := 0; i+8 <= len(x); i += 8 {
		a, b, c, d = a^x[i]^x[i+4], b^x[i+1]^x[i+5], c^x[i+2]^x[i+6], d^x[i+3]^x[i+7]
	}
	runtime.KeepAlive(a ^ b ^ c ^ d)
}
