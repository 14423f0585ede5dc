//go:build cuda

package nvidia

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"gorgonia.org/cu"

	"github.com/seed-c851cfd2/moec/cuda"
)

// check explains why no device can be used.
func check() (int, error) {
	v := cu.Version()
	n, err := cu.NumDevices()
	switch {
	case err != nil && v <= 0:
		return 0, fmt.Errorf("%w: the NVIDIA driver is not installed or does not load (%v); install it, or use --device emu", cuda.ErrNoDevice, err)
	case err != nil:
		return 0, fmt.Errorf("%w: the NVIDIA driver reports: %v; is the device visible (nvidia-smi, CUDA_VISIBLE_DEVICES)?", cuda.ErrNoDevice, err)
	case n == 0:
		return 0, fmt.Errorf("%w: the NVIDIA driver is there but sees no device; check nvidia-smi and CUDA_VISIBLE_DEVICES", cuda.ErrNoDevice)
	case v < MinDriver:
		return 0, fmt.Errorf("%w: the NVIDIA driver supports CUDA %d.%d, moec's kernels need %d.%d; update it", cuda.ErrNoDevice, v/1000, v%1000/10, MinDriver/1000, MinDriver%1000/10)
	}
	return n, nil
}

// Devices lists the GPUs.
func (Driver) Devices() ([]cuda.Info, error) {
	n, err := check()
	if err != nil {
		return nil, err
	}
	var out []cuda.Info
	for i := range n {
		info, _, err := describe(i)
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	return out, nil
}

func describe(i int) (cuda.Info, cu.Device, error) {
	var info cuda.Info
	d, err := cu.GetDevice(i)
	if err != nil {
		return info, d, fmt.Errorf("cuda: device %d: %w", i, err)
	}
	name, err := d.Name()
	mem, err2 := d.TotalMem()
	attr := func(a cu.DeviceAttribute) int {
		v, aerr := d.Attribute(a)
		err = errors.Join(err, aerr)
		return v
	}
	info = cuda.Info{
		Name: name, Memory: mem,
		Major: attr(cu.ComputeCapabilityMajor), Minor: attr(cu.ComputeCapabilityMinor),
		SMs: attr(cu.MultiprocessorCount), MaxShared: attr(maxSharedOptIn),
		Driver: fmt.Sprintf("CUDA %d.%d", cu.Version()/1000, cu.Version()%1000/10),
	}
	if err := errors.Join(err, err2); err != nil {
		return info, d, fmt.Errorf("cuda: device %d: %w", i, err)
	}
	return info, d, nil
}

// maxSharedOptIn is CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN.
const maxSharedOptIn = cu.DeviceAttribute(97)

// minMajor is the oldest compute capability that runs the kernels (sm_80).
const minMajor = 8

// Open makes a context on the i-th GPU.
func (Driver) Open(i int) (cuda.Device, error) {
	n, err := check()
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= n {
		return nil, fmt.Errorf("%w: there are %d devices, not a number %d", cuda.ErrNoDevice, n, i)
	}
	info, d, err := describe(i)
	if err != nil {
		return nil, err
	}
	if info.Major < minMajor {
		return nil, fmt.Errorf("%w: %s has compute capability %d.%d, the kernels need %d.0", cuda.ErrNoDevice, info.Name, info.Major, info.Minor, minMajor)
	}
	runtime.LockOSThread() // making a context makes it this thread's; it is to be nobody's
	defer runtime.UnlockOSThread()
	cctx, err := d.MakeContext(cu.SchedAuto)
	if err != nil {
		return nil, fmt.Errorf("cuda: %s: %w", info.Name, err)
	}
	if _, err := cu.PopCurrentCtx(); err != nil {
		return nil, fmt.Errorf("cuda: %s: %w", info.Name, err)
	}
	return &device{info: info, ctx: cctx}, nil
}

// device is a context. Contexts may be used by any number of threads, each of which must have made it current.
type device struct {
	info cuda.Info
	ctx  cu.CUContext

	mu     sync.RWMutex // held for writing by Close
	closed bool
}

// do makes driver calls with the context current. The goroutine keeps its thread meanwhile: it is the thread that the
// context is current on.
func (d *device) do(f func() error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return errors.New("cuda: the device is closed")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(d.ctx); err != nil {
		return err
	}
	return f()
}

func (d *device) Info() cuda.Info { return d.info }

// Close destroys the context once no call is under way.
func (d *device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errors.New("cuda: the device is closed")
	}
	d.closed = true
	return d.ctx.Destroy()
}
