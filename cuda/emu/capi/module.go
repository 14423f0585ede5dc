//go:build cudaemu

package capi

/*
#include <stdint.h>
#include <stddef.h>
*/
import "C"

import (
	"fmt"
	"os"
	"unsafe"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// defaultDynamic is the shared memory a launch gets without asking first.
const defaultDynamic = 48 << 10

// loadModule loads PTX; log, where the caller has one, gets what is wrong with it.
func loadModule(m *C.uintptr_t, src string, log []byte) C.int {
	if len(src) >= 4 && src[:4] == "\x7fELF" {
		return errNoBinary // machine code: the emulator runs PTX
	}
	mod, err := emu.Parse(src)
	if err != nil {
		if len(log) == 0 {
			fmt.Fprintln(os.Stderr, "emulated driver:", err)
		} else {
			log[copy(log[:len(log)-1], err.Error())] = 0
		}
		return errInvalidPTX
	}
	state.mu.Lock()
	defer state.mu.Unlock()
	if c := state.ready(false); c != success {
		return c
	}
	h := state.handle()
	state.modules[h] = mod
	*m = C.uintptr_t(h)
	return success
}

//export cuModuleLoadData
func cuModuleLoadData(m *C.uintptr_t, image unsafe.Pointer) C.int {
	return loadModule(m, C.GoString((*C.char)(image)), nil)
}

// Options of loading: where errors are written, and how much room there is.
const (
	jitErrorLog     = 5
	jitErrorLogSize = 6
)

//export cuModuleLoadDataEx
func cuModuleLoadDataEx(m *C.uintptr_t, image unsafe.Pointer, n C.uint, options, values unsafe.Pointer) C.int {
	var log unsafe.Pointer
	var size uintptr
	if n > 0 {
		given := unsafe.Slice((*unsafe.Pointer)(values), int(n))
		for i, o := range unsafe.Slice((*C.int)(options), int(n)) {
			switch o {
			case jitErrorLog:
				log = given[i]
			case jitErrorLogSize:
				size = uintptr(given[i])
			}
		}
	}
	if log == nil {
		size = 0
	}
	return loadModule(m, C.GoString((*C.char)(image)), unsafe.Slice((*byte)(log), int(size)))
}

//export cuModuleLoad
func cuModuleLoad(m *C.uintptr_t, path *C.char) C.int {
	b, err := os.ReadFile(C.GoString(path))
	if err != nil {
		return errFile
	}
	return loadModule(m, string(b), nil)
}

//export cuModuleUnload
func cuModuleUnload(m C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	mod := state.modules[uintptr(m)]
	if mod == nil {
		return errHandle
	}
	state.dev.Unload(mod)
	delete(state.modules, uintptr(m))
	return success
}

//export cuModuleGetFunction
func cuModuleGetFunction(f *C.uintptr_t, m C.uintptr_t, name *C.char) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	mod := state.modules[uintptr(m)]
	if mod == nil {
		return errHandle
	}
	n := C.GoString(name)
	info, ok := mod.Kernel(n)
	if !ok {
		return errNotFound
	}
	h := state.handle()
	state.funcs[h] = &function{mod: mod, name: n, info: info, maxDynamic: defaultDynamic - info.StaticShared}
	*f = C.uintptr_t(h)
	return success
}

//export cuModuleGetGlobal_v2
func cuModuleGetGlobal_v2(p *C.uint64_t, n *C.size_t, m C.uintptr_t, name *C.char) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	mod := state.modules[uintptr(m)]
	if mod == nil {
		return errHandle
	}
	addr, size, err := state.dev.Symbol(mod, C.GoString(name))
	if err != nil {
		return errNotFound
	}
	if p != nil {
		*p = C.uint64_t(addr)
	}
	if n != nil {
		*n = C.size_t(size)
	}
	return success
}

// Function attributes of the driver interface.
const (
	attrMaxThreads    = 0
	attrStaticShared  = 1
	attrLocalBytes    = 3
	attrDynamicShared = 8
)

//export cuFuncSetAttribute
func cuFuncSetAttribute(f C.uintptr_t, attr, v C.int) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	fn := state.funcs[uintptr(f)]
	if fn == nil {
		return errHandle
	}
	if attr == attrDynamicShared {
		if int(v)+fn.info.StaticShared > int(attributes[97]) {
			return errInvalidValue
		}
		fn.maxDynamic = int(v)
	}
	return success
}

//export cuFuncGetAttribute
func cuFuncGetAttribute(v *C.int, attr C.int, f C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	fn := state.funcs[uintptr(f)]
	if fn == nil {
		return errHandle
	}
	switch attr {
	case attrMaxThreads:
		*v = 1024
		if m := fn.info.MaxNTid; m[0] > 0 {
			*v = C.int(m[0] * m[1] * m[2])
		}
	case attrStaticShared:
		*v = C.int(fn.info.StaticShared)
	case attrLocalBytes:
		*v = C.int(fn.info.LocalBytes)
	case attrDynamicShared:
		*v = C.int(fn.maxDynamic)
	default:
		*v = 0
	}
	return success
}

//export cuLaunchKernel
func cuLaunchKernel(f C.uintptr_t, gx, gy, gz, bx, by, bz, dyn C.uint, stream C.uintptr_t, params, extra *unsafe.Pointer) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	fn := state.funcs[uintptr(f)]
	if fn == nil {
		return errHandle
	}
	if gx == 0 || gy == 0 || gz == 0 || bx == 0 || by == 0 || bz == 0 || uint64(bx)*uint64(by)*uint64(bz) > 1024 ||
		int(dyn) > fn.maxDynamic || extra != nil {
		return errInvalidValue
	}
	block := copyParams(fn, params) // the caller's memory is its own again when this returns
	grid := [3]int{int(gx), int(gy), int(gz)}
	threads := [3]int{int(bx), int(by), int(bz)}
	return state.enqueue(uintptr(stream), func() C.int { return state.launch(fn, grid, threads, int(dyn), block) })
}
