package runtime

import (
	"time"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/cpu/probe"
)

// Peaks are what this machine does at most on a session's threads, measured by loops that
// do nothing else: multiply-adds in f32 and at the precision of the program's weights
// (GFLOP/s), and reading an amount of memory as large as what a run touches (GB/s, from
// huge pages where there are any). They are medians of rounds of a millisecond: on a
// shared machine the best round catches a moment that no longer run can.
type Peaks struct {
	Precision string  `json:"precision"`
	F32       float64 `json:"f32_gflops"`
	Packed    float64 `json:"packed_gflops"`
	BF16      float64 `json:"bf16_gflops"` // of attention and convolutions in programs of lower precision
	Read      float64 `json:"read_gbps"`
	ReadBytes int     `json:"read_bytes"`
}

// mostRead bounds the memory that a bandwidth is measured on: beyond the caches of most
// machines.
const mostRead = 256 << 20

// Peaks measures for about three times d.
func (s *Session) Peaks(ins []*tensor.Tensor, d time.Duration) (Peaks, error) {
	st, err := s.Stats(ins)
	if err != nil {
		return Peaks{}, err
	}
	in, err := s.instance(ins)
	if err != nil {
		return Peaks{}, err
	}
	touched := int64(0)
	for pos, si := range in.Steps {
		if !in.Dynamic[pos] {
			touched += s.stepCost(in, si).Bytes
		}
	}
	features, err := isa.FromEnv()
	if err != nil {
		return Peaks{}, err
	}
	threads := s.device.Workers()
	p := Peaks{Precision: "f32", ReadBytes: int(min(max(min(touched, st.WeightBytes+st.ArenaBytes), 1<<20), mostRead))}
	p.F32 = probe.Peak(features, layout.F32, threads, d).Median
	p.Packed = p.F32
	for _, prec := range []layout.Precision{layout.BF16, layout.I8} {
		if prec.String() == s.program.Target.Precision {
			p.Precision, p.Packed = prec.String(), probe.Peak(features, prec, threads, d).Median
		}
	}
	switch {
	case p.Precision == layout.BF16.String():
		p.BF16 = p.Packed
	case p.Precision != layout.F32.String() && features.BF16:
		p.BF16 = probe.Peak(features, layout.BF16, threads, d).Median
	default: // where bf16 has no instructions of its own, attention runs in f32
		p.BF16 = p.F32
	}
	if regions, n := s.packedRegions(p.ReadBytes); n >= p.ReadBytes/2 && len(regions) >= threads {
		p.ReadBytes = n
		p.Read = probe.ReadOver(features, regions, threads, d).Median
	} else {
		p.Read = probe.Read(features, p.ReadBytes/threads, threads, d).Median
	}
	return p, nil
}

// packedRegions are packed weights of about n bytes, fewer where there are no more: to be
// read instead of memory of the measurement's own, which would count beside them.
func (s *Session) packedRegions(n int) (regions [][]byte, total int) {
	for i, c := range s.program.Consts {
		if c.Layout != "" && s.consts[i] != nil && total < n {
			b := s.consts[i].Bytes()
			b = b[:min(len(b), n-total)]
			regions, total = append(regions, b), total+len(b)
		}
	}
	return regions, total
}

// Roof is the least time that each step of a run can take: its multiplications at the
// peak, or its bytes at the bandwidth, whichever takes longer. Steps whose shapes depend
// on data are left out.
func (s *Session) Roof(ins []*tensor.Tensor, p Peaks) (map[*plan.Step]time.Duration, error) {
	in, err := s.instance(ins)
	if err != nil {
		return nil, err
	}
	roof := map[*plan.Step]time.Duration{}
	for pos, si := range in.Steps {
		if in.Dynamic[pos] {
			continue
		}
		step, c := in.Fn.Steps[si], s.stepCost(in, si)
		rate := p.F32
		switch {
		case c.packed:
			rate = p.Packed
		case step.Kernel == "attention_bf16", c.half:
			rate = p.BF16
		}
		seconds := max(float64(c.FLOPs)/rate, float64(c.Bytes)/p.Read) / 1e9
		roof[step] = time.Duration(seconds * 1e9)
	}
	return roof, nil
}

// instance settles the shapes of a run.
func (s *Session) instance(ins []*tensor.Tensor) (*Instance, error) {
	types := make([]ir.Type, len(ins))
	for i, t := range ins {
		types[i] = ir.TypeOf(t)
	}
	return Instantiate(s.program, s.program.Main(), types, 0)
}

// stepCost is what a step must do at least; packed says that it multiplies at the
// precision of the program's weights.
type stepCost struct {
	ir.Cost
	packed bool
	half   bool // in bf16, in a program of int8: convolutions
}

// stepCost is the op's cost with packed weights in the element type that they are stored
// in, which also says at what precision the step multiplies.
func (s *Session) stepCost(in *Instance, si int) stepCost {
	packed, half := false, false
	c := in.costOf(si, func(v int) ir.Type {
		t := in.Types[v]
		if at := in.Fn.Values[v].Const; at >= 0 {
			name := s.program.Consts[at].Layout
			prec, ok := layout.ParseName(name)
			if !ok {
				prec, _ = layout.ParseConvName(name)
			}
			switch prec {
			case layout.BF16:
				packed, t.DType = true, tensor.BF16
				half = half || s.program.Target.Precision != prec.String()
			case layout.I8:
				packed, t.DType = true, tensor.I8
			}
		}
		return t
	})
	return stepCost{Cost: c, packed: packed && !half, half: half}
}
