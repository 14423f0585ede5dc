//go:build cudaemu

package capi

/*
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
*/
import "C"

import "unsafe"

//export cuMemGetInfo_v2
func cuMemGetInfo_v2(free, total *C.size_t) C.int {
	*free = C.size_t(deviceMemory - state.dev.Allocated())
	*total = deviceMemory
	return success
}

//export cuMemAlloc_v2
func cuMemAlloc_v2(p *C.uint64_t, n C.size_t) C.int {
	if n == 0 {
		return errInvalidValue
	}
	state.mu.Lock()
	defer state.mu.Unlock()
	if c := state.ready(false); c != success {
		return c
	}
	if uint64(n)+uint64(state.dev.Allocated()) > deviceMemory {
		return errOutOfMemory
	}
	a, err := state.dev.Alloc(int(n))
	*p = C.uint64_t(a)
	return state.code(err)
}

//export cuMemFree_v2
func cuMemFree_v2(p C.uint64_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	if c := state.ready(false); c != success {
		return c
	}
	return state.code(state.dev.Free(uint64(p)))
}

//export cuMemHostAlloc
func cuMemHostAlloc(p *unsafe.Pointer, n C.size_t, _ C.uint) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	if c := state.ready(false); c != success {
		return c
	}
	if *p = C.calloc(1, n); *p == nil {
		return errOutOfMemory
	}
	return success
}

//export cuMemFreeHost
func cuMemFreeHost(p unsafe.Pointer) C.int {
	C.free(p)
	return success
}

//export cuMemcpyHtoD_v2
func cuMemcpyHtoD_v2(d C.uint64_t, s unsafe.Pointer, n C.size_t) C.int {
	return cuMemcpyHtoDAsync_v2(d, s, n, 0)
}

//export cuMemcpyDtoH_v2
func cuMemcpyDtoH_v2(d unsafe.Pointer, s C.uint64_t, n C.size_t) C.int {
	return cuMemcpyDtoHAsync_v2(d, s, n, 0)
}

//export cuMemcpyDtoD_v2
func cuMemcpyDtoD_v2(d, s C.uint64_t, n C.size_t) C.int { return cuMemcpyDtoDAsync_v2(d, s, n, 0) }

//export cuMemcpyHtoDAsync_v2
func cuMemcpyHtoDAsync_v2(d C.uint64_t, s unsafe.Pointer, n C.size_t, stream C.uintptr_t) C.int {
	return enqueue(stream, func() C.int { return state.code(state.dev.CopyIn(uint64(d), hostSlice(s, n))) })
}

//export cuMemcpyDtoHAsync_v2
func cuMemcpyDtoHAsync_v2(d unsafe.Pointer, s C.uint64_t, n C.size_t, stream C.uintptr_t) C.int {
	return enqueue(stream, func() C.int { return state.code(state.dev.CopyOut(hostSlice(d, n), uint64(s))) })
}

//export cuMemcpyDtoDAsync_v2
func cuMemcpyDtoDAsync_v2(d, s C.uint64_t, n C.size_t, stream C.uintptr_t) C.int {
	return enqueue(stream, func() C.int { return state.code(state.dev.CopyWithin(uint64(d), uint64(s), int(n))) })
}

func memset(d C.uint64_t, v uint32, size int, n C.size_t, stream C.uintptr_t) C.int {
	pattern := []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}[:size]
	return enqueue(stream, func() C.int { return state.code(state.dev.Memset(uint64(d), pattern, size*int(n))) })
}

//export cuMemsetD8_v2
func cuMemsetD8_v2(d C.uint64_t, v C.uint8_t, n C.size_t) C.int {
	return memset(d, uint32(v), 1, n, 0)
}

//export cuMemsetD16_v2
func cuMemsetD16_v2(d C.uint64_t, v C.uint16_t, n C.size_t) C.int {
	return memset(d, uint32(v), 2, n, 0)
}

//export cuMemsetD32_v2
func cuMemsetD32_v2(d C.uint64_t, v C.uint, n C.size_t) C.int { return memset(d, uint32(v), 4, n, 0) }

//export cuMemsetD8Async
func cuMemsetD8Async(d C.uint64_t, v C.uint8_t, n C.size_t, s C.uintptr_t) C.int {
	return memset(d, uint32(v), 1, n, s)
}

//export cuMemsetD16Async
func cuMemsetD16Async(d C.uint64_t, v C.uint16_t, n C.size_t, s C.uintptr_t) C.int {
	return memset(d, uint32(v), 2, n, s)
}

//export cuMemsetD32Async
func cuMemsetD32Async(d C.uint64_t, v C.uint, n C.size_t, s C.uintptr_t) C.int {
	return memset(d, uint32(v), 4, n, s)
}

// enqueue hands an operation to a stream under the driver's lock.
func enqueue(stream C.uintptr_t, op func() C.int) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	return state.enqueue(uintptr(stream), op)
}
