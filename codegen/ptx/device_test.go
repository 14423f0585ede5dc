package ptx

import (
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/cudatest"
	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// device runs kernels on the emulator, with all checks, blocks in a random order; with
// MOEC_DEVICE=cuda on a GPU.
type device struct {
	t    testing.TB
	dev  *cudatest.Kernels
	addr map[string]uint64
}

func newDevice(t testing.TB, seed uint64) *device {
	return &device{t, cudatest.Open(t, seed), map[string]uint64{}}
}

// alloc reserves n bytes; without data they stay uninitialised, which the emulator tracks.
func (d *device) alloc(name string, n int, data []byte) {
	a, err := d.dev.Alloc(max(n, 16))
	if err != nil {
		d.t.Fatal(err)
	}
	if len(data) > 0 {
		if err := d.dev.CopyIn(a, data); err != nil {
			d.t.Fatal(err)
		}
	}
	d.addr[name] = a
}

// read copies a buffer back; nil when some of it was never written.
func (d *device) read(name string, n int) []byte {
	out := make([]byte, n)
	if n > 0 && d.dev.CopyOut(out, d.addr[name]) != nil {
		return nil
	}
	return out
}

func (d *device) launch(k *Kernel, grid [3]int, args []any) error {
	for i, a := range args {
		if name, ok := a.(string); ok {
			args[i] = d.addr[name]
		}
	}
	return d.dev.Launch(k.PTX, k.Name, emu.Launch{
		Grid: grid, Block: [3]int{k.Threads, 1, 1}, SharedBytes: k.DynamicShared, Args: args,
	})
}
