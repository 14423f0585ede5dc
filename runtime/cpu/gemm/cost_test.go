package gemm

import (
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

func TestSerial(t *testing.T) {
	k := New(isa.Detect())
	for _, c := range []struct {
		p            layout.Precision
		flops, bytes float64
		want         bool
	}{
		{layout.F32, 1e5, 1e5, true},   // 1 us
		{layout.F32, 1e7, 1e5, false},  // 100 us of arithmetic
		{layout.I8, 2e6, 1e5, true},    // 5 us
		{layout.F32, 1e5, 4e6, false},  // 130 us of reading
		{layout.F32, 1e5, 0.9e6, true}, // 11 us from L2
	} {
		if got := k.Serial(c.p, c.flops, c.bytes); got != c.want {
			t.Errorf("Serial(%v, %g, %g) = %v", c.p, c.flops, c.bytes, got)
		}
		if k.ShareFrom(0).Serial(c.p, c.flops, c.bytes) {
			t.Errorf("ShareFrom(0) is serial for %g", c.flops)
		}
	}
}
