package isa

import (
	"errors"
	"strings"
	"testing"
)

func TestCapNeverAdds(t *testing.T) {
	for _, name := range Levels() {
		f, err := Features{}.Cap(name)
		if err != nil || f != (Features{}) {
			t.Errorf("Cap(%q) of nothing = %+v, %v", name, f, err)
		}
	}
}

func TestCapLevels(t *testing.T) {
	all := Features{AVX2: true, AVX512: true, BF16: true, VNNI: true, AMX: true, NEON: true, Dot: true}
	for _, name := range Levels() {
		f, err := all.Cap(name)
		if err != nil {
			t.Fatal(err)
		}
		if f.String() != name {
			t.Errorf("Cap(%q).String() = %q", name, f.String())
		}
	}
	if Levels()[0] != "portable" {
		t.Errorf("levels %v do not begin with portable", Levels())
	}
}

func TestUnknownLevelNamesRemedy(t *testing.T) {
	_, err := Detect().Cap("avx9")
	if err == nil || !strings.Contains(err.Error(), "portable") || !strings.Contains(err.Error(), Env) {
		t.Errorf("error = %v", err)
	}
	t.Setenv(Env, "nope")
	if _, err := FromEnv(); err == nil || errors.Unwrap(err) != nil {
		t.Errorf("FromEnv error = %v", err)
	}
	t.Setenv(Env, "portable")
	if f, err := FromEnv(); err != nil || f != (Features{}) {
		t.Errorf("FromEnv portable = %+v, %v", f, err)
	}
}
