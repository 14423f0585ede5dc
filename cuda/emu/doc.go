// Package emu is a CUDA device in Go: it parses PTX text and executes it,
// checking more strictly than hardware does.
//
//	PTX text ──Parse──▶ Module ──────┐
//	                                 ▼
//	Device: global memory ──Launch──▶ blocks, in a seeded random order
//	  Alloc CopyIn CopyOut             └─ warps: 32 lanes in lock-step, one
//	                                      decoded instruction at a time
//	                                 ▼
//	                      *Fault, or Stats ──Bound──▶ least time on a GPU
//
// Parse decodes each instruction once into a closure over register numbers;
// registers are vectors of 32 lanes, predicates bit masks. A warp whose lanes
// disagree runs the group at the lowest program counter first, so that the
// others catch up with it; .sync instructions and barriers wait for all lanes
// that they name. Blocks run one at a time; those that wait for one another
// take turns.
//
// # What is checked
//
// A kernel's mistake comes back from Launch as a *Fault that names kernel,
// block, warp, lane, PTX line and instruction.
//
//   - Bounds and alignment, always: allocations and shared variables lie apart,
//     so that leaving one hits nothing; freed memory is never given out again.
//   - Values: undefined registers and bytes are followed as they move, and are
//     an error where they decide something: as an address, a guard, a
//     membermask, an operand of an atomic, or when the host reads them.
//     (Compilers copy and add undefined registers without harm; moves, shifts
//     and logic are followed bit by bit.)
//   - Races, in shared and global memory, between blocks, warps and lanes, by
//     happens-before: two accesses of which one writes must be ordered by
//     barriers, bar.warp.sync, mbarriers, fences with flags, or release and
//     acquire. Shuffles and votes order no memory. Strong operations (atomics,
//     volatile, relaxed) do not race with one another, but a load that nothing
//     orders behind a strong store may be shown the value before it. Lanes that
//     store equal values to one place do not race, nor do lanes of one warp
//     that store replicas of a float which differ in rounding.
//   - Asynchronous copies claim their destination from issue until the issuing
//     thread has waited, or a thread at their mbarrier; other threads need a
//     barrier after that. The result of wgmma has no value before its wait, and
//     bulk copies out of shared memory must find it unchanged at theirs.
//   - Barriers: every lane of a warp must come, and all warps of the block to
//     the same instruction when it names no thread count.
//   - Deadlock: barriers that cannot open, and blocks that loop without
//     anything changing.
//
// # What is not
//
// The order of additions inside an mma, the error of approximate functions
// (computed exactly and rounded here), timing, and fences between the generic
// and the asynchronous proxy. Textures, sparse mma, 128-bit registers,
// asynchronous stores, dynamic stack allocation and what came after sm_90 are
// refused, by an error that names instruction and line.
//
// A device function is expanded where it is called; one that is recursive or
// called by address has a body and a stack of its own, in which two calls of
// one function cannot reach each other's variables through pointers.
package emu
