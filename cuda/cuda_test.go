package cuda_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/cudatest"
	"github.com/seed-c851cfd2/moec/cuda/emu"
)

func TestEmulator(t *testing.T) {
	cudatest.Run(t, cuda.Emulator{Options: emu.Options{Checks: emu.AllChecks}})
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
