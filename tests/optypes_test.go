package tests

import (
	"maps"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/ops"
)

// TestOpTypes runs single operators over the element types their schemas allow, broadcast
// and empty shapes, and odd attributes: 3,863 cases with the outputs of onnx's
// reference evaluator and of onnxruntime. testdata/op-types/generate.py made them and says
// what they leave out.
func TestOpTypes(t *testing.T) {
	if testing.Short() {
		t.Skip("a few thousand cases")
	}
	cases := readCases(t, "testdata/op-types/op-types.tgz")
	if len(cases) < 3500 {
		t.Fatalf("only %d cases", len(cases))
	}
	table := ops.NewTable()
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		if err := cases[name].checkOn(runners[0], table); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
