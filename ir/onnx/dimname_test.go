package onnx

import (
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
)

// Names that exporters compose of others equal what inference composes; anything else is
// a name of its own.
func TestComposedDims(t *testing.T) {
	im := &importer{syms: map[string]string{}, symNames: newNames()}
	past, seq := im.sym("past"), im.sym("seq")
	for _, c := range []struct {
		name string
		want ir.Dim
	}{
		{"past + 1", ir.AddDim(past, ir.Known(1))},
		{"1+past", ir.AddDim(past, ir.Known(1))},
		{"seq + past", ir.AddDim(past, seq)},
		{"2*seq", ir.MulDim(seq, ir.Known(2))},
		{"past*seq", ir.MulDim(past, seq)},
		{"0 + seq", seq},
	} {
		if got := im.sym(c.name); !got.Same(c.want) {
			t.Errorf("%q is %v, want %v", c.name, got, c.want)
		}
	}
	opaque := map[string]bool{}
	for _, name := range []string{"past +", "floor(seq/2)", "past - seq", "past + 3 - 2", "a b + c", "+", "-1", "3", "2*3", "é+1", "past + 1 +"} {
		d := im.sym(name)
		if d.IsKnown() || d.Name == "" || opaque[d.Name] || d.Same(past) || d.Same(seq) {
			t.Errorf("%q is %v: want a name of its own", name, d)
		}
		opaque[d.Name] = true
	}
}
