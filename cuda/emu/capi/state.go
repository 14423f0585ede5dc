//go:build cudaemu

package capi

// No cuda.h here: plain C types, so that the exported prototypes cannot clash
// with NVIDIA's header.

/*
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include <pthread.h>
static inline uintptr_t moec_thread(void) { return (uintptr_t)pthread_self(); }
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// Result codes of the driver interface.
const (
	success         = 0
	errInvalidValue = 1
	errOutOfMemory  = 2
	errInvalidDev   = 101
	errInvalidCtx   = 201
	errNoBinary     = 209
	errInvalidPTX   = 218
	errFile         = 301
	errHandle       = 400
	errNotFound     = 500
	errAddress      = 700
	errMisaligned   = 716
	errLaunch       = 719
	errCapture      = 900
	errWrongThread  = 908
)

const deviceMemory = 8 << 30

// function is a kernel of a loaded module.
type function struct {
	mod        *emu.Module
	name       string
	info       emu.KernelInfo
	maxDynamic int
}

// graph is a captured or instantiated sequence of operations.
type graph struct {
	ops    []func() C.int
	thread uintptr // that captures it
}

// driver is the state behind the C functions: one device, handles to what was
// made on it, and the first fault, which stays until the process ends, as on
// hardware.
type driver struct {
	mu      sync.Mutex
	dev     *emu.Device
	next    uintptr
	modules map[uintptr]*emu.Module
	funcs   map[uintptr]*function
	events  map[uintptr]time.Time
	streams map[uintptr]*graph // nil unless the stream is being captured
	graphs  map[uintptr]*graph
	sticky  C.int
	threads map[uintptr][]uintptr // per thread, the stack of contexts, the current one last
}

// context is the stack of contexts of the calling thread.
func (d *driver) context() []uintptr { return d.threads[uintptr(C.moec_thread())] }

func (d *driver) setContext(stack []uintptr) { d.threads[uintptr(C.moec_thread())] = stack }

// ready says what stands against a call that needs a context, and, where it is one that a capture forbids, that the
// calling thread has none under way.
func (d *driver) ready(safe bool) C.int {
	stack := d.context()
	if len(stack) == 0 || stack[len(stack)-1] == 0 {
		return errInvalidCtx
	}
	if !safe {
		for _, g := range d.streams {
			if g != nil && g.thread == uintptr(C.moec_thread()) {
				return errCapture
			}
		}
	}
	return success
}

var state = newDriver()

func newDriver() *driver {
	opt := emu.Options{Checks: emu.AllChecks}
	if os.Getenv("MOEC_EMU_CHECKS") == "0" {
		opt.Checks = emu.NoChecks
	}
	if s, err := strconv.ParseUint(os.Getenv("MOEC_EMU_SEED"), 10, 64); err == nil {
		opt.Seed = s
	}
	return &driver{
		dev: emu.NewDevice(opt), next: 0x1000,
		modules: map[uintptr]*emu.Module{}, funcs: map[uintptr]*function{}, events: map[uintptr]time.Time{},
		streams: map[uintptr]*graph{}, graphs: map[uintptr]*graph{}, threads: map[uintptr][]uintptr{},
	}
}

func (d *driver) handle() uintptr {
	d.next += 16
	return d.next
}

// fail reports an error that the driver interface reduces to a number.
func (d *driver) fail(err error) C.int {
	fmt.Fprintln(os.Stderr, "emulated driver:", err)
	code := C.int(errLaunch)
	var f *emu.Fault
	if errors.As(err, &f) {
		switch f.Kind {
		case emu.OutOfBounds:
			code = errAddress
		case emu.Misaligned:
			code = errMisaligned
		}
	}
	if d.sticky == success {
		d.sticky = code
	}
	return code
}

// enqueue runs an operation, or keeps it when the stream is being captured.
func (d *driver) enqueue(stream uintptr, op func() C.int) C.int {
	if c := d.ready(true); c != success {
		return c
	}
	if g := d.streams[stream]; g != nil {
		g.ops = append(g.ops, op)
		return success
	}
	if d.sticky != success {
		return d.sticky
	}
	return op()
}

func (d *driver) launch(f *function, grid, block [3]int, dyn int, params []byte) C.int {
	_, err := d.dev.Launch(context.Background(), f.mod, f.name, emu.Launch{Grid: grid, Block: block, SharedBytes: dyn, Params: params})
	if err == nil {
		return success
	}
	var fault *emu.Fault
	if !errors.As(err, &fault) {
		fmt.Fprintln(os.Stderr, "emulated driver:", err)
		return errInvalidValue
	}
	d.fail(err)
	return success // like hardware: reported at the next synchronisation
}

// copyParams gathers a launch's parameters from the caller's array of pointers.
func copyParams(f *function, params *unsafe.Pointer) []byte {
	out := make([]byte, f.info.ParamBytes)
	if len(f.info.Params) == 0 {
		return out
	}
	ptrs := unsafe.Slice(params, len(f.info.Params))
	for i, p := range f.info.Params {
		copy(out[p.Offset:p.Offset+p.Size], unsafe.Slice((*byte)(ptrs[i]), p.Size))
	}
	return out
}

func hostSlice(p unsafe.Pointer, n C.size_t) []byte { return unsafe.Slice((*byte)(p), int(n)) }

// code turns an error of a memory operation into a result.
func (d *driver) code(err error) C.int {
	if err == nil {
		return success
	}
	var f *emu.Fault
	if errors.As(err, &f) {
		return d.fail(err)
	}
	fmt.Fprintln(os.Stderr, "emulated driver:", err)
	return errInvalidValue
}
