// Package emu is a CUDA device in Go: it parses PTX text and executes it,
// checking more strictly than hardware does.
//
//	PTX text ──Parse──▶ Module ──────┐
//	                                 ▼
//	Device: global memory ──Launch──▶ blocks, in a seeded random order
//	  Alloc CopyIn CopyOut             └─ warps: 32 lanes in lock-step, one
//	                                      decoded instruction at a time
//
// Parse decodes each instruction once into a closure over register numbers;
// registers are vectors of 32 lanes, predicates bit masks. A warp whose lanes
// disagree runs the group at the lowest program counter first, so that the
// others catch up with it; .sync instructions and barriers wait for all lanes
// that they name.
//
// A kernel's mistake comes back from Launch as a *Fault that names kernel,
// block, warp, lane, PTX line and instruction. Stats counts instructions by
// class, global sectors, bank conflicts and floating-point operations.
package emu
