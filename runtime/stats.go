package runtime

import (
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Stats says what a run of given shapes costs.
type Stats struct {
	FLOPs       int64 // of the steps that run, from their ops' cost
	Bytes       int64 // operands and results that must move at least once
	ArenaBytes  int64 // memory of intermediate values
	WeightBytes int64 // constants as stored
	PackedBytes int64 // of them, the matrices that are packed for products
	Steps       int   // steps that run
}

// Stats computes the cost of a run with inputs of these shapes. Steps whose shapes
// depend on data count nothing.
func (s *Session) Stats(ins []*tensor.Tensor) (Stats, error) { return StatsOf(s.program, ins) }

// StatsOf computes the cost of a run of a program, whatever it is compiled for; the
// memory is that of a session on the CPU.
func StatsOf(p *plan.Program, ins []*tensor.Tensor) (Stats, error) {
	types := make([]ir.Type, len(ins))
	for i, t := range ins {
		types[i] = ir.TypeOf(t)
	}
	in, err := Instantiate(p, p.Main(), types, 0)
	if err != nil {
		return Stats{}, err
	}
	_, size := in.layout()
	st := Stats{ArenaBytes: int64(size), WeightBytes: p.WeightBytes(), Steps: len(in.Steps)}
	for _, c := range p.Consts {
		if c.Layout != "" && c.Data != nil {
			st.PackedBytes += int64(len(c.Data.Bytes()))
		}
	}
	for pos, si := range in.Steps {
		if in.Dynamic[pos] {
			continue
		}
		c := in.cost(si)
		st.FLOPs += c.FLOPs
		st.Bytes += c.Bytes
	}
	return st, nil
}

// cost is what a step must do at least, with every value as its type says.
func (in *Instance) cost(si int) ir.Cost {
	return in.costOf(si, func(v int) ir.Type { return in.Types[v] })
}

// costOf is cost with types of the caller's choice.
func (in *Instance) costOf(si int, typeOf func(v int) ir.Type) ir.Cost {
	step := in.Fn.Steps[si]
	c := &ir.CostCtx{Attrs: step.Attrs}
	for _, v := range step.In {
		t := ir.Type{}
		if v >= 0 {
			t = typeOf(v)
		}
		c.Ins = append(c.Ins, t)
	}
	for _, v := range step.Out {
		t := ir.Type{}
		if v >= 0 {
			t = typeOf(v)
		}
		c.Outs = append(c.Outs, t)
	}
	return ir.CostOf(step.Op, c)
}
