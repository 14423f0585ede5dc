package isa

import (
	"runtime"
	"slices"
	"testing"
)

// A level keeps what its name says and nothing above it, and those of other
// architectures are refused.
func TestLevelsOfArchitecture(t *testing.T) {
	all := Features{AVX2: true, AVX512: true, BF16: true, VNNI: true, AMX: true, NEON: true, Dot: true}
	want := map[string]map[string]Features{
		"amd64": {"avx2": {AVX2: true}, "avx512vnni": {AVX2: true, AVX512: true, VNNI: true}},
		"arm64": {"neon": {NEON: true}, "neondot": {NEON: true, Dot: true}},
	}
	for arch, levels := range want {
		for name, features := range levels {
			f, err := all.Cap(name)
			if here := arch == runtime.GOARCH; here != (err == nil) || here != slices.Contains(Levels(), name) {
				t.Errorf("%s on %s: %v", name, runtime.GOARCH, err)
			} else if here && f != features {
				t.Errorf("%s = %+v", name, f)
			}
		}
	}
}
