package rnn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// stored is what a product sees of a row at a precision: rounded to bf16, or to 0..255 of its own range.
func stored(p layout.Precision, x []float32) []float64 {
	out := make([]float64, len(x))
	lo, hi := 0.0, 0.0
	for _, v := range x {
		lo, hi = math.Min(lo, float64(v)), math.Max(hi, float64(v))
	}
	scale := (hi - lo) / 255
	for i, v := range x {
		switch {
		case p == layout.BF16:
			out[i] = float64(math.Float32frombits(uint32(layout.RoundBF16(v)) << 16))
		case p == layout.I8 && scale > 0:
			zero := math.RoundToEven(-lo / scale)
			out[i] = scale * (math.RoundToEven(float64(v)/scale) + zero - zero)
		case p == layout.F32:
			out[i] = float64(v)
		}
	}
	return out
}

// times is x by column n of w.
func times(x []float64, w *layout.Matrix, n int) (sum float64) {
	for k, v := range x {
		sum += v * float64(w.At(k, n))
	}
	return sum
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// plainly is row r of an LSTM or GRU (reset before and after the product) of one direction, step by step in
// float64 from the equations of ONNX, on weights as stored and rows at precision p: the last state.
func plainly(v *Layer, p layout.Precision, r int) []float64 {
	n := v.Hidden
	h, c := make([]float64, n), make([]float64, n)
	f32 := func(x []float64) []float32 {
		out := make([]float32, len(x))
		for i, e := range x {
			out[i] = float32(e)
		}
		return out
	}
	for t := range v.Seq {
		x := stored(p, v.X[(t*v.Batch+r)*v.In:][:v.In])
		hs := stored(p, f32(h))
		in := func(g, i int) float64 { return times(x, v.W[0], g*n+i) }
		next := make([]float64, n)
		switch {
		case v.Cell == LSTM:
			for i := range n {
				gate := func(g int) float64 { return in(g, i) + times(hs, v.R[g], i) }
				c[i] = sigmoid(gate(2))*c[i] + sigmoid(gate(0))*math.Tanh(gate(3))
				next[i] = sigmoid(gate(1)) * math.Tanh(c[i])
			}
		default:
			rh := make([]float64, n)
			for i := range n {
				rh[i] = sigmoid(in(1, i)+times(hs, v.R[1], i)) * h[i]
			}
			rs := stored(p, f32(rh))
			for i := range n {
				z, reset := sigmoid(in(0, i)+times(hs, v.R[0], i)), sigmoid(in(1, i)+times(hs, v.R[1], i))
				cand := in(2, i) + times(rs, v.R[2], i)
				if v.Linear {
					cand = in(2, i) + reset*times(hs, v.R[2], i)
				}
				next[i] = (1-z)*math.Tanh(cand) + z*h[i]
			}
		}
		h = next
	}
	return h
}

// TestPrecisions: layers whose weights are bf16 or int8 do what the equations say of rounded weights, inputs
// and states, at every level of the CPU, whether threads take rows or units, with the same bits. The
// tolerance is a rounding more of a few elements: where f32 and f64 fall on either side of the middle
// between two stored values, 2^-8 of an element or 1/255 of a row's range, times a weight.
func TestPrecisions(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	normal := func(n int, scale float64) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(scale * rng.NormFloat64())
		}
		return out
	}
	for _, p := range []layout.Precision{layout.F32, layout.BF16, layout.I8} {
		for _, s := range []struct {
			cell                   Cell
			linear                 bool
			seq, batch, in, hidden int
		}{
			{LSTM, false, 5, 3, 21, 50},
			{LSTM, false, 3, 40, 32, 64},
			{LSTM, false, 2, 1, 40, 550},
			{GRU, false, 5, 3, 21, 50},
			{GRU, true, 4, 17, 33, 97},
			{GRU, false, 2, 2, 40, 620},
			{GRU, true, 2, 1, 40, 620},
		} {
			matrix := func(k, n int) *layout.Matrix {
				m, err := layout.Pack(p, layout.RowMajor(normal(k*n, 1/math.Sqrt(float64(k))), k, n))
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			v := &Layer{Cell: s.cell, Linear: s.linear, Seq: s.seq, Batch: s.batch, In: s.in, Hidden: s.hidden, Dirs: 1}
			v.W = []*layout.Matrix{matrix(s.in, s.cell.Gates()*s.hidden)}
			for range s.cell.Gates() {
				v.R = append(v.R, matrix(s.hidden, s.hidden))
			}
			v.X = normal(s.seq*s.batch*s.in, 1)
			for _, level := range isa.Levels() {
				t.Setenv(isa.Env, level)
				f, err := isa.FromEnv()
				if err != nil {
					t.Fatal(err)
				}
				v.Kernels = gemm.New(f)
				var first []float32
				for _, threads := range []int{1, 2, 3} {
					pl := pool.New(threads)
					v.YH = make([]float32, s.batch*s.hidden)
					if err := v.Run(pl, make([]float32, v.Scratch(threads))); err != nil {
						t.Fatal(err)
					}
					pl.Close()
					if first == nil {
						first = v.YH
					}
					for i, y := range v.YH {
						if math.Float32bits(y) != math.Float32bits(first[i]) {
							t.Fatalf("%v %+v %s: element %d has other bits with %d threads", p, s, level, i, threads)
						}
					}
				}
				tol := map[layout.Precision]float64{layout.F32: 1e-5, layout.BF16: 2e-3, layout.I8: 8e-3}[p]
				rows := p
				if p == layout.BF16 && !f.BF16 {
					rows = layout.F32 // by weights that are widened
				}
				name := fmt.Sprintf("%v %+v %s", p, s, level)
				for _, r := range []int{0, s.batch - 1} {
					for i, want := range plainly(v, rows, r) {
						if got := float64(first[r*s.hidden+i]); !(math.Abs(got-want) <= tol) {
							t.Fatalf("%s: row %d, unit %d is %v, want %v", name, r, i, got, want)
						}
					}
				}
			}
		}
	}
}
