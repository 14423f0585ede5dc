package cuda

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// Emulator is a driver with one device, cuda/emu: it runs everywhere, checks
// every access, and is slow. Stats, when set, receives what each launch did.
type Emulator struct {
	Options emu.Options
	Stats   func(l Launch, st emu.Stats)
	// Context, when set, stops launches under way once it is done.
	Context context.Context
	// Late keeps a stream's operations back until it is synchronised, the latest that a GPU may run them: host memory
	// that changes before, or is read before, shows, and errors come then. Otherwise each runs when it is queued.
	Late bool
}

// emulatorMemory is what the emulated device claims to have.
const emulatorMemory = 8 << 30

func (e Emulator) info() Info {
	return Info{Name: "moec PTX emulator", Major: 8, Minor: 0, Memory: emulatorMemory, SMs: 108, MaxShared: 163 << 10, Driver: "emulated"}
}

// Devices lists the emulated device.
func (e Emulator) Devices() ([]Info, error) { return []Info{e.info()}, nil }

// Open makes a fresh emulated device with memory of its own.
func (e Emulator) Open(i int) (Device, error) {
	if i != 0 {
		return nil, fmt.Errorf("cuda: the emulator has one device, not number %d: %w", i, ErrNoDevice)
	}
	return &emuDevice{e: e, dev: emu.NewDevice(e.Options)}, nil
}

type emuDevice struct {
	e   Emulator
	dev *emu.Device

	mu      sync.Mutex
	streams []*emuStream // open ones, where they run late
}

// drain runs what all streams have kept back. Like a GPU, freeing memory does so first; what fails is for the stream's
// Synchronize to tell.
func (d *emuDevice) drain() {
	d.mu.Lock()
	streams := slices.Clone(d.streams)
	d.mu.Unlock()
	for _, s := range streams {
		s.mu.Lock()
		s.failed = s.run()
		s.mu.Unlock()
	}
}

func (d *emuDevice) Info() Info { return d.e.info() }

func (d *emuDevice) Alloc(n int64) (Ptr, error) {
	if int64(d.dev.Allocated())+n > emulatorMemory {
		return 0, fmt.Errorf("cuda: out of device memory: %d bytes wanted, %d of %d in use", n, d.dev.Allocated(), int64(emulatorMemory))
	}
	p, err := d.dev.Alloc(int(n))
	return Ptr(p), err
}

func (d *emuDevice) Free(p Ptr) error {
	d.drain()
	return d.dev.Free(uint64(p))
}

func (d *emuDevice) AllocHost(n int) (HostBuffer, error) { return hostBytes(make([]byte, n)), nil }

type hostBytes []byte

func (b hostBytes) Bytes() []byte { return b }
func (b hostBytes) Free() error   { return nil }

func (d *emuDevice) Load(ptx string) (Module, error) {
	m, err := emu.Parse(ptx)
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	return &emuModule{dev: d.dev, mod: m}, nil
}

type emuModule struct {
	dev *emu.Device
	mod *emu.Module
}

func (m *emuModule) Kernel(name string) (Kernel, error) {
	if _, ok := m.mod.Kernel(name); !ok {
		return nil, fmt.Errorf("cuda: the module has no kernel %q (it has %v)", name, m.mod.Kernels())
	}
	return &emuKernel{m, name}, nil
}

func (m *emuModule) Unload() error {
	m.dev.Unload(m.mod)
	return nil
}

type emuKernel struct {
	m    *emuModule
	name string
}

func (k *emuKernel) Name() string { return k.name }

func (d *emuDevice) NewStream() (Stream, error) {
	s := &emuStream{d: d}
	if d.e.Late {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.streams = append(d.streams, s)
	}
	return s, nil
}

func (d *emuDevice) NewEvent() (Event, error) { return &emuEvent{}, nil }

func (d *emuDevice) Close() error { return nil }

// emuStream runs each operation when it is queued, or late, or keeps it for a graph.
type emuStream struct {
	d        *emuDevice
	mu       sync.Mutex
	captured *[]func() error
	queue    []func() error // kept back
	failed   error          // of what ran already, until Synchronize tells
}

func (s *emuStream) do(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.captured != nil:
		*s.captured = append(*s.captured, f)
	case s.d.e.Late:
		s.queue = append(s.queue, f)
	default:
		return f()
	}
	return nil
}

// run runs what was kept back, up to the first failure.
func (s *emuStream) run() error {
	queue, err := s.queue, s.failed
	s.queue = nil
	for _, f := range queue {
		if err != nil {
			return err
		}
		err = f()
	}
	return err
}

func (s *emuStream) CopyIn(dst Ptr, src []byte) error {
	return s.do(func() error { return s.d.dev.CopyIn(uint64(dst), src) })
}

func (s *emuStream) CopyOut(dst []byte, src Ptr) error {
	return s.do(func() error { return s.d.dev.CopyOut(dst, uint64(src)) })
}

func (s *emuStream) Copy(dst, src Ptr, n int64) error {
	return s.do(func() error { return s.d.dev.CopyWithin(uint64(dst), uint64(src), int(n)) })
}

func (s *emuStream) Fill(dst Ptr, value byte, n int64) error {
	return s.do(func() error { return s.d.dev.Memset(uint64(dst), []byte{value}, int(n)) })
}

func (s *emuStream) Launch(l Launch) error {
	k, ok := l.Kernel.(*emuKernel)
	if !ok {
		return l.Fail(fmt.Errorf("the kernel was loaded on another device"))
	}
	args := make([]any, len(l.Args))
	for i, a := range l.Args {
		if p, ok := a.(Ptr); ok {
			a = uint64(p)
		}
		args[i] = a
	}
	launch := emu.Launch{Grid: l.Grid, Block: l.Block, SharedBytes: l.SharedBytes, Args: args}
	if err := k.m.mod.CheckLaunch(k.name, launch); err != nil {
		return l.Fail(err)
	}
	return s.do(func() error {
		ctx := s.d.e.Context
		if ctx == nil {
			ctx = context.Background()
		}
		st, err := s.d.dev.Launch(ctx, k.m.mod, k.name, launch)
		if err != nil {
			return l.Fail(err)
		}
		if s.d.e.Stats != nil {
			s.d.e.Stats(l, st)
		}
		return nil
	})
}

func (s *emuStream) Record(e Event) error {
	ev, ok := e.(*emuEvent)
	if !ok {
		return fmt.Errorf("cuda: the event belongs to another device")
	}
	ev.mu.Lock()
	ev.of = s
	ev.mu.Unlock()
	return s.do(func() error {
		ev.mu.Lock()
		defer ev.mu.Unlock()
		ev.at = time.Now()
		return nil
	})
}

func (s *emuStream) Wait(e Event) error {
	ev, ok := e.(*emuEvent)
	if !ok {
		return fmt.Errorf("cuda: the event belongs to another device")
	}
	return s.do(func() error { return ev.settle(s) })
}

func (s *emuStream) Synchronize() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.captured != nil {
		return fmt.Errorf("cuda: the stream is being captured: there is nothing to wait for")
	}
	err := s.run()
	s.failed = nil
	return err
}

func (s *emuStream) Close() error {
	s.d.mu.Lock()
	s.d.streams = slices.DeleteFunc(s.d.streams, func(o *emuStream) bool { return o == s })
	s.d.mu.Unlock()
	return s.Synchronize()
}

func (s *emuStream) Capture(f func() error) (Graph, error) {
	g := &emuGraph{}
	s.mu.Lock()
	if s.captured != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("cuda: the stream is being captured already")
	}
	s.captured = &g.ops
	s.mu.Unlock()
	err := f()
	s.mu.Lock()
	s.captured = nil
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return g, nil
}

type emuGraph struct{ ops []func() error }

func (g *emuGraph) Launch(s Stream) error {
	es, ok := s.(*emuStream)
	if !ok {
		return fmt.Errorf("cuda: the stream belongs to another device")
	}
	for _, op := range g.ops {
		if err := es.do(op); err != nil {
			return err
		}
	}
	return nil
}

func (g *emuGraph) Close() error { return nil }

type emuEvent struct {
	mu sync.Mutex
	of *emuStream // that it was recorded on
	at time.Time
}

func (e *emuEvent) Synchronize() error { return e.settle(nil) }

// settle makes the event happen, unless the stream that waits is the one that makes it.
func (e *emuEvent) settle(by *emuStream) error {
	e.mu.Lock()
	of := e.of
	e.mu.Unlock()
	if of == nil || of == by || !of.d.e.Late {
		return nil
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	of.failed = of.run()
	return of.failed
}

func (e *emuEvent) Since(earlier Event) (time.Duration, error) {
	o, ok := earlier.(*emuEvent)
	if !ok {
		return 0, fmt.Errorf("cuda: the event belongs to another device")
	}
	if e.at.IsZero() || o.at.IsZero() {
		return 0, fmt.Errorf("cuda: the event was not recorded")
	}
	return e.at.Sub(o.at), nil
}

func (e *emuEvent) Close() error { return nil }
