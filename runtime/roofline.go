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
// (GFLOP/s), and reading an amount of memory as large as the program's (GB/s).
type Peaks struct {
	Precision string  `json:"precision"`
	F32       float64 `json:"f32_gflops"`
	Packed    float64 `json:"packed_gflops"`
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
	features, err := isa.FromEnv()
	if err != nil {
		return Peaks{}, err
	}
	threads := s.device.Workers()
	p := Peaks{Precision: "f32", ReadBytes: int(min(max(st.WeightBytes+st.ArenaBytes, 1<<20), mostRead))}
	p.F32 = probe.Peak(features, layout.F32, threads, d).Best
	p.Packed = p.F32
	for _, prec := range []layout.Precision{layout.BF16, layout.I8} {
		if prec.String() == s.program.Target.Precision {
			p.Precision, p.Packed = prec.String(), probe.Peak(features, prec, threads, d).Best
		}
	}
	p.Read = probe.Read(features, p.ReadBytes/threads, threads, d).Best
	return p, nil
}

// Roof is the least time that each step of a run can take: its multiplications at the
// peak, or its bytes at the bandwidth, whichever takes longer. Steps whose shapes depend
// on data are left out.
func (s *Session) Roof(ins []*tensor.Tensor, p Peaks) (map[*plan.Step]time.Duration, error) {
	types := make([]ir.Type, len(ins))
	for i, t := range ins {
		types[i] = ir.TypeOf(t)
	}
	in, err := Instantiate(s.program, s.program.Main(), types, 0)
	if err != nil {
		return nil, err
	}
	roof := map[*plan.Step]time.Duration{}
	for pos, si := range in.Steps {
		if in.Dynamic[pos] {
			continue
		}
		step, c := in.Fn.Steps[si], in.cost(si)
		rate := p.F32
		for _, v := range step.In {
			if v < 0 || in.Fn.Values[v].Const < 0 {
				continue
			}
			k := s.program.Consts[in.Fn.Values[v].Const]
			if k.Layout == "" {
				continue
			}
			// Packed weights have another size than their logical type says, and say at
			// what precision the step multiplies.
			if shape, ok := in.Types[v].Static(); ok && k.Data != nil {
				c.Bytes += int64(len(k.Data.Bytes()) - tensor.NumElems(shape)*in.Types[v].DType.Size())
			}
			if prec, ok := layout.ParseName(k.Layout); ok && prec != layout.F32 {
				rate = p.Packed
			}
		}
		seconds := max(float64(c.FLOPs)/rate, float64(c.Bytes)/p.Read) / 1e9
		roof[step] = time.Duration(seconds * 1e9)
	}
	return roof, nil
}
