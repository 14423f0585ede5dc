package isa

import "golang.org/x/sys/cpu"

// Detect reports what this machine and its operating system support.
func Detect() Features {
	f := Features{AVX2: cpu.X86.HasAVX2 && cpu.X86.HasFMA}
	f.AVX512 = f.AVX2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL
	f.BF16 = f.AVX512 && cpu.X86.HasAVX512BF16
	f.VNNI = f.AVX512 && cpu.X86.HasAVX512VNNI
	return f
}
