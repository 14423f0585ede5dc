package rnn

import (
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// units takes units u0 to u1 of rows r0 to r1 of direction d through a part of step s.
func (v *Layer) units(w *worker, d, s, part, r0, r1, u0, u1 int) {
	rows := v.active(w, d, s, part, r0, r1, u0, u1)
	if rows == 0 || u1 <= u0 {
		return
	}
	n, old := v.Hidden, v.h[s&1][d*v.Batch*v.Hidden:]
	switch {
	case v.Cell == GRU && part == 1:
		x := v.prepare(w, rows, v.reset[d*v.Batch*n:])
		v.add(w, x, d, 2, rows, u0, u1)
	case v.Cell == GRU:
		x := v.prepare(w, rows, old)
		v.add(w, x, d, 0, rows, u0, u1)
		v.add(w, x, d, 1, rows, u0, u1)
		if !v.Linear {
			break
		}
		var bias []float32
		if v.B != nil {
			bias = v.B[(d*6+5)*n : (d*6+6)*n]
		}
		w.block = gemm.Block{C: gemm.Rows{Data: v.reset[d*v.Batch*n+u0:], Stride: n, Index: w.from[:rows]}, Bias: bias}
		v.product(w, x, d, 2, rows, u0, u1)
	default:
		x := v.prepare(w, rows, old)
		for g := range v.Cell.Gates() {
			v.add(w, x, d, g, rows, u0, u1)
		}
	}
	g := v.Cell.Gates() * n
	for i := range rows {
		at := (d*v.Batch + int(w.from[i])) * n
		p := v.p[(d*v.Seq*v.Batch+int(w.to[i]))*g:][:g]
		h := v.h[s&1^1][at+u0 : at+u1]
		before := v.h[s&1][at+u0 : at+u1]
		switch v.Cell {
		case Plain:
			copy(h, p[u0:u1])
			v.gate(v.Act, h)
		case LSTM:
			v.lstm(p, v.c[at+u0:at+u1], h, d, u0, u1)
		default:
			if v.gru(p, h, before, v.reset[at+u0:at+u1], u0, u1, part) {
				continue
			}
		}
		if v.Y != nil {
			copy(v.Y[v.outAt(d, int(w.from[i]), int(w.t[i]))+u0:], h)
		}
	}
}

// active lists the rows that still have a step s; the others keep their state.
func (v *Layer) active(w *worker, d, s, part, r0, r1, u0, u1 int) int {
	rows := 0
	for r := r0; r < r1; r++ {
		steps := v.steps(r)
		if s >= steps {
			if at := (d*v.Batch + r) * v.Hidden; part == 0 {
				copy(v.h[s&1^1][at+u0:at+u1], v.h[s&1][at+u0:at+u1])
			}
			continue
		}
		t := s
		if d == 1 || v.Reverse {
			t = steps - 1 - s
		}
		to := t*v.Batch + r
		if v.BatchFirst {
			to = r*v.Seq + t
		}
		w.from[rows], w.to[rows], w.t[rows] = int32(r), int32(to), int32(t)
		rows++
	}
	return rows
}

// outAt is where the output of row r at time t of direction d lies in Y.
func (v *Layer) outAt(d, r, t int) int {
	if v.BatchFirst {
		return ((r*v.Seq+t)*v.Dirs + d) * v.Hidden
	}
	return ((t*v.Dirs+d)*v.Batch + r) * v.Hidden
}

// prepare brings the state of the worker's rows to the precision of the weights.
func (v *Layer) prepare(w *worker, rows int, state []float32) gemm.Operand {
	return v.Kernels.Prepare(v.precision(), gemm.Rows{Data: state, Stride: v.Hidden, Index: w.from[:rows]}, rows, v.Hidden, nil, w.state)
}

// add adds the recurrent product of gate g to the rows of p.
func (v *Layer) add(w *worker, x gemm.Operand, d, g, rows, u0, u1 int) {
	all := v.Cell.Gates() * v.Hidden
	w.block = gemm.Block{C: gemm.Rows{Data: v.p[d*v.Seq*v.Batch*all+g*v.Hidden+u0:], Stride: all, Index: w.to[:rows]}, Add: true}
	v.product(w, x, d, g, rows, u0, u1)
}

// product completes and runs the thread's block, which says where the units u0 to u1 of
// x*R go and what they start from.
func (v *Layer) product(w *worker, x gemm.Operand, d, g, rows, u0, u1 int) {
	b := &w.block
	b.A, b.M, b.B, b.N0, b.N1, b.K1 = x, rows, v.R[d*v.Cell.Gates()+g], u0, u1, v.Hidden
	v.Kernels.Run(b)
}

// gate clips and applies an activation.
func (v *Layer) gate(k act.Kind, x []float32) {
	if v.Clip > 0 {
		for i, e := range x {
			if e > v.Clip {
				x[i] = v.Clip
			} else if e < -v.Clip {
				x[i] = -v.Clip
			}
		}
	}
	v.Kernels.Act().Apply(k, x, 1)
}

// lstm applies the gates to units u0 to u1 of a row p of gate inputs i, o, f, c.
func (v *Layer) lstm(p, c, h []float32, d, u0, u1 int) {
	n := v.Hidden
	in, out, forget, cand := p[u0:u1], p[n+u0:n+u1], p[2*n+u0:2*n+u1], p[3*n+u0:3*n+u1]
	var peep []float32
	if v.Peepholes != nil {
		peep = v.Peepholes[d*3*n : (d+1)*3*n]
		for i, x := range c {
			in[i] += peep[u0+i] * x
			forget[i] += peep[2*n+u0+i] * x
		}
	}
	v.gate(act.Sigmoid, in)
	v.gate(act.Tanh, cand)
	if v.Coupled {
		for i, x := range in {
			forget[i] = 1 - x
		}
	} else {
		v.gate(act.Sigmoid, forget)
	}
	for i, x := range c {
		c[i] = forget[i]*x + in[i]*cand[i]
	}
	if peep != nil {
		for i, x := range c {
			out[i] += peep[n+u0+i] * x
		}
	}
	v.gate(act.Sigmoid, out)
	copy(h, c)
	v.Kernels.Act().Apply(act.Tanh, h, 1)
	v.Kernels.Act().Mul(h, out)
}

// gru applies the gates to units u0 to u1 of a row p of gate inputs z, r, h; before is
// the old state and reset, where the reset comes after the product, that product. It
// reports whether the step is not complete yet.
func (v *Layer) gru(p, h, before, reset []float32, u0, u1, part int) bool {
	n := v.Hidden
	z, r, cand := p[u0:u1], p[n+u0:n+u1], p[2*n+u0:2*n+u1]
	if part == 0 {
		v.gate(act.Sigmoid, z)
		v.gate(act.Sigmoid, r)
		if !v.Linear {
			for i, x := range before {
				reset[i] = r[i] * x
			}
			return true
		}
		for i, x := range reset {
			cand[i] += r[i] * x
		}
	}
	v.gate(act.Tanh, cand)
	for i, x := range cand {
		h[i] = (1-z[i])*x + z[i]*before[i]
	}
	return false
}
