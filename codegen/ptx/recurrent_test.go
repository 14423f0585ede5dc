package ptx

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func TestRecurrent(t *testing.T) {
	sig := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	for _, c := range []struct {
		kind                  string
		seq, batch, in, hid   int
		reverse               []bool
		linear, coupled, peep bool
		init                  bool
	}{
		{kind: "RNN", seq: 4, batch: 2, in: 5, hid: 7, reverse: []bool{false}},
		{kind: "LSTM", seq: 5, batch: 3, in: 6, hid: 33, reverse: []bool{false, true}, init: true},
		{kind: "LSTM", seq: 3, batch: 1, in: 4, hid: 8, reverse: []bool{true}, coupled: true, peep: true},
		{kind: "GRU", seq: 5, batch: 2, in: 6, hid: 20, reverse: []bool{false, true}, linear: true, init: true},
		{kind: "GRU", seq: 4, batch: 2, in: 6, hid: 530, reverse: []bool{false}},
		{kind: "GRU", seq: 0, batch: 2, in: 6, hid: 8, reverse: []bool{false}, init: true},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			s := Recurrent{
				Kind: c.kind, Seq: Sym("s"), Batch: Sym("b"), In: c.in, Hidden: c.hid, Reverse: c.reverse,
				Acts:              map[string][]Fn{"RNN": {"tanh"}, "GRU": {"sigmoid", "tanh"}, "LSTM": {"sigmoid", "tanh", "tanh"}}[c.kind],
				LinearBeforeReset: c.linear, CoupledForget: c.coupled, Peep: c.peep, InitH: c.init, InitC: c.init && c.kind == "LSTM",
			}
			op, err := s.Op()
			if err != nil {
				t.Fatal(err)
			}
			dirs, h, n := len(c.reverse), c.hid, s.gates()*c.hid
			r := seeded(t)
			small := func(n int) []float32 {
				v := gauss(r, n)
				for i := range v {
					v[i] /= float32(math.Sqrt(float64(h)))
				}
				return v
			}
			x, w, rw, b := gauss(r, c.seq*c.batch*c.in), small(dirs*n*c.in), small(dirs*n*h), small(dirs*2*n)
			peep, h0, c0 := small(dirs*3*h), gauss(r, dirs*c.batch*h), gauss(r, dirs*c.batch*h)
			bias, rBias := s.FoldBias(b)
			in := map[string][]byte{}
			for name, v := range map[string][]float32{"x": x, "w": w, "r": rw, "bias": bias, "r_bias": rBias, "peep": peep, "init_h": h0, "init_c": c0} {
				in[name] = packAs(tensor.F32, v)
				if buf, ok := op.Buffer(name); ok && buf.Pack != nil {
					if in[name], err = buf.Pack.Bytes(v); err != nil {
						t.Fatal(err)
					}
				}
			}
			out := run(t, op, map[string]int64{"s": int64(c.seq), "b": int64(c.batch)}, in)
			y := make([]float64, c.seq*dirs*c.batch*h)
			yh, yc := make([]float64, dirs*c.batch*h), make([]float64, dirs*c.batch*h)
			for d := range dirs {
				for z := range c.batch {
					hs, cs := make([]float64, h), make([]float64, h)
					if c.init {
						for i := range hs {
							hs[i], cs[i] = float64(h0[(d*c.batch+z)*h+i]), float64(c0[(d*c.batch+z)*h+i])
						}
					}
					for step := range c.seq {
						at := step
						if c.reverse[d] {
							at = c.seq - 1 - step
						}
						dot := func(row int, v []float64) float64 {
							sum := float64(b[d*2*n+n+row])
							for k := range h {
								sum += v[k] * float64(rw[(d*n+row)*h+k])
							}
							return sum
						}
						proj := func(row int) float64 {
							sum := float64(b[d*2*n+row])
							for k := range c.in {
								sum += float64(x[(at*c.batch+z)*c.in+k]) * float64(w[(d*n+row)*c.in+k])
							}
							return sum
						}
						p := func(g, i int) float64 {
							if !c.peep {
								return 0
							}
							return float64(peep[d*3*h+g*h+i])
						}
						next := make([]float64, h)
						rh := make([]float64, h)
						for i := range rh {
							if c.kind == "GRU" {
								rh[i] = sig(proj(h+i)+dot(h+i, hs)) * hs[i]
							}
						}
						for i := range next {
							switch c.kind {
							case "RNN":
								next[i] = math.Tanh(proj(i) + dot(i, hs))
							case "GRU":
								zg := sig(proj(i) + dot(i, hs))
								var cand float64
								if c.linear {
									cand = math.Tanh(proj(2*h+i) + sig(proj(h+i)+dot(h+i, hs))*dot(2*h+i, hs))
								} else {
									cand = math.Tanh(proj(2*h+i) + dot(2*h+i, rh))
								}
								next[i] = (1-zg)*cand + zg*hs[i]
							case "LSTM":
								ig := sig(proj(i) + dot(i, hs) + p(0, i)*cs[i])
								fg := 1 - ig
								if !c.coupled {
									fg = sig(proj(2*h+i) + dot(2*h+i, hs) + p(2, i)*cs[i])
								}
								cs[i] = fg*cs[i] + ig*math.Tanh(proj(3*h+i)+dot(3*h+i, hs))
								next[i] = sig(proj(h+i)+dot(h+i, hs)+p(1, i)*cs[i]) * math.Tanh(cs[i])
							}
						}
						hs = next
						copy(y[((at*dirs+d)*c.batch+z)*h:], hs)
					}
					copy(yh[(d*c.batch+z)*h:], hs)
					copy(yc[(d*c.batch+z)*h:], cs)
				}
			}
			near(t, "y", unpack(tensor.F32, out["y"]), y, 2e-6)
			near(t, "y_h", unpack(tensor.F32, out["y_h"]), yh, 2e-6)
			if c.kind == "LSTM" {
				near(t, "y_c", unpack(tensor.F32, out["y_c"]), yc, 2e-6)
			}
		})
	}
}
