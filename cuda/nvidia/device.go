//go:build cuda

package nvidia

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/seed-c851cfd2/moec/cuda"
)

func (d *device) Alloc(n int64) (cuda.Ptr, error) {
	var p cu.DevicePtr
	err := d.do(func() (err error) {
		p, err = cu.MemAlloc(max(n, 1))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cuda: allocating %d bytes: %w", n, err)
	}
	return cuda.Ptr(p), nil
}

func (d *device) Free(p cuda.Ptr) error {
	return d.do(func() error { return cu.MemFree(cu.DevicePtr(p)) })
}

type hostBuffer struct {
	d *device
	p unsafe.Pointer
	n int
}

func (d *device) AllocHost(n int) (cuda.HostBuffer, error) {
	b := &hostBuffer{d: d, n: n}
	err := d.do(func() (err error) {
		b.p, err = pinned(max(n, 1))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	return b, nil
}

func (b *hostBuffer) Bytes() []byte { return unsafe.Slice((*byte)(b.p), b.n) }
func (b *hostBuffer) Free() error   { return b.d.do(func() error { return freePinned(b.p) }) }

type module struct {
	d   *device
	mod cu.Module
}

// logBytes is room for what the driver's assembler has to say about a kernel.
const logBytes = 8 << 10

func (d *device) Load(ptx string) (cuda.Module, error) {
	m := &module{d: d}
	log := make([]byte, logBytes)
	err := d.do(func() (err error) {
		m.mod, err = cu.LoadDataEx(ptx, &cu.JITErrorLogBuffer{Buffer: log})
		return err
	})
	if err != nil {
		text, _, _ := bytes.Cut(log, []byte{0})
		return nil, fmt.Errorf("cuda: the driver refuses the kernels: %w\n%s", err, bytes.TrimSpace(text))
	}
	return m, nil
}

type kernel struct {
	name string
	fn   cu.Function

	mu      sync.Mutex
	allowed int // dynamic shared memory that launches may use
}

// allow lets launches of the kernel have more dynamic shared memory than they get without asking.
func (k *kernel) allow(bytes int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if bytes <= k.allowed {
		return nil
	}
	if err := allowShared(k.fn, bytes); err != nil {
		return fmt.Errorf("%d bytes of shared memory: %w", bytes, err)
	}
	k.allowed = bytes
	return nil
}

func (k *kernel) Name() string { return k.name }

func (m *module) Kernel(name string) (cuda.Kernel, error) {
	k := &kernel{name: name}
	err := m.d.do(func() (err error) {
		if k.fn, err = m.mod.Function(name); err != nil {
			return err
		}
		static, err := k.fn.Attribute(cu.SharedSizeBytes)
		k.allowed = sharedWithoutAsking - static
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cuda: kernel %q: %w", name, err)
	}
	return k, nil
}

func (m *module) Unload() error { return m.d.do(func() error { return m.mod.Unload() }) }

type stream struct {
	d *device
	s cu.Stream
}

func (d *device) NewStream() (cuda.Stream, error) {
	s := &stream{d: d}
	err := d.do(func() (err error) {
		s.s, err = cu.MakeStream(cu.NonBlocking)
		return err
	})
	return s, err
}

func (s *stream) CopyIn(dst cuda.Ptr, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	return s.d.do(func() error {
		return cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(&src[0]), int64(len(src)), s.s)
	})
}

func (s *stream) CopyOut(dst []byte, src cuda.Ptr) error {
	if len(dst) == 0 {
		return nil
	}
	return s.d.do(func() error {
		return cu.MemcpyDtoHAsync(unsafe.Pointer(&dst[0]), cu.DevicePtr(src), int64(len(dst)), s.s)
	})
}

func (s *stream) Copy(dst, src cuda.Ptr, n int64) error {
	if n == 0 {
		return nil
	}
	return s.d.do(func() error { return cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), n, s.s) })
}

func (s *stream) Fill(dst cuda.Ptr, value byte, n int64) error {
	if n == 0 {
		return nil
	}
	return s.d.do(func() error { return cu.MemsetD8Async(cu.DevicePtr(dst), value, n, s.s) })
}

// sharedWithoutAsking is what a kernel and its launch may use together before more is allowed.
const sharedWithoutAsking = 48 << 10

func (s *stream) Launch(l cuda.Launch) error {
	k, ok := l.Kernel.(*kernel)
	if !ok {
		return l.Fail(errors.New("the kernel was loaded on another device"))
	}
	slots, err := slots(l.Args)
	if err != nil {
		return l.Fail(err)
	}
	params := make([]unsafe.Pointer, len(slots))
	for i := range slots {
		params[i] = unsafe.Pointer(&slots[i])
	}
	one := func(v int) int { return max(v, 1) }
	return l.Fail(s.d.do(func() error {
		if err := k.allow(l.SharedBytes); err != nil {
			return err
		}
		return k.fn.Launch(one(l.Grid[0]), one(l.Grid[1]), one(l.Grid[2]), one(l.Block[0]), one(l.Block[1]), one(l.Block[2]),
			l.SharedBytes, s.s, params)
	}))
}

// slots gives every argument eight bytes, which is what cu reads of each.
func slots(args []any) ([]uint64, error) {
	out := make([]uint64, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case cuda.Ptr:
			out[i] = uint64(v)
		case uint64:
			out[i] = v
		case int64:
			out[i] = uint64(v)
		case int:
			out[i] = uint64(v)
		case uint32:
			out[i] = uint64(v)
		case int32:
			out[i] = uint64(uint32(v))
		case uint16:
			out[i] = uint64(v)
		case uint8:
			out[i] = uint64(v)
		case float32:
			out[i] = uint64(math.Float32bits(v))
		case float64:
			out[i] = math.Float64bits(v)
		default:
			return nil, fmt.Errorf("argument %d has type %T, which cannot be a parameter", i, a)
		}
	}
	return out, nil
}

func (s *stream) Synchronize() error { return s.d.do(func() error { return s.s.Synchronize() }) }
func (s *stream) Close() error       { return s.d.do(func() error { return s.s.Destroy() }) }

func (s *stream) Record(e cuda.Event) error {
	ev, ok := e.(*event)
	if !ok {
		return errors.New("cuda: the event belongs to another device")
	}
	return s.d.do(func() error { return ev.e.Record(s.s) })
}

func (s *stream) Wait(e cuda.Event) error {
	ev, ok := e.(*event)
	if !ok {
		return errors.New("cuda: the event belongs to another device")
	}
	return s.d.do(func() error { return s.s.Wait(ev.e, 0) })
}

type graph struct {
	d    *device
	exec unsafe.Pointer
}

func (s *stream) Capture(f func() error) (cuda.Graph, error) {
	runtime.LockOSThread() // a capture ends on the thread that it began on
	defer runtime.UnlockOSThread()
	if err := s.d.do(func() error { return beginCapture(s.s) }); err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	ferr := f()
	g := &graph{d: s.d}
	err := s.d.do(func() (err error) {
		g.exec, err = endCapture(s.s)
		return err
	})
	if ferr != nil {
		if err == nil {
			ferr = errors.Join(ferr, g.Close())
		}
		return nil, ferr
	}
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	return g, nil
}

func (g *graph) Launch(s cuda.Stream) error {
	st, ok := s.(*stream)
	if !ok {
		return errors.New("cuda: the stream belongs to another device")
	}
	return g.d.do(func() error { return launchGraph(g.exec, st.s) })
}

func (g *graph) Close() error { return g.d.do(func() error { return destroyGraph(g.exec) }) }

type event struct {
	d *device
	e cu.Event
}

func (d *device) NewEvent() (cuda.Event, error) {
	e := &event{d: d}
	err := d.do(func() (err error) {
		e.e, err = cu.MakeEvent(cu.DefaultEvent)
		return err
	})
	return e, err
}

func (e *event) Synchronize() error { return e.d.do(func() error { return e.e.Synchronize() }) }

func (e *event) Since(earlier cuda.Event) (time.Duration, error) {
	o, ok := earlier.(*event)
	if !ok {
		return 0, errors.New("cuda: the event belongs to another device")
	}
	var ms float64
	err := e.d.do(func() (err error) {
		ms, err = o.e.Elapsed(e.e)
		return err
	})
	return time.Duration(ms * float64(time.Millisecond)), err
}

func (e *event) Close() error { return e.d.do(func() error { return cu.DestroyEvent(&e.e) }) }
