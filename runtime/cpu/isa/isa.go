// Package isa says which vector instructions kernels may use.
//
// A Features value is made once, where a session starts, and passed down to the
// constructors of kernel sets; nothing here is global, so that a test can run
// every variant that the machine has, side by side.
package isa

import (
	"fmt"
	"os"
	"strings"
)

// Env names the environment variable that caps the features in use.
const Env = "MOEC_CPU"

// Features is the set of instruction groups that kernels select on.
type Features struct {
	AVX2   bool // AVX2 and FMA
	AVX512 bool // AVX-512 F, BW, DQ and VL
	BF16   bool // VDPBF16PS; only with AVX512
	VNNI   bool // VPDPBUSD on 512 bits; only with AVX512
	AMX    bool // tiles of bf16 and int8, and the system's leave to use them; only with BF16 and VNNI

	NEON bool // arm64's vectors of 128 bits
	Dot  bool // SDOT on vectors; only with NEON
}

// level is a value that Env takes. It caps the detected features, and adds none that
// the machine lacks. The levels of each architecture are in order, from portable on.
type level struct {
	name string
	cap  Features
}

// Levels lists the names that [Features.Cap] accepts on this architecture, from least to
// most.
func Levels() []string {
	names := make([]string, len(levels))
	for i, l := range levels {
		names[i] = l.name
	}
	return names
}

// Cap limits f to the level of the given name; an unknown name is an error that
// lists the known ones.
func (f Features) Cap(level string) (Features, error) {
	for _, l := range levels {
		if l.name == level {
			return Features{
				AVX2:   f.AVX2 && l.cap.AVX2,
				AVX512: f.AVX512 && l.cap.AVX512,
				BF16:   f.BF16 && l.cap.BF16,
				VNNI:   f.VNNI && l.cap.VNNI,
				AMX:    f.AMX && l.cap.AMX,
				NEON:   f.NEON && l.cap.NEON,
				Dot:    f.Dot && l.cap.Dot,
			}, nil
		}
	}
	return f, fmt.Errorf("isa: unknown CPU level %q: set %s to one of %s", level, Env, strings.Join(Levels(), ", "))
}

// FromEnv detects the machine's features and caps them by the environment
// variable MOEC_CPU if it is set, else by what the machine runs fast.
func FromEnv() (Features, error) {
	f := Detect()
	if v := os.Getenv(Env); v != "" {
		return f.Cap(v)
	}
	return f.Preferred(), nil
}

// Preferred drops what the machine has but runs slower than the alternative.
// Intel's cores take two cycles for a 512-bit VDPBF16PS (87 GFLOP/s measured on
// Emerald Rapids, where FMA gives 166), so there bf16 weights are widened and
// multiplied in f32; AMD's Zen 4 and 5 run it at twice the FLOPs of FMA. Beside AMX,
// which multiplies instead, it stands for the conversions.
func (f Features) Preferred() Features {
	f.BF16 = f.BF16 && (f.AMX || !isIntel())
	return f
}

// String names the highest level that f reaches.
func (f Features) String() string {
	for i := len(levels) - 1; i > 0; i-- {
		if c, _ := f.Cap(levels[i].name); c == levels[i].cap {
			return levels[i].name
		}
	}
	return levels[0].name
}
