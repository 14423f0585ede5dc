package cuda

import (
	"context"
	"fmt"
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
}

func (d *emuDevice) Info() Info { return d.e.info() }

func (d *emuDevice) Alloc(n int64) (Ptr, error) {
	if int64(d.dev.Allocated())+n > emulatorMemory {
		return 0, fmt.Errorf("cuda: out of device memory: %d bytes wanted, %d of %d in use", n, d.dev.Allocated(), int64(emulatorMemory))
	}
	p, err := d.dev.Alloc(int(n))
	return Ptr(p), err
}

func (d *emuDevice) Free(p Ptr) error { return d.dev.Free(uint64(p)) }

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

func (d *emuDevice) NewStream() (Stream, error) { return &emuStream{d: d}, nil }

func (d *emuDevice) NewEvent() (Event, error) { return &emuEvent{}, nil }

func (d *emuDevice) Close() error { return nil }

// emuStream runs each operation when it is queued, or keeps it for a graph.
type emuStream struct {
	d        *emuDevice
	mu       sync.Mutex
	captured *[]func() error
}

func (s *emuStream) do(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.captured != nil {
		*s.captured = append(*s.captured, f)
		return nil
	}
	return f()
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
	return s.do(func() error {
		ctx := s.d.e.Context
		if ctx == nil {
			ctx = context.Background()
		}
		st, err := s.d.dev.Launch(ctx, k.m.mod, k.name, emu.Launch{Grid: l.Grid, Block: l.Block, SharedBytes: l.SharedBytes, Args: args})
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
	return s.do(func() error {
		ev.mu.Lock()
		defer ev.mu.Unlock()
		ev.at = time.Now()
		return nil
	})
}

func (s *emuStream) Wait(Event) error   { return nil }
func (s *emuStream) Synchronize() error { return nil }
func (s *emuStream) Close() error       { return nil }

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
	at time.Time
}

func (e *emuEvent) Synchronize() error { return nil }

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
