package emu_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// exchange lets each block of a cluster of two read the other's shared memory.
const exchange = `.version 7.8
.target sm_90
.address_size 64
.visible .entry k(.param .u64 out)
.reqnctapercluster 2, 1, 1
{
	.reg .b32 %r<16>; .reg .b64 %d<4>; .reg .pred %p<3>;
	.shared .align 16 .b8 buf[256];
	ld.param.u64 %d0, [out];
	mov.u32 %r0, %tid.x;
	mov.u32 %r1, %cluster_ctarank;
	mov.u32 %r2, buf;
	mad.lo.u32 %r3, %r0, 4, %r2;
	mad.lo.u32 %r4, %r1, 1000, %r0;
	st.shared.u32 [%r3], %r4;
	FIRST
	xor.b32 %r5, %r1, 1;
	mapa.shared::cluster.u32 %r6, %r3, %r5;
	ld.shared::cluster.u32 %r7, [%r6+OFF];
	mov.u32 %r8, %ctaid.x;
	mad.lo.u32 %r9, %r8, 64, %r0;
	mad.wide.u32 %d1, %r9, 4, %d0;
	st.global.u32 [%d1], %r7;
	SECOND
	st.shared.u32 [%r3], 7;
	ret;
}
`

func TestCluster(t *testing.T) {
	both := "barrier.cluster.arrive; barrier.cluster.wait;"
	for _, c := range []struct {
		name, first, second, off string
		grid                     int
		want                     string
	}{
		{"exchange", both, both, "0", 6, ""},
		{"no barrier before", "", both, "0", 4, "race"},
		{"no barrier after", both, "", "0", 4, "has ended"},
		{"block barrier only", "bar.sync 0;", both, "0", 4, "race"},
		{"relaxed arrival", "barrier.cluster.arrive.relaxed; barrier.cluster.wait;", both, "0", 4, "race"},
		{"out of bounds", both, both, "256", 2, "out of bounds"},
		{"wait without arrival", "barrier.cluster.wait;", both, "0", 2, "without having arrived"},
		{"two arrivals", both + "barrier.cluster.arrive; barrier.cluster.arrive;", both, "0", 2, "arrives twice"},
		{"one block loops", both + "setp.eq.u32 %p0, %r1, 0; @%p0 bra X; " + both + " X: bar.sync 0; setp.eq.u32 %p0, %r1, 0; Y: @%p0 bra Y;", both, "0", 2, "a loop without end"},
		{"half a cluster", both, both, "0", 3, "whole number of clusters"},
	} {
		mod, err := emu.Parse(strings.NewReplacer("FIRST", c.first, "SECOND", c.second, "OFF", c.off).Replace(exchange))
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(3) {
			dev := emu.NewDevice(emu.Options{Seed: seed, Checks: emu.AllChecks, MaxSteps: 1 << 22})
			out, _ := dev.Alloc(4 * 64 * c.grid)
			_, err = dev.Launch(t.Context(), mod, "k", emu.Launch{Grid: [3]int{c.grid}, Block: [3]int{64}, Args: []any{out}})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v", c.name, err)
				}
				continue
			}
			got := make([]byte, 4*64*c.grid)
			if err = errors.Join(err, dev.CopyOut(got, out)); err != nil {
				t.Fatal(err)
			}
			for b := range c.grid {
				for i := range 64 {
					v := int(got[4*(64*b+i)]) | int(got[4*(64*b+i)+1])<<8
					if want := (b%2^1)*1000 + i; v != want {
						t.Fatalf("block %d thread %d: %d, expected %d", b, i, v, want)
					}
				}
			}
		}
	}
}
