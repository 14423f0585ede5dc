package cpu

import (
	"fmt"
	"runtime"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/conv"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
	"github.com/seed-c851cfd2/moec/runtime/cpu/rows"
)

// Device is the host as a session uses it: its threads and its kernels.
type Device struct {
	pool    *pool.Pool
	gemm    *gemm.Kernels
	rows    *rows.Kernels
	conv    *conv.Kernels
	kernels map[string]*Kernel
	wide    widened
}

// NewDevice prepares the host for a session; threads 0 means one per processor that Go
// may use.
func NewDevice(threads int) (*Device, error) {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	features, err := isa.FromEnv()
	if err != nil {
		return nil, err
	}
	d := &Device{pool: pool.New(threads), gemm: gemm.New(features), rows: rows.New(features), kernels: map[string]*Kernel{}}
	d.conv = conv.New(d.gemm)
	for _, k := range table() {
		d.kernels[k.Name] = k
	}
	return d, nil
}

// table lists the kernels of this build.
func table() []*Kernel {
	return []*Kernel{
		{Name: plan.KernelRef, Bind: bindRef},
		{Name: plan.KernelView, Bind: bindCopy},
		{Name: "linear", Bind: bindLinear},
		{Name: "matmul", Bind: matmulAt(layout.F32)},
		{Name: "matmul_bf16", Bind: matmulAt(layout.BF16)},
		{Name: "attention", Bind: attentionAt(layout.F32)},
		{Name: "attention_bf16", Bind: attentionAt(layout.BF16)},
		{Name: "mlp", Bind: bindMLP},
		{Name: "moe", Bind: bindMoE},
		{Name: "topk_mlp", Bind: bindTopKMLP},
		{Name: "pkm", Bind: bindPKM},
		{Name: "rotary", Bind: bindRotary},
		{Name: "norm", Bind: bindNorm},
		{Name: "instance_norm", Bind: bindInstanceNorm},
		{Name: "group_norm", Bind: bindGroupNorm},
		{Name: "softmax", Bind: bindSoftmax},
		{Name: "conv", Bind: bindConv},
		{Name: "conv_last", Bind: bindConvLast},
		{Name: "conv_depthwise", Bind: bindDepthwise},
		{Name: "pool_last", Bind: bindPoolLast},
		{Name: "pool", Bind: bindPool},
		{Name: "global_pool", Bind: bindGlobalPool},
		{Name: "channels", Bind: bindChannels},
		{Name: "recurrent", Bind: bindRecurrent},
		{Name: "unary", Bind: bindUnary},
		{Name: "binary", Bind: bindBinary},
		{Name: "where", Bind: bindWhere},
		{Name: "cast", Bind: bindCast},
		{Name: "clip", Bind: bindClip},
		{Name: "move", Bind: bindMove},
		{Name: "pad", Bind: bindPad},
		{Name: "resize", Bind: bindResize},
		{Name: "gather", Bind: bindGather},
		{Name: "gather_elements", Bind: bindGatherElements},
		{Name: "reduce", Bind: bindReduce},
	}
}

// Has reports whether this build has a kernel of that name.
func (d *Device) Has(name string) bool { return d.kernels[name] != nil }

// Bind prepares a step.
func (d *Device) Bind(b *Binding) (Bound, error) {
	k := d.kernels[b.Step.Kernel]
	if k == nil {
		return Bound{}, fmt.Errorf("no kernel %q", b.Step.Kernel)
	}
	return k.Bind(b)
}

// Workers is the number of threads.
func (d *Device) Workers() int { return d.pool.Workers() }

// Close stops the device's workers.
func (d *Device) Close() { d.pool.Close() }

// bindRef runs the op's reference Eval, writing into the outputs' own memory.
func bindRef(b *Binding) (Bound, error) {
	op := b.Step.Op
	if op.Eval == nil {
		return Bound{}, fmt.Errorf("%w: %s has no evaluation", ir.ErrUnsupportedOp, op)
	}
	want := make([]bool, len(b.Outs))
	for i, v := range b.Step.Out {
		want[i] = v >= 0
	}
	return Bound{Run: func(c *Call) error {
		ev := &ir.EvalCtx{
			Context: c.Context, Attrs: b.Step.Attrs, Ins: c.Ins, Want: want,
			Outs: make([]*tensor.Tensor, len(c.Outs)),
			Alloc: func(i int, dt tensor.DType, shape []int) *tensor.Tensor {
				if t := c.Outs[i]; t != nil && t.DType() == dt && equalShape(t.Shape(), shape) {
					return t
				}
				return tensor.New(dt, shape...)
			},
		}
		if err := op.Eval(ev); err != nil {
			return err
		}
		for i, t := range ev.Outs {
			dst := c.Outs[i]
			if dst == nil || t == dst {
				continue
			}
			if t == nil || t.DType() != dst.DType() || !equalShape(t.Shape(), dst.Shape()) {
				return fmt.Errorf("%w: output %d was inferred as %v, came out as %v", ir.ErrShape, i, dst, t)
			}
			copy(dst.Bytes(), t.Bytes())
		}
		return nil
	}}, nil
}

// bindCopy copies the first input's elements: a view whose output needs memory of its
// own, because it leaves the program.
func bindCopy(*Binding) (Bound, error) {
	return Bound{Run: func(c *Call) error {
		copy(c.Outs[0].Bytes(), c.Ins[0].Bytes())
		return nil
	}}, nil
}

func equalShape(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
