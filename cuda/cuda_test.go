package cuda_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/cudatest"
	"github.com/seed-c851cfd2/moec/cuda/emu"
)

func TestEmulator(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late_%t", late), func(t *testing.T) {
			cudatest.Run(t, cuda.Emulator{Options: emu.Options{Checks: emu.AllChecks}, Late: late})
		})
	}
}

// TestLate: a late device sees host memory as it is when it is waited for, and errors come then.
func TestLate(t *testing.T) {
	dev, err := cuda.Emulator{Late: true}.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := dev.NewStream()
	p, _ := dev.Alloc(4)
	src, dst := []byte{1, 2, 3, 4}, make([]byte, 4)
	if err := errors.Join(s.CopyIn(p, src), s.CopyOut(dst, p)); err != nil || dst[0] != 0 {
		t.Fatalf("%v, %v", dst, err)
	}
	src[0] = 9
	if err := s.Synchronize(); err != nil || dst[0] != 9 {
		t.Errorf("%v, %v", dst, err)
	}
	if err := s.CopyIn(p+4096, src); err != nil {
		t.Errorf("queueing fails: %v", err)
	}
	if err := s.Synchronize(); err == nil {
		t.Error("a copy outside every allocation is not reported")
	}
	if err := s.Synchronize(); err != nil {
		t.Errorf("reported twice: %v", err)
	}
}

func TestFaultNamesNodeAndInstruction(t *testing.T) {
	launches := 0
	drv := cuda.Emulator{Options: emu.Options{Checks: emu.AllChecks}, Stats: func(cuda.Launch, emu.Stats) { launches++ }}
	dev, err := drv.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	mod, err := dev.Load(".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p)\n{\n.reg .b64 %a;\nld.param.u64 %a, [p];\nst.global.u32 [%a], 1;\nret;\n}")
	if err != nil {
		t.Fatal(err)
	}
	k, err := mod.Kernel("k")
	if err != nil {
		t.Fatal(err)
	}
	s, _ := dev.NewStream()
	p, _ := dev.Alloc(4)
	if err := s.Launch(cuda.Launch{Kernel: k, Args: []any{p}}); err != nil || launches != 1 {
		t.Fatalf("error %v, %d launches seen", err, launches)
	}
	err = s.Launch(cuda.Launch{Kernel: k, Args: []any{p + 4}, Node: "/layer.0/ffn", Index: 3})
	var le *cuda.LaunchError
	var f *emu.Fault
	if !errors.As(err, &le) || !errors.As(err, &f) || f.Kind != emu.OutOfBounds || f.Line != 8 {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"launch 3", "kernel k", "/layer.0/ffn", "line 8", "lane 0"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %q", err, want)
		}
	}
}
