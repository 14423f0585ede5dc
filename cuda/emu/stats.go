package emu

import "math/bits"

// Class groups instructions for the counters.
type Class uint8

// The classes.
const (
	ALU Class = iota
	SFU
	Convert
	Load
	Store
	Atomic
	Async
	Tensor
	Shuffle
	Barrier
	Control
	Other
	classCount
)

var classNames = [classCount]string{"alu", "sfu", "convert", "load", "store", "atomic", "async", "tensor", "shuffle", "barrier", "control", "other"}

func (c Class) String() string { return classNames[c] }

// Stats is what a launch did.
type Stats struct {
	Blocks, Warps    int64
	WarpInstr        int64             // instructions executed, per warp
	ThreadInstr      int64             // per active thread
	ByClass          [classCount]int64 // warp instructions of each Class
	Flops            int64             // floating-point operations outside the tensor cores; fma counts 2
	TensorFlops      int64             // in mma
	TensorWork       int64             // the same at the rate of bf16: tf32 counts double, int8 half, f64 eightfold
	GlobalLoadBytes  int64             // asked for by threads
	GlobalStoreBytes int64
	GlobalSectors    int64 // 32-byte sectors that those accesses touch
	GlobalUnique     int64 // bytes of distinct sectors, which come from DRAM once at best
	SharedAccesses   int64 // warp accesses to shared memory
	SharedWavefronts int64 // passes they take: more than the accesses by the bank conflicts
	SharedBytes      int64
	Barriers         int64
}

// Efficiency is the share of the global sectors' bytes that threads asked for.
func (s Stats) Efficiency() float64 {
	if s.GlobalSectors == 0 {
		return 1
	}
	return float64(s.GlobalLoadBytes+s.GlobalStoreBytes) / float64(32*s.GlobalSectors)
}

// BankConflicts is how many extra passes shared-memory accesses took.
func (s Stats) BankConflicts() int64 { return s.SharedWavefronts - s.SharedAccesses }

// Add accumulates another launch.
func (s *Stats) Add(o Stats) {
	s.Blocks += o.Blocks
	s.Warps += o.Warps
	s.WarpInstr += o.WarpInstr
	s.ThreadInstr += o.ThreadInstr
	for i := range s.ByClass {
		s.ByClass[i] += o.ByClass[i]
	}
	s.Flops += o.Flops
	s.TensorFlops += o.TensorFlops
	s.TensorWork += o.TensorWork
	s.GlobalUnique += o.GlobalUnique
	s.GlobalLoadBytes += o.GlobalLoadBytes
	s.GlobalStoreBytes += o.GlobalStoreBytes
	s.GlobalSectors += o.GlobalSectors
	s.SharedAccesses += o.SharedAccesses
	s.SharedWavefronts += o.SharedWavefronts
	s.SharedBytes += o.SharedBytes
	s.Barriers += o.Barriers
}

// counts is a launch's running tally.
type counts struct {
	warps    []int64 // executions of each instruction
	threads  []int64 // lanes that took part
	progress int64   // changes that others could wait for
	barriers int64
	mem      Stats
}

func (c *counts) init(n int) { c.warps, c.threads = make([]int64, n), make([]int64, n) }

func (c *counts) count(pc int32, lanes uint32) {
	c.warps[pc]++
	c.threads[pc] += int64(bits.OnesCount32(lanes))
}

func (c *counts) stats(l *launch) Stats {
	s := c.mem
	s.Blocks = int64(l.grid[0]) * int64(l.grid[1]) * int64(l.grid[2])
	s.Warps = s.Blocks * int64((l.block[0]*l.block[1]*l.block[2]+31)/32)
	s.Barriers = c.barriers
	for i := range l.p.code {
		in := &l.p.code[i]
		s.WarpInstr += c.warps[i]
		s.ThreadInstr += c.threads[i]
		s.ByClass[in.op] += c.warps[i]
		if in.op == Tensor {
			s.TensorFlops += in.flops * c.threads[i]
			s.TensorWork += in.work * c.threads[i]
		} else {
			s.Flops += in.flops * c.threads[i]
		}
	}
	return s
}
