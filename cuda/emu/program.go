package emu

import "github.com/seed-c851cfd2/moec/cuda/emu/syntax"

// exec runs one decoded instruction for the lanes in the mask.
type exec func(w *warp, lanes uint32)

// flow says how an instruction moves the program counter.
type flow uint8

const (
	flowNext    flow = iota
	flowBranch       // bra: to target
	flowTable        // brx.idx: to targets[index]
	flowExit         // exit and the kernel's own ret
	flowSync         // waits until every lane in its membermask arrives
	flowBarrier      // waits for other warps
	flowCall         // to an outlined function
	flowReturn       // from one
)

// instr is a decoded instruction: what it does, and what the checks and
// counters need to know about it.
type instr struct {
	run      exec
	guard    int32 // predicate index, or -1
	guardID  int32
	guardNot bool
	flow     flow
	target   int32
	targets  []int32
	index    slot // of flowTable
	members  slot // membermask of flowSync
	hasMask  bool // members is set; otherwise all live lanes
	bar      *barrierOp
	call     *callOp
	op       Class
	srcs     []int32 // registers whose definedness flows to dsts
	dsts     []int32
	must     []int32                     // registers that must be defined: addresses, masks
	undef    func(w *warp, lanes uint32) // definedness rule of its own
	stores   []slot                      // of a store: what it stores
	strong   bool                        // an atomic or a strong load
	place    int32                       // index in the code
	flops    int64                       // floating-point operations per lane
	work     int64                       // of mma, per lane at the rate of bf16
	src      *syntax.Instr
	fn       string // function it was written in
}

// Param is one parameter of a kernel.
type Param struct {
	Name   string
	Offset int // in the parameter block
	Size   int // bytes
	Type   string
}

// constant is a register that holds the same value in every lane: an
// immediate, or the address of a symbol that the device decides.
type constant struct {
	slot  slot
	value uint64
	sym   *syntax.Var // module variable whose address is added
}

// special is a special register that some instruction reads.
type special struct {
	slot slot
	name string
}

// sharedVar is a variable's place in a block's shared memory.
type sharedVar struct {
	off, size int
	dynamic   bool
}

// program is a kernel decoded for execution. Device functions are expanded
// where they are called.
type program struct {
	name         string
	fn           *syntax.Func
	code         []instr
	n32, n64, np int // registers of each file
	nreg         int // in all
	consts       []constant
	specials     []special
	params       []Param
	paramBytes   int
	shared       []sharedVar
	staticShared int              // bytes the kernel declares, as the hardware counts them
	sharedSpan   int              // bytes including the gaps between variables; dynamic memory follows
	localBytes   int              // per thread
	granule      int              // narrowest access to global or shared memory, in bytes
	names        map[int32]string // of registers, for messages
	outlines     []*outline
	module       *syntax.Module
}
