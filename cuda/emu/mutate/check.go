package mutate

import (
	"errors"
	"sort"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// Check runs every mutant of a kernel and fails the test for each whose damage
// goes unnoticed, unless harmless names it with the reason why it changes
// nothing. A name in harmless that is noticed after all, or that no mutant
// has, fails as well. A mutant in code that the launch does not execute says
// nothing and is only counted. run launches the text and compares the outputs; its
// error, of whatever kind, means that the damage showed.
func Check(t *testing.T, src string, harmless map[string]string, run func(src string) error, kinds ...Kind) {
	t.Helper()
	if err := run(src); err != nil {
		t.Fatalf("the undamaged kernel fails: %v", err)
	}
	mutants, err := Of(src, kinds...)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	byFault := map[string]int{}
	for _, m := range mutants {
		seen[m.Name] = true
		err := run(m.Source)
		reason, listed := harmless[m.Name]
		switch {
		case err == nil && !listed && run(m.trap) == nil:
			byFault[string(m.Kind)+": not executed"]++
			continue
		case err == nil && !listed:
			t.Errorf("nobody noticed %s", m)
		case err != nil && listed:
			t.Errorf("%s is listed as harmless (%s) but is noticed: %v", m, reason, err)
		case listed && strings.TrimSpace(reason) == "":
			t.Errorf("%s is listed as harmless without a reason", m)
		}
		var f *emu.Fault
		switch {
		case errors.As(err, &f):
			byFault[string(m.Kind)+": "+string(f.Kind)]++
			if f.Line == 0 {
				t.Errorf("%s: the fault names no line: %v", m, err)
			}
		case err != nil:
			byFault[string(m.Kind)+": wrong output"]++
		default:
			byFault[string(m.Kind)+": harmless"]++
		}
	}
	for name := range harmless {
		if !seen[name] {
			t.Errorf("%s is listed as harmless, but there is no such mutant", name)
		}
	}
	keys := make([]string, 0, len(byFault))
	for k := range byFault {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		t.Logf("%4d %s", byFault[k], k)
	}
}
