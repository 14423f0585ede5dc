//go:build cuda

package nvidia

// What gorgonia.org/cu lacks: shared memory above 48 KB, pinned memory, stream
// capture. The prototypes are written out, in plain C types: cuda.h is not
// needed here and would clash with the emulator's exports.

/*
#include <stddef.h>
int cuFuncSetAttribute(void *f, int attr, int value);
int cuMemHostAlloc(void **p, size_t n, unsigned flags);
int cuMemFreeHost(void *p);
int cuStreamBeginCapture_v2(void *stream, int mode);
int cuStreamEndCapture(void *stream, void **graph);
int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags);
int cuGraphLaunch(void *exec, void *stream);
int cuGraphExecDestroy(void *exec);
int cuGraphDestroy(void *graph);
*/
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// result names a driver error as gorgonia.org/cu does.
func result(what string, code C.int) error {
	if code == 0 {
		return nil
	}
	return fmt.Errorf("%s: CUDA error %d", what, int(code))
}

// attrDynamicShared is CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.
const attrDynamicShared = 8

// rawFunction and rawStream are the driver's handles inside cu's types.
func rawFunction(f cu.Function) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&f)) }
func rawStream(s cu.Stream) unsafe.Pointer     { return unsafe.Pointer(s.C()) }

func allowShared(f cu.Function, bytes int) error {
	return result("allowing shared memory", C.cuFuncSetAttribute(rawFunction(f), attrDynamicShared, C.int(bytes)))
}

func pinned(n int) (unsafe.Pointer, error) {
	var p unsafe.Pointer
	err := result("allocating pinned memory", C.cuMemHostAlloc(&p, C.size_t(n), 0))
	return p, err
}

func freePinned(p unsafe.Pointer) error {
	return result("freeing pinned memory", C.cuMemFreeHost(p))
}

// captureThreadLocal lets other threads go on using the device meanwhile.
const captureThreadLocal = 1

func beginCapture(s cu.Stream) error {
	return result("starting a capture", C.cuStreamBeginCapture_v2(rawStream(s), captureThreadLocal))
}

// endCapture ends a capture and makes the sequence ready to run.
func endCapture(s cu.Stream) (unsafe.Pointer, error) {
	var graph, exec unsafe.Pointer
	if err := result("ending a capture", C.cuStreamEndCapture(rawStream(s), &graph)); err != nil {
		return nil, err
	}
	err := result("instantiating a graph", C.cuGraphInstantiateWithFlags(&exec, graph, 0))
	if derr := result("dropping a captured graph", C.cuGraphDestroy(graph)); err == nil {
		err = derr
	}
	return exec, err
}

func launchGraph(exec unsafe.Pointer, s cu.Stream) error {
	return result("launching a graph", C.cuGraphLaunch(exec, rawStream(s)))
}

func destroyGraph(exec unsafe.Pointer) error {
	return result("destroying a graph", C.cuGraphExecDestroy(exec))
}
