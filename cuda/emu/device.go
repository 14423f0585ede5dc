package emu

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// Checks selects what a device watches for beyond what always faults: an
// address outside every allocation, a misaligned access, a divergent barrier,
// a deadlock.
type Checks uint8

// The optional checks.
const (
	CheckUninitialised Checks = 1 << iota // undefined registers and memory
	CheckRaces                            // unordered conflicting accesses, in shared and global memory
	CheckHostReads                        // CopyOut of bytes nobody wrote
	NoChecks           Checks = 0
	AllChecks                 = CheckUninitialised | CheckRaces | CheckHostReads
)

// Options configures a device.
type Options struct {
	Seed     uint64 // order in which blocks and warps run
	Checks   Checks
	MaxSteps int64 // warp instructions per launch before it is called a deadlock; 0 means 1<<40
}

// Device is an emulated GPU: memory and the modules loaded on it. Its methods
// may be called from several goroutines; launches run one after another, each
// a synchronisation with the one before.
type Device struct {
	mu      sync.Mutex
	opt     Options
	mem     memory
	modules map[*Module]map[string]*region
	launch  uint32
}

// NewDevice makes a device with no memory allocated.
func NewDevice(opt Options) *Device {
	if opt.MaxSteps == 0 {
		opt.MaxSteps = 1 << 40
	}
	return &Device{opt: opt, modules: map[*Module]map[string]*region{}}
}

// Alloc reserves n bytes of global memory, without values, and returns their
// address, which is a multiple of 512.
func (d *Device) Alloc(n int) (uint64, error) {
	if n <= 0 || int64(n) > 1<<38 {
		return 0, fmt.Errorf("emu: cannot allocate %d bytes", n)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mem.alloc(n, d.opt.Checks&CheckUninitialised != 0, "").base, nil
}

// Free releases an allocation by the address that Alloc returned.
func (d *Device) Free(addr uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.mem.find(addr)
	if r == nil || r.base != addr || r.freed {
		return fmt.Errorf("emu: free of %#x, which is not an allocation", addr)
	}
	d.release(r)
	return nil
}

// release frees a region; its address stays known, to name late uses.
func (d *Device) release(r *region) {
	d.mem.bytes -= len(r.data)
	r.freed = true
	r.data, r.valid, r.race = r.data[:0:0], nil, nil
	d.mem.forget()
}

// Allocated is the number of bytes allocated now.
func (d *Device) Allocated() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mem.bytes
}

func (d *Device) hostRange(addr uint64, n int, what string) (*region, int, error) {
	r := d.mem.find(addr)
	if r == nil || r.freed || addr-r.base+uint64(n) > uint64(len(r.data)) {
		return nil, 0, fmt.Errorf("emu: %s of %d bytes at %#x is outside every allocation%s", what, n, addr, d.nearest(addr))
	}
	return r, int(addr - r.base), nil
}

// nearest describes the allocation just below an address.
func (d *Device) nearest(addr uint64) string {
	r := d.mem.find(addr)
	switch {
	case r == nil:
		return ""
	case r.freed:
		return fmt.Sprintf(" (%d bytes into freed memory at %#x)", addr-r.base, r.base)
	case addr-r.base > 1<<32:
		return ""
	}
	return fmt.Sprintf(" (byte %d of the %d-byte allocation %s at %#x)", addr-r.base, len(r.data), r.name, r.base)
}

// CopyIn writes host bytes to device memory.
func (d *Device) CopyIn(dst uint64, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r, off, err := d.hostRange(dst, len(src), "copy to the device")
	if err != nil {
		return err
	}
	copy(r.data[off:], src)
	r.defineAll(off, len(src), true)
	return nil
}

// CopyOut reads device memory. With CheckHostReads, bytes that nobody wrote,
// or that a kernel stored from an undefined register, are an error.
func (d *Device) CopyOut(dst []byte, src uint64) error {
	if len(dst) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r, off, err := d.hostRange(src, len(dst), "copy from the device")
	if err != nil {
		return err
	}
	if d.opt.Checks&CheckHostReads != 0 {
		if i := r.undefinedAt(off, len(dst)); i >= 0 {
			return d.undefinedRead(r, i)
		}
	}
	copy(dst, r.data[off:])
	return nil
}

func (d *Device) undefinedRead(r *region, i int) error {
	if r.stain != nil {
		f := r.stain.fault
		f.Msg = fmt.Sprintf("the host reads byte %d of the allocation at %#x, which has no value; the first undefined store there was this", i, r.base)
		return &f
	}
	return &Fault{
		Kind: Uninitialised, Lane: -1, Kernel: "(none)",
		Msg: fmt.Sprintf("the host reads byte %d of the %d-byte allocation %s at %#x, which nobody wrote", i, len(r.data), r.name, r.base),
	}
}

// CopyWithin copies device memory to device memory, values and their absence alike.
func (d *Device) CopyWithin(dst, src uint64, n int) error {
	if n == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, so, err := d.hostRange(src, n, "copy from the device")
	if err != nil {
		return err
	}
	t, to, err := d.hostRange(dst, n, "copy to the device")
	if err != nil {
		return err
	}
	copy(t.data[to:to+n], s.data[so:so+n])
	if s.valid != nil && t.valid != nil {
		def := make([]bool, n)
		for i := range def {
			def[i] = s.defined(so+i, 1)
		}
		for i, has := range def {
			t.define(to+i, 1, has)
		}
		if t.stain == nil {
			t.stain = s.stain
		}
	}
	return nil
}

// Memset fills n bytes of device memory with a repeated pattern of 1, 2 or 4 bytes.
func (d *Device) Memset(dst uint64, pattern []byte, n int) error {
	if n == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r, off, err := d.hostRange(dst, n, "memset")
	if err != nil {
		return err
	}
	if len(pattern) == 0 || n%len(pattern) != 0 || dst%uint64(len(pattern)) != 0 {
		return fmt.Errorf("emu: memset of %d bytes at %#x with a pattern of %d bytes", n, dst, len(pattern))
	}
	b := r.data[off : off+n]
	for i := 0; i < n; i += copy(b[i:], pattern) {
	}
	r.defineAll(off, n, true)
	return nil
}

// Symbol is the address and size of a module's .global or .const variable,
// loading the module when it is not yet on the device.
func (d *Device) Symbol(m *Module, name string) (addr uint64, size int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	syms, err := d.load(m)
	if err != nil {
		return 0, 0, err
	}
	r := syms[name]
	if r == nil {
		return 0, 0, fmt.Errorf("emu: the module has no variable %s", name)
	}
	return r.base, len(r.data), nil
}

// Unload frees the module's variables.
func (d *Device) Unload(m *Module) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.modules[m] {
		d.release(r)
	}
	delete(d.modules, m)
}

// load places a module's variables in memory, once, with their initial values.
func (d *Device) load(m *Module) (map[string]*region, error) {
	if s, ok := d.modules[m]; ok {
		return s, nil
	}
	syms := map[string]*region{}
	vars := append([]*syntax.Var(nil), m.ast.Vars...)
	for _, f := range m.ast.Funcs {
		vars = append(vars, f.Vars...)
	}
	for _, v := range vars {
		if v.Space != syntax.Global && v.Space != syntax.Const {
			continue
		}
		if v.Extern {
			if m.symbols[v.Name] == v {
				return nil, fmt.Errorf("emu: ptx line %d: external variable %s has no definition", v.Line, v.Name)
			}
			continue
		}
		r := d.mem.alloc(max(v.Size(), 1), d.opt.Checks&CheckUninitialised != 0, v.Name)
		r.defineAll(0, len(r.data), true) // module variables start as zero
		syms[v.Name] = r
	}
	for _, v := range vars {
		r := syms[v.Name]
		if r == nil || v.Extern {
			continue
		}
		n := v.Type.Size()
		for i, e := range v.Init {
			val := e.Value
			if e.Sym != "" {
				t := syms[e.Sym]
				if a := funcAddress(m.ast, e.Sym); a != 0 {
					t = &region{base: a}
				}
				if t == nil {
					return nil, fmt.Errorf("emu: ptx line %d: initial value of %s names the unknown variable %s", v.Line, v.Name, e.Sym)
				}
				val += t.base
			}
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], val)
			copy(r.data[i*n:(i+1)*n], b[:])
		}
	}
	d.modules[m] = syms
	return syms, nil
}
