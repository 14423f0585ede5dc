//go:build cudaemu

package capi

/*
#include <stdint.h>
#include <stddef.h>
#include <pthread.h>
static inline uintptr_t moec_thread(void) { return (uintptr_t)pthread_self(); }
*/
import "C"

import (
	"time"
	"unsafe"
)

//export cuStreamCreate
func cuStreamCreate(s *C.uintptr_t, _ C.uint) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	if c := state.ready(true); c != success {
		return c
	}
	*s = C.uintptr_t(state.handle())
	return success
}

//export cuStreamCreateWithPriority
func cuStreamCreateWithPriority(s *C.uintptr_t, flags C.uint, _ C.int) C.int {
	return cuStreamCreate(s, flags)
}

//export cuStreamDestroy_v2
func cuStreamDestroy_v2(C.uintptr_t) C.int { return success }

//export cuStreamQuery
func cuStreamQuery(s C.uintptr_t) C.int { return cuStreamSynchronize(s) }

//export cuStreamSynchronize
func cuStreamSynchronize(s C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	if state.streams[uintptr(s)] != nil {
		return errCapture
	}
	return state.sticky
}

//export cuStreamWaitEvent
func cuStreamWaitEvent(C.uintptr_t, C.uintptr_t, C.uint) C.int { return success }

//export cuStreamBeginCapture_v2
func cuStreamBeginCapture_v2(s C.uintptr_t, _ C.int) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	if s == 0 || state.streams[uintptr(s)] != nil {
		return errCapture
	}
	if c := state.ready(true); c != success {
		return c
	}
	state.streams[uintptr(s)] = &graph{thread: uintptr(C.moec_thread())}
	return success
}

//export cuStreamEndCapture
func cuStreamEndCapture(s C.uintptr_t, g *C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	captured := state.streams[uintptr(s)]
	if captured == nil {
		return errCapture
	}
	if captured.thread != uintptr(C.moec_thread()) {
		return errWrongThread
	}
	delete(state.streams, uintptr(s))
	h := state.handle()
	state.graphs[h] = captured
	*g = C.uintptr_t(h)
	return success
}

//export cuGraphInstantiateWithFlags
func cuGraphInstantiateWithFlags(e *C.uintptr_t, g C.uintptr_t, _ C.ulonglong) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	src := state.graphs[uintptr(g)]
	if src == nil {
		return errHandle
	}
	h := state.handle()
	state.graphs[h] = &graph{ops: append([]func() C.int(nil), src.ops...)}
	*e = C.uintptr_t(h)
	return success
}

//export cuGraphLaunch
func cuGraphLaunch(e, s C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	g := state.graphs[uintptr(e)]
	if g == nil {
		return errHandle
	}
	for _, op := range g.ops {
		if c := state.enqueue(uintptr(s), op); c != success {
			return c
		}
	}
	return success
}

func dropGraph(g C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	delete(state.graphs, uintptr(g))
	return success
}

//export cuGraphExecDestroy
func cuGraphExecDestroy(e C.uintptr_t) C.int { return dropGraph(e) }

//export cuGraphDestroy
func cuGraphDestroy(g C.uintptr_t) C.int { return dropGraph(g) }

//export cuEventCreate
func cuEventCreate(e *C.uintptr_t, flags C.uint) C.int { return cuStreamCreate(e, flags) }

//export cuEventDestroy_v2
func cuEventDestroy_v2(e C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	delete(state.events, uintptr(e))
	return success
}

//export cuEventRecord
func cuEventRecord(e, s C.uintptr_t) C.int {
	return enqueue(s, func() C.int {
		state.events[uintptr(e)] = time.Now()
		return success
	})
}

//export cuEventQuery
func cuEventQuery(C.uintptr_t) C.int { return success }

//export cuEventSynchronize
func cuEventSynchronize(C.uintptr_t) C.int { return cuCtxSynchronize() }

//export cuEventElapsedTime
func cuEventElapsedTime(ms *C.float, a, b C.uintptr_t) C.int {
	state.mu.Lock()
	defer state.mu.Unlock()
	from, ok := state.events[uintptr(a)]
	to, ok2 := state.events[uintptr(b)]
	if !ok || !ok2 {
		return errHandle
	}
	*ms = C.float(to.Sub(from).Seconds() * 1000)
	return success
}

var errorNames = map[C.int]string{
	success: "CUDA_SUCCESS\x00", errInvalidValue: "CUDA_ERROR_INVALID_VALUE\x00", errOutOfMemory: "CUDA_ERROR_OUT_OF_MEMORY\x00",
	errInvalidPTX: "CUDA_ERROR_INVALID_PTX\x00", errNotFound: "CUDA_ERROR_NOT_FOUND\x00", errHandle: "CUDA_ERROR_INVALID_HANDLE\x00",
	errAddress: "CUDA_ERROR_ILLEGAL_ADDRESS\x00", errMisaligned: "CUDA_ERROR_MISALIGNED_ADDRESS\x00", errLaunch: "CUDA_ERROR_LAUNCH_FAILED\x00",
}

//export cuGetErrorName
func cuGetErrorName(code C.int, out **C.char) C.int {
	n, ok := errorNames[code]
	if !ok {
		return errInvalidValue
	}
	*out = (*C.char)(unsafe.Pointer(unsafe.StringData(n)))
	return success
}
