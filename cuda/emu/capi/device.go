//go:build cudaemu

package capi

/*
#include <stdint.h>
#include <stddef.h>
*/
import "C"

import "unsafe"

//export cuInit
func cuInit(C.uint) C.int { return success }

//export cuDriverGetVersion
func cuDriverGetVersion(v *C.int) C.int {
	*v = 12090
	return success
}

//export cuDeviceGetCount
func cuDeviceGetCount(n *C.int) C.int {
	*n = 1
	return success
}

//export cuDeviceGet
func cuDeviceGet(d *C.int, i C.int) C.int {
	if i != 0 {
		return errInvalidDev
	}
	*d = 0
	return success
}

//export cuDeviceGetName
func cuDeviceGetName(p *C.char, n C.int, _ C.int) C.int {
	if n <= 0 {
		return errInvalidValue
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(p)), int(n))
	b[copy(b[:n-1], "moec PTX emulator")] = 0
	return success
}

//export cuDeviceTotalMem_v2
func cuDeviceTotalMem_v2(p *C.size_t, _ C.int) C.int {
	*p = deviceMemory
	return success
}

// attributes are those of an A100, by the driver's numbers.
var attributes = map[C.int]C.int{
	1: 1024, 2: 1024, 3: 1024, 4: 64, // threads per block, block dimensions
	5: 1<<31 - 1, 6: 65535, 7: 65535, // grid dimensions
	8: 48 << 10, 9: 64 << 10, 10: 32, 12: 65536, // shared, constant, warp, registers
	13: 1410000, 16: 108, 36: 1215000, 37: 5120, 38: 40 << 20, 39: 2048, // clocks, SMs, bus, L2, threads per SM
	75: 8, 76: 0, // compute capability
	81: 164 << 10, 82: 65536, 97: 163 << 10, // shared per SM, registers per SM, shared opt-in
}

//export cuDeviceGetAttribute
func cuDeviceGetAttribute(v *C.int, a C.int, _ C.int) C.int {
	*v = attributes[a]
	return success
}

//export cuCtxCreate_v2
func cuCtxCreate_v2(c *C.uintptr_t, flags C.uint, dev C.int) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	h := state.handle()
	state.setContext(append(state.context(), h))
	*c = C.uintptr_t(h)
	return success
}

//export cuCtxDestroy_v2
func cuCtxDestroy_v2(c C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	if s := state.context(); len(s) > 0 && s[len(s)-1] == uintptr(c) {
		state.setContext(s[:len(s)-1])
	}
	return success
}

//export cuCtxSetCurrent
func cuCtxSetCurrent(c C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	s := state.context()
	if len(s) == 0 {
		s = []uintptr{0}
	}
	s[len(s)-1] = uintptr(c)
	state.setContext(s)
	return success
}

//export cuCtxGetCurrent
func cuCtxGetCurrent(c *C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	*c = 0
	if s := state.context(); len(s) > 0 {
		*c = C.uintptr_t(s[len(s)-1])
	}
	return success
}

//export cuCtxPushCurrent_v2
func cuCtxPushCurrent_v2(c C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	state.setContext(append(state.context(), uintptr(c)))
	return success
}

//export cuCtxPopCurrent_v2
func cuCtxPopCurrent_v2(c *C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	s := state.context()
	if len(s) == 0 {
		return errInvalidCtx
	}
	if c != nil {
		*c = C.uintptr_t(s[len(s)-1])
	}
	state.setContext(s[:len(s)-1])
	return success
}

//export cuCtxGetDevice
func cuCtxGetDevice(d *C.int) C.int {
	*d = 0
	return success
}

//export cuCtxSynchronize
func cuCtxSynchronize() C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	if c := state.ready(false); c != success {
		return c
	}
	return state.sticky
}

// primary is the handle of the device's own context.
const primary = 0x800

//export cuDevicePrimaryCtxRetain
func cuDevicePrimaryCtxRetain(c *C.uintptr_t, _ C.int) C.int {
	*c = primary
	return success
}

//export cuDevicePrimaryCtxRelease_v2
func cuDevicePrimaryCtxRelease_v2(C.int) C.int { return success }
