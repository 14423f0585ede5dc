package cpu

import (
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// halfHeads are the f32 forms of an attention's bf16 operands and output, where the CPU
// multiplies in f32.
type halfHeads struct {
	in  [3]int // elements of q, k and v
	y   int    // of the output, if that is bf16
	buf [3][]float32
}

func newHalfHeads(b *Binding, at *ops.FusedAttentionAttrs) halfHeads {
	var h halfHeads
	for i := range h.in {
		h.in[i] = tensor.NumElems(shapeOf(b.Ins[i]))
	}
	if at.Rounded {
		h.y = tensor.NumElems(shapeOf(b.Outs[0]))
	}
	return h
}

// floats is the scratch that they take.
func (h *halfHeads) floats() int { return h.y + h.in[0] + h.in[1] + h.in[2] }

// out is the output's part of the scratch.
func (h *halfHeads) out(scratch []float32) []float32 { return scratch[:h.y] }

// widen makes the operands f32, each value once.
func (h *halfHeads) widen(k *gemm.Kernels, c *Call, scratch []float32) *[3][]float32 {
	scratch = scratch[h.y:]
	for i, n := range h.in {
		h.buf[i], scratch = scratch[:n], scratch[n:]
		same := 0
		for c.Ins[same] != c.Ins[i] {
			same++
		}
		if same < i {
			h.buf[i] = h.buf[same]
			continue
		}
		words := tensor.Data[tensor.BFloat16](c.Ins[i])
		k.WidenBF16(h.buf[i], bits16(words))
	}
	return &h.buf
}
