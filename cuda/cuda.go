// Package cuda is the narrow waist between moec and a GPU: devices, memory,
// modules of PTX text, streams, events, launches and captured graphs.
//
//	           Driver ─Open─▶ Device ─Load(ptx)─▶ Module ─▶ Kernel
//	                            │ Alloc, NewStream             │
//	Emulator (always there)     └──────▶ Stream ◀──Launch──────┘
//	cuda/nvidia (build tag cuda)          CopyIn CopyOut Record Capture
//
// Emulator executes the very PTX text that a GPU would, in Go, with checks;
// package cuda/nvidia does it on a GPU through gorgonia.org/cu. What runs on
// top cannot tell them apart.
package cuda

import (
	"errors"
	"fmt"
	"time"
)

// ErrNoDevice is wrapped by errors that mean "there is no GPU to use here":
// no driver, a driver too old, no device, or a binary built without support.
var ErrNoDevice = errors.New("no usable CUDA device")

// Ptr is an address in device memory.
type Ptr uint64

// Info describes a device.
type Info struct {
	Name         string
	Major, Minor int   // compute capability
	Memory       int64 // bytes
	SMs          int
	MaxShared    int // bytes of shared memory a block can be given
	Driver       string
}

// Driver gives access to the devices of one kind.
type Driver interface {
	// Devices lists the devices. An error wraps ErrNoDevice when there is
	// nothing to use, and says why and what would help.
	Devices() ([]Info, error)
	// Open makes the i-th device ready for use.
	Open(i int) (Device, error)
}

// Device is an open device. Its methods may be called from any goroutine.
type Device interface {
	Info() Info
	// Alloc reserves n bytes, aligned to 256 bytes at least, with undefined
	// content.
	Alloc(n int64) (Ptr, error)
	Free(p Ptr) error
	// AllocHost reserves host memory that copies reach fastest.
	AllocHost(n int) (HostBuffer, error)
	// Load compiles PTX text for the device.
	Load(ptx string) (Module, error)
	NewStream() (Stream, error)
	NewEvent() (Event, error)
	// Close releases the device; what was allocated on it is gone.
	Close() error
}

// HostBuffer is host memory from AllocHost.
type HostBuffer interface {
	Bytes() []byte
	Free() error
}

// Module is loaded PTX.
type Module interface {
	// Kernel finds an entry point by name.
	Kernel(name string) (Kernel, error)
	Unload() error
}

// Kernel is an entry point of a module.
type Kernel interface{ Name() string }

// Launch is one kernel launch.
type Launch struct {
	Kernel      Kernel
	Grid, Block [3]int // zero components count as 1
	SharedBytes int    // dynamic; above 48 KB the kernel is allowed them first
	// Args are the parameters in order: Ptr, or integers and floats of the
	// parameter's own size.
	Args []any

	Node  string // the node of the model that this launch computes, for errors
	Index int    // position in the program, for errors
}

// Stream runs its operations one after another; those of different streams
// may overlap. Operations may return before they have run, errors included:
// Synchronize reports what failed since. Host memory given to CopyIn and
// CopyOut must stay untouched until then.
type Stream interface {
	CopyIn(dst Ptr, src []byte) error
	CopyOut(dst []byte, src Ptr) error
	Copy(dst, src Ptr, n int64) error
	// Fill writes n bytes of value.
	Fill(dst Ptr, value byte, n int64) error
	Launch(l Launch) error
	// Record makes the event happen when everything queued so far has.
	Record(e Event) error
	// Wait keeps later operations back until the event has happened.
	Wait(e Event) error
	Synchronize() error
	// Capture records what the function queues on this stream instead of running it. Memory, modules and waiting
	// are not for the function; kernels must have run before, so that the driver need not load them.
	Capture(func() error) (Graph, error)
	Close() error
}

// Graph is a captured sequence that can be run again at little cost.
type Graph interface {
	Launch(s Stream) error
	Close() error
}

// Event is a point in a stream's time.
type Event interface {
	Synchronize() error
	// Since is the time on the device from an earlier event to this one.
	Since(earlier Event) (time.Duration, error)
	Close() error
}

// LaunchError is a failure of one launch.
type LaunchError struct {
	Kernel string
	Node   string
	Index  int
	Err    error
}

func (e *LaunchError) Error() string {
	node := ""
	if e.Node != "" {
		node = fmt.Sprintf(" (node %s)", e.Node)
	}
	return fmt.Sprintf("launch %d, kernel %s%s: %v", e.Index, e.Kernel, node, e.Err)
}

func (e *LaunchError) Unwrap() error { return e.Err }

// Fail wraps an error of this launch.
func (l Launch) Fail(err error) error {
	if err == nil {
		return nil
	}
	return &LaunchError{Kernel: l.Kernel.Name(), Node: l.Node, Index: l.Index, Err: err}
}
