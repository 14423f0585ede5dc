package tests

import (
	"fmt"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// recurrentCases are layers of odd sizes in every direction and order, with and without
// each optional operand. Sizes lie around a panel of 32 units; the largest cell has
// weights that threads divide.
func recurrentCases() []*kernelNode {
	var cases []*kernelNode
	one := int64(1)
	clip := float32(0.7)
	gates := map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}
	sizes := [][4]int{{5, 3, 7, 10}, {1, 1, 1, 1}, {7, 1, 20, 65}, {4, 17, 33, 32}, {0, 2, 3, 4}, {3, 0, 4, 5}, {3, 2, 40, 200}, {2, 1, 8, 330}}
	seed := uint64(0)
	for _, op := range []string{"RNN", "GRU", "LSTM"} {
		for si, s := range sizes {
			for variant := range 6 {
				if si > 5 && variant > 2 {
					continue // the large ones: each direction once
				}
				seed++
				d := newDrawer(seed)
				seq, batch, in, hid := s[0], s[1], s[2], s[3]
				dirs, a := 1, &ops.RecurrentAttrs{Direction: []string{"forward", "reverse", "bidirectional"}[variant%3]}
				if a.Direction == "bidirectional" {
					dirs = 2
				}
				g := gates[op]
				x, state := []int{seq, batch, in}, []int{dirs, batch, hid}
				if variant >= 3 {
					a.Layout = 1
					x, state = []int{batch, seq, in}, []int{batch, dirs, hid}
				}
				scaled := func(t *tensor.Tensor, f float32) *tensor.Tensor {
					for i := range tensor.Data[float32](t) {
						tensor.Data[float32](t)[i] *= f
					}
					return t
				}
				ins := make([]*tensor.Tensor, map[string]int{"RNN": 6, "GRU": 6, "LSTM": 8}[op])
				ins[0] = d.normal(x...)
				ins[1] = scaled(d.normal(dirs, g*hid, in), 0.2)
				ins[2] = scaled(d.normal(dirs, g*hid, hid), 0.1)
				if variant != 0 {
					ins[3] = d.normal(dirs, 2*g*hid)
				}
				if variant == 2 || variant == 4 {
					lens := make([]int32, batch)
					for i := range lens {
						lens[i] = int32((i*3 + seq - 1) % (seq + 1))
					}
					ins[4] = tensor.Of(lens, batch)
				}
				if variant >= 2 {
					ins[5] = d.normal(state...)
				}
				outs := 2
				switch op {
				case "LSTM":
					outs = 3
					if variant == 3 {
						ins[6] = d.normal(state...)
					}
					if variant == 1 || variant == 5 {
						ins[6], ins[7] = d.normal(state...), d.normal(dirs, 3*hid)
					}
					if variant == 4 {
						a.InputForget = &one
					}
				case "GRU":
					if variant%2 == 1 {
						a.LinearBeforeReset = &one
					}
				default:
					if variant >= 4 {
						for range dirs {
							a.Activations = append(a.Activations, []string{"Relu", "Sigmoid"}[variant-4])
						}
					}
				}
				if variant == 5 {
					a.Clip = &clip
				}
				cases = append(cases, &kernelNode{name: fmt.Sprintf("%s %v variant %d", op, s, variant), op: op, attrs: a, ins: ins, inputs: []int{0, 3, 4, 5, 6, 7}, outs: outs})
			}
		}
	}
	return cases
}

// TestRecurrentKernels: up to 7 steps of gates within 3e-7 of exact ones, over products
// of up to 330 terms.
func TestRecurrentKernels(t *testing.T) {
	for _, c := range recurrentCases() {
		c.check(t, 1e-5)
	}
}

// TestUnusualRecurrentLayers: activations that the kernel lacks run on the reference.
func TestUnusualRecurrentLayers(t *testing.T) {
	d := newDrawer(1)
	for _, names := range [][]string{{"Elu", "Tanh", "Tanh"}, {"Sigmoid", "Relu", "Tanh"}} {
		c := &kernelNode{
			name: fmt.Sprint(names), op: "LSTM", attrs: &ops.RecurrentAttrs{Direction: "forward", Activations: names},
			ins: []*tensor.Tensor{d.normal(3, 2, 4), d.normal(1, 20, 4), d.normal(1, 20, 5)}, inputs: []int{0}, outs: 3, ref: true,
		}
		c.check(t, 1e-6)
	}
	c := &kernelNode{
		name: "two kinds", op: "RNN", attrs: &ops.RecurrentAttrs{Direction: "bidirectional", Activations: []string{"Relu", "Tanh"}},
		ins: []*tensor.Tensor{d.normal(3, 2, 4), d.normal(2, 5, 4), d.normal(2, 5, 5)}, inputs: []int{0}, outs: 2, ref: true,
	}
	c.check(t, 1e-6)
}
