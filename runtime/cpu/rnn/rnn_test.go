package rnn

import (
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// TestRunAllocatesNothing: a second run takes no memory, whether threads take rows or
// units.
func TestRunAllocatesNothing(t *testing.T) {
	f, err := isa.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	p := pool.New(2)
	defer p.Close()
	matrix := func(k, n int) *layout.Matrix {
		m, err := layout.Pack(layout.F32, layout.RowMajor(make([]float32, k*n), k, n))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, hidden := range []int{40, 300} {
		for _, cell := range []Cell{Plain, GRU, LSTM} {
			v := &Layer{Kernels: gemm.New(f), Cell: cell, Seq: 4, Batch: 3, In: 8, Hidden: hidden, Dirs: 1}
			v.W = []*layout.Matrix{matrix(8, cell.Gates()*hidden)}
			for range cell.Gates() {
				v.R = append(v.R, matrix(hidden, hidden))
			}
			if err := v.Check(); err != nil {
				t.Fatal(err)
			}
			v.X, v.Y, v.YH = make([]float32, 4*3*8), make([]float32, 4*3*hidden), make([]float32, 3*hidden)
			scratch := make([]float32, v.Scratch(p.Workers()))
			if a := testing.AllocsPerRun(3, func() { _ = v.Run(p, scratch) }); a != 0 {
				t.Errorf("cell %d of %d units: %v allocations", cell, hidden, a)
			}
		}
	}
}
