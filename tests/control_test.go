package tests

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// loopGraph counts: the body adds a captured step to a carried sum and gives the sum as a
// scan output. Inputs: trip count, step [2].
func loopGraph() *ir.Graph {
	table := ops.NewTable()
	vec := ir.MakeType(tensor.F32, ir.Known(2))
	g := ir.NewGraph("main", table)
	trips, step := g.AddInput("trips", ir.MakeType(tensor.I64)), g.AddInput("step", vec)
	start := g.NewConst("start", tensor.Of([]float32{0, 0}, 2))

	body := ir.NewGraph("body", table)
	body.AddInput("i", ir.MakeType(tensor.I64))
	cond := body.AddInput("cond", ir.MakeType(tensor.Bool))
	sum, by := body.AddInput("sum", vec), body.AddInput("by", vec)
	add := body.Add(body.Op("Add"), nil, []*ir.Value{sum, by}, "next")
	body.Outputs = []*ir.Value{cond, add.Outputs[0], add.Outputs[0]}

	loop := g.Add(g.Op("Loop"), nil, []*ir.Value{trips, nil, start, step}, "total", "all")
	loop.Subgraphs, loop.Captures = []*ir.Graph{body}, 1
	g.Outputs = loop.Outputs
	return g
}

// TestLoopOfAnyLength runs a loop three times and not at all: then its scan output is
// empty, of the shape that inference knows.
func TestLoopOfAnyLength(t *testing.T) {
	for _, r := range runners {
		for _, n := range []int{3, 0} {
			t.Run(fmt.Sprintf("%s/%d", r.name, n), func(t *testing.T) {
				g := loopGraph()
				if err := ir.Infer(g); err != nil {
					t.Fatal(err)
				}
				if err := ir.Verify(g); err != nil {
					t.Fatal(err)
				}
				outs, err := r.run(context.Background(), g, []*tensor.Tensor{tensor.Scalar(int64(n)), tensor.Of([]float32{1, 10}, 2)})
				if err != nil {
					t.Fatal(err)
				}
				total := tensor.Of([]float32{float32(n), float32(10 * n)}, 2)
				if !tensor.Equal(outs[0], total) {
					t.Errorf("total is %v", tensor.Data[float32](outs[0]))
				}
				if want := []int{n, 2}; !slices.Equal(outs[1].Shape(), want) {
					t.Fatalf("all is %s, want %v", outs[1], want)
				}
				if all := tensor.Data[float32](outs[1]); n == 3 && !slices.Equal(all, []float32{1, 10, 2, 20, 3, 30}) {
					t.Errorf("all is %v", all)
				}
			})
		}
	}
}

// TestScanBackwards scans a matrix by columns from the last to the first and stacks the
// running sums along axis 1, last first.
func TestScanBackwards(t *testing.T) {
	table := ops.NewTable()
	vec := ir.MakeType(tensor.F32, ir.Known(2))
	g := ir.NewGraph("main", table)
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Known(2), ir.Sym("n")))
	zero := g.NewConst("zero", tensor.Of([]float32{0, 0}, 2))
	body := ir.NewGraph("body", table)
	sum, col := body.AddInput("sum", vec), body.AddInput("col", vec)
	add := body.Add(body.Op("Add"), nil, []*ir.Value{sum, col}, "next")
	body.Outputs = []*ir.Value{add.Outputs[0], add.Outputs[0]}
	attrs := &ops.ScanAttrs{NumScanInputs: 1, ScanInputAxes: []int64{1}, ScanInputDirections: []int64{1}, ScanOutputAxes: []int64{-1}, ScanOutputDirections: []int64{1}}
	scan := g.Add(g.Op("Scan"), attrs, []*ir.Value{zero, x}, "total", "sums")
	scan.Subgraphs = []*ir.Graph{body}
	g.Outputs = scan.Outputs
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	if got := g.Outputs[1].Type.String(); got != "f32[2,n]" {
		t.Errorf("sums inferred as %s", got)
	}
	for _, r := range runners {
		outs, err := r.run(context.Background(), g, []*tensor.Tensor{tensor.Of([]float32{1, 2, 3, 10, 20, 30}, 2, 3)})
		if err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		if got := tensor.Data[float32](outs[1]); !slices.Equal(got, []float32{6, 5, 3, 60, 50, 30}) {
			t.Errorf("%s: sums %v", r.name, got)
		}
	}
}
