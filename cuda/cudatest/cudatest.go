// Package cudatest holds the promises of cuda.Driver as tests, to be run by
// every implementation: the emulator, and the NVIDIA driver on a GPU or on the
// emulator behind the driver's own symbols.
package cudatest

import (
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda"
)

var le = binary.LittleEndian

// saxpy is y = a*x + y, and reverse turns each block's words around through
// as much dynamic shared memory as the launch gives.
const kernels = `.version 7.0
.target sm_80
.address_size 64
.extern .shared .align 16 .b8 smem[];
.visible .entry saxpy(.param .u64 y, .param .u64 x, .param .f32 a, .param .u32 n)
{
	.reg .b32 %r<6>; .reg .f32 %f<4>; .reg .b64 %rd<6>; .reg .pred %p;
	ld.param.u64 %rd0, [y];
	ld.param.u64 %rd1, [x];
	ld.param.f32 %f0, [a];
	ld.param.u32 %r0, [n];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, %ctaid.x;
	mov.u32 %r3, %ntid.x;
	mad.lo.u32 %r4, %r2, %r3, %r1;
	setp.ge.u32 %p, %r4, %r0;
	@%p bra DONE;
	mul.wide.u32 %rd2, %r4, 4;
	add.u64 %rd3, %rd0, %rd2;
	add.u64 %rd4, %rd1, %rd2;
	ld.global.f32 %f1, [%rd3];
	ld.global.f32 %f2, [%rd4];
	fma.rn.f32 %f3, %f0, %f2, %f1;
	st.global.f32 [%rd3], %f3;
DONE:
	ret;
}
.visible .entry reverse(.param .u64 y, .param .u32 top)
{
	.reg .b32 %r<8>; .reg .b64 %rd<4>;
	ld.param.u64 %rd0, [y];
	ld.param.u32 %r0, [top];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, %ntid.x;
	mul.wide.u32 %rd1, %r1, 4;
	add.u64 %rd2, %rd0, %rd1;
	ld.global.u32 %r3, [%rd2];
	mov.u32 %r4, smem;
	add.u32 %r4, %r4, %r0;
	shl.b32 %r5, %r1, 2;
	sub.u32 %r6, %r4, %r5;
	st.shared.u32 [%r6], %r3;
	bar.sync 0;
	shl.b32 %r7, %r2, 2;
	sub.u32 %r4, %r4, %r7;
	add.u32 %r4, %r4, 4;
	add.u32 %r4, %r4, %r5;
	ld.shared.u32 %r3, [%r4];
	st.global.u32 [%rd2], %r3;
	ret;
}
.visible .entry both(.param .u64 y)
{
	.shared .align 4 .b8 fixed[256];
	.reg .b32 %r<4>; .reg .b64 %rd;
	ld.param.u64 %rd, [y];
	mov.u32 %r0, fixed;
	mov.u32 %r1, smem;
	st.shared.u32 [%r0+252], 5;
	st.shared.u32 [%r1+49148], 7;
	ld.shared.u32 %r2, [%r0+252];
	ld.shared.u32 %r3, [%r1+49148];
	add.u32 %r2, %r2, %r3;
	st.global.u32 [%rd], %r2;
	ret;
}
`

// Run checks a driver. It skips, with the reason, when the driver has no device.
func Run(t *testing.T, drv cuda.Driver) {
	infos, err := drv.Devices()
	if errors.Is(err, cuda.ErrNoDevice) {
		t.Skip(err)
	}
	must(t, err)
	if len(infos) == 0 || infos[0].Name == "" || infos[0].Major < 8 || infos[0].Memory <= 0 || infos[0].MaxShared < 48<<10 {
		t.Fatalf("devices: %+v", infos)
	}
	t.Logf("device: %+v", infos[0])
	if _, err := drv.Open(len(infos)); !errors.Is(err, cuda.ErrNoDevice) {
		t.Errorf("opening device %d: %v", len(infos), err)
	}
	dev, err := drv.Open(0)
	must(t, err)
	mod, err := dev.Load(kernels)
	must(t, err)
	s, err := dev.NewStream()
	must(t, err)
	b := &bench{dev: dev, mod: mod, s: s}
	t.Run("launch", b.launch)
	t.Run("shared", b.shared)
	t.Run("both", b.both)
	t.Run("graph", b.graph)
	t.Run("threads", b.threads)
	t.Run("events", b.events)
	t.Run("pinned", b.pinned)
	t.Run("pool", b.pool)
	t.Run("errors", b.errors)
	must(t, s.Close())
	must(t, mod.Unload())
	must(t, dev.Close())
}

type bench struct {
	dev cuda.Device
	mod cuda.Module
	s   cuda.Stream
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *bench) kernel(t *testing.T, name string) cuda.Kernel {
	t.Helper()
	k, err := b.mod.Kernel(name)
	must(t, err)
	return k
}

func (b *bench) upload(t *testing.T, v []float32) cuda.Ptr {
	t.Helper()
	p, err := b.dev.Alloc(int64(4 * len(v)))
	must(t, err)
	t.Cleanup(func() {
		if err := b.dev.Free(p); err != nil {
			t.Error(err)
		}
	})
	must(t, b.s.CopyIn(p, bytesOf(v)))
	must(t, b.s.Synchronize())
	return p
}

func (b *bench) download(t *testing.T, p cuda.Ptr, n int) []float32 {
	t.Helper()
	raw := make([]byte, 4*n)
	must(t, b.s.CopyOut(raw, p))
	must(t, b.s.Synchronize())
	out := make([]float32, n)
	for i := range out {
		out[i] = math.Float32frombits(le.Uint32(raw[4*i:]))
	}
	return out
}

func bytesOf(v []float32) []byte {
	var out []byte
	for _, x := range v {
		out = le.AppendUint32(out, math.Float32bits(x))
	}
	return out
}

func ramp(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i)
	}
	return v
}

func (b *bench) saxpy(t *testing.T, y, x cuda.Ptr, n int) cuda.Launch {
	return cuda.Launch{
		Kernel: b.kernel(t, "saxpy"), Grid: [3]int{(n + 127) / 128}, Block: [3]int{128},
		Args: []any{y, x, float32(2), uint32(n)}, Node: "/model/saxpy", Index: 7,
	}
}

func (b *bench) launch(t *testing.T) {
	const n = 1000
	x, y := b.upload(t, ramp(n)), b.upload(t, ramp(n))
	must(t, b.s.Launch(b.saxpy(t, y, x, n)))
	for i, v := range b.download(t, y, n) {
		if v != 3*float32(i) {
			t.Fatalf("y[%d] = %g", i, v)
		}
	}
	must(t, b.s.Copy(x, y, 4*n))
	must(t, b.s.Fill(y, 0, 4*n))
	if v := b.download(t, x, n); v[999] != 2997 {
		t.Errorf("copied %g", v[999])
	}
	if v := b.download(t, y, n); v[999] != 0 {
		t.Errorf("filled %g", v[999])
	}
}

// shared uses more shared memory than a launch gets without asking.
func (b *bench) shared(t *testing.T) {
	const n, bytes = 64, 100 << 10
	y := b.upload(t, ramp(n))
	must(t, b.s.Launch(cuda.Launch{
		Kernel: b.kernel(t, "reverse"), Grid: [3]int{1}, Block: [3]int{n}, SharedBytes: bytes,
		Args: []any{y, uint32(bytes - 4)},
	}))
	for i, v := range b.download(t, y, n) {
		if v != float32(n-1-i) {
			t.Fatalf("y[%d] = %g", i, v)
		}
	}
}

// both uses no more dynamic shared memory than a launch gets without asking, but for a kernel that has some of its own.
func (b *bench) both(t *testing.T) {
	y := b.upload(t, ramp(1))
	must(t, b.s.Launch(cuda.Launch{Kernel: b.kernel(t, "both"), Grid: [3]int{1}, Block: [3]int{1}, SharedBytes: 48 << 10, Args: []any{y}}))
	if v := b.download(t, y, 1); math.Float32bits(v[0]) != 12 {
		t.Errorf("the shared words add to %d", math.Float32bits(v[0]))
	}
}

func (b *bench) graph(t *testing.T) {
	const n = 256
	x, y := b.upload(t, ramp(n)), b.upload(t, ramp(n))
	g, err := b.s.Capture(func() error {
		return errors.Join(b.s.Launch(b.saxpy(t, y, x, n)), b.s.Launch(b.saxpy(t, y, x, n)))
	})
	must(t, err)
	if v := b.download(t, y, n); v[9] != 9 {
		t.Fatalf("capturing ran the launches: y[9] = %g", v[9])
	}
	must(t, g.Launch(b.s))
	must(t, g.Launch(b.s))
	if v := b.download(t, y, n); v[9] != 9+4*18 {
		t.Errorf("y[9] = %g", v[9])
	}
	must(t, g.Close())
	failed := errors.New("no")
	if _, err := b.s.Capture(func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("a capture that fails gives %v", err)
	}
	must(t, b.s.Launch(b.saxpy(t, y, x, n)))
	must(t, b.s.Synchronize())
}

// threads uses the device from many goroutines, which wander over threads, one of them capturing.
func (b *bench) threads(t *testing.T) {
	const n = 256
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := b.dev.NewStream()
			if err != nil {
				t.Error(err)
				return
			}
			x, errX := b.dev.Alloc(4 * n)
			y, errY := b.dev.Alloc(4 * n)
			out := make([]byte, 4*n)
			k, errK := b.mod.Kernel("saxpy")
			err = errors.Join(errX, errY, errK, s.CopyIn(x, bytesOf(ramp(n))), s.CopyIn(y, bytesOf(ramp(n))))
			l := cuda.Launch{Kernel: k, Grid: [3]int{2}, Block: [3]int{128}, Args: []any{y, x, float32(2), uint32(n)}}
			g, errG := s.Capture(func() error {
				runtime.Gosched()
				return s.Launch(l)
			})
			if err = errors.Join(err, errG); err == nil {
				err = errors.Join(s.Launch(l), g.Launch(s), s.CopyOut(out, y), s.Synchronize(), g.Close(), b.dev.Free(x), b.dev.Free(y), s.Close())
			}
			if v := math.Float32frombits(le.Uint32(out[4*9:])); err != nil || v != 9+2*18 {
				t.Errorf("y[9] = %g, %v", v, err)
			}
		})
	}
	wg.Wait()
}

func (b *bench) events(t *testing.T) {
	e1, err := b.dev.NewEvent()
	must(t, err)
	e2, err := b.dev.NewEvent()
	must(t, err)
	x, y := b.upload(t, ramp(99)), b.upload(t, ramp(99))
	must(t, b.s.Record(e1))
	must(t, b.s.Launch(b.saxpy(t, y, x, 99)))
	must(t, b.s.Record(e2))
	must(t, b.s.Wait(e1))
	must(t, e2.Synchronize())
	d, err := e2.Since(e1)
	must(t, err)
	if d < 0 {
		t.Errorf("the launch took %v", d)
	}
	must(t, errors.Join(e1.Close(), e2.Close()))
}

func (b *bench) pinned(t *testing.T) {
	h, err := b.dev.AllocHost(400)
	must(t, err)
	if len(h.Bytes()) != 400 {
		t.Fatalf("%d bytes", len(h.Bytes()))
	}
	copy(h.Bytes(), bytesOf(ramp(100)))
	y := b.upload(t, make([]float32, 100))
	must(t, b.s.CopyIn(y, h.Bytes()))
	if v := b.download(t, y, 100); v[99] != 99 {
		t.Errorf("y[99] = %g", v[99])
	}
	must(t, h.Free())
}

func (b *bench) pool(t *testing.T) {
	p := cuda.NewPool(b.dev)
	a, err := p.Get(1000)
	must(t, err)
	must(t, p.Put(a))
	c, err := p.Get(900)
	must(t, err)
	if a != c {
		t.Errorf("memory of the same class was not used again: %#x, %#x", uint64(a), uint64(c))
	}
	if p.Put(c+1) == nil || p.InUse() != 1024 || p.Held() != 1024 {
		t.Errorf("in use %d, held %d", p.InUse(), p.Held())
	}
	must(t, p.Put(c))
	if p.Put(c) == nil {
		t.Error("memory was given back twice")
	}
	must(t, p.Trim())
	if p.Held() != 0 {
		t.Errorf("%d bytes held after Trim", p.Held())
	}
}

func (b *bench) errors(t *testing.T) {
	if _, err := b.mod.Kernel("absent"); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("absent kernel: %v", err)
	}
	if _, err := b.dev.Load(".version 7.0\n.target sm_80\n.address_size 64\n.entry k() { nonsense.b32; }"); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("nonsense was loaded, or nobody says what is wrong: %v", err)
	}
	l := b.saxpy(t, 0, 0, 1)
	l.Block = [3]int{4096}
	err := b.s.Launch(l)
	var le *cuda.LaunchError
	if !errors.As(err, &le) || le.Kernel != "saxpy" || le.Node != "/model/saxpy" || le.Index != 7 {
		t.Errorf("a launch of 4096 threads gives %v", err)
	}
}
