package runtime

import (
	"context"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// The cost of a mixture counts the experts that its tokens can select, at the size that
// their weights are stored in, and says at what precision it multiplies.
func TestStepCostOfMoE(t *testing.T) {
	const d, g, e, k = 64, 32, 8, 2
	for precision, size := range map[string]int64{"f32": 4, "bf16": 2, "int8": 1} {
		for n, experts := range map[int]int64{1: 2, 3: 6, 50: e} {
			gr := ir.NewGraph("moe", ops.NewTable())
			x := gr.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(d)))
			op := gr.Op("moec::MoE")
			attrs := op.Attrs().(*ops.MoEAttrs)
			attrs.K = k
			ins := []*ir.Value{x, gr.NewConst("w1", tensor.New(tensor.F32, e, d, g)), gr.NewConst("w2", tensor.New(tensor.F32, e, g, d)), gr.NewConst("sel", tensor.New(tensor.F32, e, d))}
			gr.Outputs = gr.Add(op, attrs, ins, "y").Outputs[:1]
			if err := ir.Infer(gr); err != nil {
				t.Fatal(err)
			}
			p, err := codegen.Compile(context.Background(), gr, codegen.Target{Precision: precision})
			if err != nil {
				t.Fatal(err)
			}
			s, err := New(p, Options{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			in, err := s.instance([]*tensor.Tensor{tensor.New(tensor.F32, n, d)})
			if err != nil {
				t.Fatal(err)
			}
			c := s.stepCost(in, in.Steps[0])
			if want := experts*2*d*g*size + 4*e*d + 2*4*int64(n)*d; c.Bytes != want {
				t.Errorf("%s, %d tokens: %d bytes, want %d", precision, n, c.Bytes, want)
			}
			if c.packed != (precision != "f32") {
				t.Errorf("%s: packed is %v", precision, c.packed)
			}
		}
	}
}
