package isa

import "golang.org/x/sys/cpu"

var levels = []level{
	{"portable", Features{}},
	{"avx2", Features{AVX2: true}},
	{"avx512", Features{AVX2: true, AVX512: true}},
	{"avx512vnni", Features{AVX2: true, AVX512: true, VNNI: true}},
	{"avx512bf16", Features{AVX2: true, AVX512: true, VNNI: true, BF16: true}},
	{"amx", Features{AVX2: true, AVX512: true, VNNI: true, BF16: true, AMX: true}},
}

// Detect reports what this machine and its operating system support.
func Detect() Features {
	f := Features{AVX2: cpu.X86.HasAVX2 && cpu.X86.HasFMA}
	f.AVX512 = f.AVX2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL
	f.BF16 = f.AVX512 && cpu.X86.HasAVX512BF16
	f.VNNI = f.AVX512 && cpu.X86.HasAVX512VNNI
	f.AMX = f.BF16 && f.VNNI && (TilesEmulated || cpu.X86.HasAMXTile && cpu.X86.HasAMXBF16 && cpu.X86.HasAMXInt8 && tilesAllowed())
	return f
}

// vendor returns EBX, EDX and ECX of CPUID leaf 0.
func vendor() (b, d, c uint32)

// isIntel reports whether the vendor string is GenuineIntel.
func isIntel() bool {
	b, d, c := vendor()
	return b == 0x756e6547 && d == 0x49656e69 && c == 0x6c65746e // "Genu" "ineI" "ntel"
}
