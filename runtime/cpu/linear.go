package cpu

import (
	"fmt"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// matrices views constant input i, a stack of packed matrices.
func (b *Binding) matrices(i int) ([]*layout.Matrix, error) {
	t := b.Consts[i]
	if t == nil {
		return nil, fmt.Errorf("input %d must be a packed constant", i)
	}
	shape, _ := b.Ins[i].Static()
	if len(shape) < 2 {
		return nil, fmt.Errorf("packed input %d has shape %v", i, shape)
	}
	k, n := shape[len(shape)-2], shape[len(shape)-1]
	name := b.Layouts[i]
	if base, ok := cutSuffix(name, ".t"); ok {
		name, k, n = base, n, k
	}
	count := tensor.NumElems(shape[:len(shape)-2])
	if base, ok := cutSuffix(name, layout.TallSuffix); ok {
		name, k, count = base, count*k, 1
	}
	p, ok := layout.ParseName(name)
	if !ok {
		return nil, fmt.Errorf("input %d is stored as %q, want packed panels", i, b.Layouts[i])
	}
	return layout.Unstack(p, t.Bytes(), count, k, n)
}

// matrix views constant input i, one packed matrix.
func (b *Binding) matrix(i int) (*layout.Matrix, error) {
	m, err := b.matrices(i)
	if err != nil {
		return nil, err
	}
	if len(m) != 1 {
		return nil, fmt.Errorf("input %d holds %d matrices, want one", i, len(m))
	}
	return m[0], nil
}

func cutSuffix(s, suffix string) (string, bool) {
	if n := len(s) - len(suffix); n >= 0 && s[n:] == suffix {
		return s[:n], true
	}
	return s, false
}

// rows is the number of rows of input i seen as [rows, last].
func (b *Binding) rows(i int) (rows, last int) {
	shape, _ := b.Ins[i].Static()
	last = shape[len(shape)-1]
	return tensor.NumElems(shape[:len(shape)-1]), last
}

// f32 views the first n floats of the scratch memory.
func (c *Call) f32(n int) []float32 {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&c.Scratch[0])), n)
}

// bindLinear is MatMul by a packed matrix, and Linear with its epilogue.
func bindLinear(b *Binding) (Bound, error) {
	w, err := b.matrix(1)
	if err != nil {
		return Bound{}, err
	}
	m, _ := b.rows(0)
	mul := &gemm.Mul{Kernels: b.Device.gemm, M: m, B: w}
	if a, ok := b.Step.Attrs.(*ops.LinearAttrs); ok {
		if mul.Act, err = activation(a.Activation); err != nil {
			return Bound{}, err
		}
	}
	halfA, halfC := b.Ins[0].DType == tensor.BF16, b.Outs[0].DType == tensor.BF16
	if halfA && w.K%2 != 0 || halfC && w.N%2 != 0 {
		return Bound{}, fmt.Errorf("rows of %d and %d elements in bf16 do not begin with whole words", w.K, w.N)
	}
	if halfA {
		mul.HalfA = []float32{}
	}
	if halfC {
		mul.HalfC = []float32{}
	}
	need := mul.Scratch(b.Device.pool.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		if halfA {
			mul.HalfA = halfWords(c.Ins[0])
		} else {
			mul.A = gemm.Rows{Data: tensor.Data[float32](c.Ins[0]), Stride: w.K}
		}
		if halfC {
			mul.HalfC = halfWords(c.Outs[0])
		} else {
			mul.C = gemm.Rows{Data: tensor.Data[float32](c.Outs[0]), Stride: w.N}
		}
		mul.Bias, mul.Residual = nil, gemm.Rows{}
		if len(c.Ins) > 2 && c.Ins[2] != nil {
			mul.Bias = tensor.Data[float32](c.Ins[2])
		}
		if len(c.Ins) > 3 && c.Ins[3] != nil {
			mul.Residual = gemm.Rows{Data: tensor.Data[float32](c.Ins[3]), Stride: w.N}
		}
		return mul.Run(b.Device.pool, c.f32(need))
	}}, nil
}

// halfWords views a bf16 tensor of an even number of elements as words of two.
func halfWords(t *tensor.Tensor) []float32 {
	h := tensor.Data[tensor.BFloat16](t)
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(h))), len(h)/2)
}

// activation maps an op's activation to a kernel's; the empty name is the identity.
func activation(a ops.Activation) (act.Kind, error) {
	switch a {
	case ops.ActNone, ops.ActIdentity:
		return act.Identity, nil
	case ops.ActReLU:
		return act.Relu, nil
	case ops.ActGELU:
		return act.Gelu, nil
	case ops.ActGELUTanh:
		return act.GeluTanh, nil
	case ops.ActSiLU:
		return act.Silu, nil
	case ops.ActSigmoid:
		return act.Sigmoid, nil
	case ops.ActTanh:
		return act.Tanh, nil
	case ops.ActReLU6:
		return act.Relu6, nil
	case ops.ActHardSwish:
		return act.HardSwish, nil
	case ops.ActQuickGELU:
		return act.QuickGelu, nil
	case ops.ActReLU2:
		return act.Relu2, nil
	}
	return 0, fmt.Errorf("no kernel for activation %q", a)
}
