package probe

import (
	"testing"
	"time"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// The loops run for every level and give positive finite rates.
func TestRates(t *testing.T) {
	for _, level := range isa.Levels() {
		f, err := isa.Detect().Cap(level)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []layout.Precision{layout.F32, layout.BF16, layout.I8} {
			for threads := range 3 {
				if r := Peak(f, p, threads, time.Millisecond); !(r.Median > 0 && r.Best >= r.Median && r.Best < 1e6) {
					t.Errorf("%s %v on %d threads: %+v", level, p, threads, r)
				}
			}
		}
		for _, p := range []layout.Precision{layout.F32, layout.BF16, layout.I8} {
			for _, store := range []bool{false, true} {
				r := LoadedTiles(f, p, store, time.Millisecond)
				if tiled := f.AMX && !isa.TilesEmulated && p != layout.F32; tiled != (r.Median > 0 && r.Best >= r.Median && r.Best < 1e6) {
					t.Errorf("%s %v, tiles loaded, store=%v: %+v", level, p, store, r)
				}
			}
		}
		for threads := 1; threads <= 2; threads++ {
			mem := [][]byte{make([]byte, 9000), make([]byte, 3*4096), nil, make([]byte, 100)}
			if r := ReadOver(f, mem, threads, time.Millisecond); !(r.Median > 0 && r.Best >= r.Median && r.Best < 1e6) {
				t.Errorf("%s reading what is there on %d threads: %+v", level, threads, r)
			}
		}
		for _, size := range []int{0, 4096, 5000, 1 << 20} {
			if r := Read(f, size, 2, time.Millisecond); !(r.Median > 0 && r.Best >= r.Median && r.Best < 1e6) {
				t.Errorf("%s reading %d: %+v", level, size, r)
			}
		}
	}
}

func BenchmarkMachine(b *testing.B) {
	f := isa.Detect()
	for threads := 1; threads <= 2; threads++ {
		for _, p := range []layout.Precision{layout.F32, layout.BF16, layout.I8} {
			r := Peak(f, p, threads, 300*time.Millisecond)
			b.Logf("%d threads %-5v peak  %7.1f GFLOP/s, median %.1f", threads, p, r.Best, r.Median)
		}
		for _, p := range []layout.Precision{layout.BF16, layout.I8} {
			for _, store := range []bool{false, true} {
				if r := LoadedTiles(f, p, store, 300*time.Millisecond); threads == 1 && r.Best > 0 {
					b.Logf("1 threads %-5v tiles loaded, results stored %-5v %7.1f GFLOP/s, median %.1f", p, store, r.Best, r.Median)
				}
			}
		}
		for _, kb := range []int{24, 512, 1 << 10, 6 << 10, 24 << 10, 256 << 10} {
			r := Read(f, kb<<10, threads, 300*time.Millisecond)
			b.Logf("%d threads read %6d KB  %7.1f GB/s, median %.1f", threads, kb, r.Best, r.Median)
		}
	}
}
