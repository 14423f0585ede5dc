package cudatest

import (
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/nvidia"
)

// DeviceEnv names the device that Open gives tests of kernels: "cuda" for the
// first GPU, anything else for the emulator with all checks.
const DeviceEnv = "MOEC_DEVICE"

// Kernels is a device for tests of single kernels.
type Kernels struct {
	dev    cuda.Device
	stream cuda.Stream
	mu     *sync.Mutex
	loaded map[string]cuda.Module
}

// gpu is the one GPU that the tests of a process share.
var gpu struct {
	sync.Mutex
	k *Kernels
}

// Open gives a test a device: a fresh emulated one, whose blocks run in an
// order drawn from seed, or the GPU. On a GPU, what the emulator alone can see
// (a race, an undefined value) goes unnoticed. Without the GPU that was asked
// for the test is skipped, with the reason.
func Open(t testing.TB, seed uint64) *Kernels {
	t.Helper()
	if os.Getenv(DeviceEnv) != "cuda" {
		k, err := open(cuda.Emulator{Options: emu.Options{Checks: emu.AllChecks, Seed: seed, MaxSteps: 1 << 24}})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	gpu.Lock()
	defer gpu.Unlock()
	if gpu.k == nil {
		k, err := open(nvidia.Driver{})
		if errors.Is(err, cuda.ErrNoDevice) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		gpu.k = k
	}
	return gpu.k
}

func open(drv cuda.Driver) (*Kernels, error) {
	dev, err := drv.Open(0)
	if err != nil {
		return nil, err
	}
	s, err := dev.NewStream()
	return &Kernels{dev: dev, stream: s, mu: &sync.Mutex{}, loaded: map[string]cuda.Module{}}, err
}

// Alloc reserves n bytes with undefined content.
func (k *Kernels) Alloc(n int) (uint64, error) {
	p, err := k.dev.Alloc(int64(n))
	return uint64(p), err
}

// CopyIn writes device memory.
func (k *Kernels) CopyIn(dst uint64, src []byte) error {
	return errors.Join(k.stream.CopyIn(cuda.Ptr(dst), src), k.stream.Synchronize())
}

// CopyOut reads device memory.
func (k *Kernels) CopyOut(dst []byte, src uint64) error {
	return errors.Join(k.stream.CopyOut(dst, cuda.Ptr(src)), k.stream.Synchronize())
}

// Launch runs a kernel of a PTX text and waits for it. Texts are loaded once.
func (k *Kernels) Launch(ptx, kernel string, l emu.Launch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	mod, ok := k.loaded[ptx]
	if !ok {
		var err error
		if mod, err = k.dev.Load(ptx); err != nil {
			return err
		}
		k.loaded[ptx] = mod
	}
	fn, err := mod.Kernel(kernel)
	if err != nil {
		return err
	}
	err = k.stream.Launch(cuda.Launch{Kernel: fn, Grid: l.Grid, Block: l.Block, SharedBytes: l.SharedBytes, Args: l.Args})
	return errors.Join(err, k.stream.Synchronize())
}
