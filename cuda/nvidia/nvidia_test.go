package nvidia_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/cudatest"
	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/emu/launchfile"
	"github.com/seed-c851cfd2/moec/cuda/nvidia"
)

// TestDriver runs on a GPU where there is one, on the emulator with the tag
// cudaemu, and otherwise checks that the lack of a GPU is explained.
func TestDriver(t *testing.T) {
	if _, err := (nvidia.Driver{}).Devices(); err != nil && !errors.Is(err, cuda.ErrNoDevice) {
		t.Fatalf("error %v does not say that there is no device", err)
	}
	cudatest.Run(t, nvidia.Driver{})
}

// target runs a launch file through the driver.
type target struct {
	dev cuda.Device
	mod cuda.Module
	s   cuda.Stream
}

func (g target) Alloc(n int) (uint64, error) {
	p, err := g.dev.Alloc(int64(n))
	return uint64(p), err
}

func (g target) CopyIn(dst uint64, src []byte) error {
	return errors.Join(g.s.CopyIn(cuda.Ptr(dst), src), g.s.Synchronize())
}

func (g target) CopyOut(dst []byte, src uint64) error {
	return errors.Join(g.s.CopyOut(dst, cuda.Ptr(src)), g.s.Synchronize())
}

func (g target) Launch(_ context.Context, kernel string, l emu.Launch) (st emu.Stats, err error) {
	k, err := g.mod.Kernel(kernel)
	if err != nil {
		return st, err
	}
	err = g.s.Launch(cuda.Launch{Kernel: k, Grid: l.Grid, Block: l.Block, SharedBytes: l.SharedBytes, Args: l.Args})
	return st, errors.Join(err, g.s.Synchronize())
}

// TestCorpus runs the kernels of other compilers as they are.
func TestCorpus(t *testing.T) {
	if _, err := (nvidia.Driver{}).Devices(); err != nil {
		t.Skip(err)
	}
	dev, err := nvidia.Driver{}.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	launches, _ := filepath.Glob("../emu/testdata/ptx-corpus/*/launch.json")
	if len(launches) == 0 {
		t.Fatal("the corpus is missing")
	}
	for _, l := range launches {
		dir := filepath.Dir(l)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			src, err := os.ReadFile(filepath.Join(dir, "kernel.ptx"))
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := emu.Parse(string(src))
			if err != nil {
				t.Fatal(err)
			}
			f, err := launchfile.Load(filepath.Join(dir, "launch.json"))
			if err != nil {
				t.Fatal(err)
			}
			mod, err := dev.Load(string(src))
			if err != nil {
				t.Skip(err) // an older driver refuses newer PTX
			}
			s, err := dev.NewStream()
			if err != nil {
				t.Fatal(err)
			}
			res, err := launchfile.RunOn(t.Context(), target{dev, mod, s}, parsed, f, dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := res.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}
