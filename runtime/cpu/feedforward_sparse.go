package cpu

import (
	"math"

	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/ffn"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// bindTopKMLP is TopKMLP at inference.
func bindTopKMLP(b *Binding) (Bound, error) {
	a := b.Step.Attrs.(*ops.TopKMLPAttrs)
	l := &ffn.TopKMLP{Kernels: b.Device.gemm, Magnitude: a.Magnitude}
	var err error
	if l.Act, err = activation(a.Activation); err != nil {
		return Bound{}, err
	}
	if l.Up, err = b.matrix(ops.MLPInW1); err != nil {
		return Bound{}, err
	}
	if l.Down, err = b.matrix(ops.MLPInW2); err != nil {
		return Bound{}, err
	}
	l.K = int(min(a.K, int64(l.Up.N)))
	if a.UseNorm {
		l.Norm = make([]float32, l.Down.K)
		for j := range l.Norm {
			sum := 0.0
			for i := range l.Down.N {
				w := float64(l.Down.At(j, i))
				sum += w * w
			}
			l.Norm[j] = float32(math.Sqrt(sum))
		}
	}
	l.T, _ = b.rows(0)
	need := l.Scratch(b.Device.pool.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		l.X = gemm.Rows{Data: tensor.Data[float32](c.Ins[0]), Stride: l.Up.K}
		l.Y = gemm.Rows{Data: tensor.Data[float32](c.Outs[0]), Stride: l.Down.N}
		l.UpBias, l.DownBias = c.vector(ops.MLPInB1), c.vector(ops.MLPInB2)
		return l.Run(b.Device.pool, c.f32(need))
	}}, nil
}

// bindPKM is PKM on either path.
func bindPKM(b *Binding) (Bound, error) {
	a := b.Step.Attrs.(*ops.PKMAttrs)
	l := &ffn.PKM{Kernels: b.Device.gemm, KNN: int(min(a.KNN, math.MaxInt32))}
	var err error
	if l.Keys0, err = b.matrices(ops.PKMInKeys0); err != nil {
		return Bound{}, err
	}
	if l.Keys1, err = b.matrices(ops.PKMInKeys1); err != nil {
		return Bound{}, err
	}
	if b.has(ops.PKMInQuery) {
		if l.Query, err = b.matrix(ops.PKMInQuery); err != nil {
			return Bound{}, err
		}
	}
	switch a.Weighting {
	case ops.WeightSoftmax:
		l.Weighting = ffn.WeightSoftmax
	case ops.WeightSoftmaxHead:
		l.Weighting = ffn.WeightSoftmaxHead
	default:
		l.Weighting = ffn.WeightAct
		if l.Act, err = activation(ops.Activation(a.Weighting)); err != nil {
			return Bound{}, err
		}
	}
	dense := a.Dense(l.Keys0[0].N, l.Keys1[0].N)
	if dense {
		if l.Dense, err = b.matrix(ops.PKMInValues); err != nil {
			return Bound{}, err
		}
	}
	var d int
	l.T, d = b.rows(0)
	shape, _ := b.Ins[ops.PKMInValues].Static()
	l.Dv = shape[1]
	need := l.Scratch(b.Device.pool.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		l.X = gemm.Rows{Data: tensor.Data[float32](c.Ins[0]), Stride: d}
		l.Y = gemm.Rows{Data: tensor.Data[float32](c.Outs[0]), Stride: l.Dv}
		if !dense {
			l.Values = c.vector(ops.PKMInValues)
		}
		l.QueryBias, l.Bias = c.vector(ops.PKMInQueryBias), c.vector(ops.PKMInB2)
		l.KeyBias0, l.KeyBias1 = c.vector(ops.PKMInKeyBias0), c.vector(ops.PKMInKeyBias1)
		return l.Run(b.Device.pool, c.f32(need))
	}}, nil
}
