package emu

import (
	"fmt"
	"strings"
	"time"
)

// Bound is the least time a launch can take on a GPU: no resource can do its
// share of the counted work faster. It is a projection, not a measurement; a
// kernel reaches it only if everything else overlaps.
type Bound struct {
	GPU   string
	Time  time.Duration
	Limit string // the resource that takes longest
	Parts []Part
}

// Part is one resource's share.
type Part struct {
	Resource string
	Time     time.Duration
}

// Hardware rates per SM and clock, alike on sm_80 to sm_90.
const (
	issuePerClock = 4  // warp instructions
	sfuLanes      = 16 // lanes of special functions
	lsuWavefronts = 1  // passes of shared memory
)

// Bound computes the bound of a launch on a GPU from its counters.
func (s Stats) Bound(g GPU) Bound {
	sms := float64(min(s.Blocks, int64(g.SMs))) // a block runs on one SM
	clocks := sms * g.GHz * 1e9
	share := sms / float64(g.SMs)
	seconds := []struct {
		resource string
		t        float64
	}{
		{"issue", float64(s.WarpInstr) / (issuePerClock * clocks)},
		{"tensor", float64(s.TensorWork) / (g.TensorTF * 1e12 * share)},
		{"f32", float64(s.Flops) / (g.FloatTF * 1e12 * share)},
		{"sfu", float64(32*s.ByClass[SFU]) / (sfuLanes * clocks)},
		{"shared", float64(s.SharedWavefronts) / (lsuWavefronts * clocks)},
		{"L2", float64(32*s.GlobalSectors) / (g.L2GBs * 1e9)},
		{"DRAM", float64(s.GlobalUnique) / (g.DRAMGBs * 1e9)},
	}
	b := Bound{GPU: g.Name}
	for _, p := range seconds {
		if sms == 0 {
			p.t = 0
		}
		d := time.Duration(p.t * 1e9)
		b.Parts = append(b.Parts, Part{p.resource, d})
		if d > b.Time || b.Limit == "" {
			b.Time, b.Limit = d, p.resource
		}
	}
	return b
}

func (b Bound) String() string {
	var parts []string
	for _, p := range b.Parts {
		parts = append(parts, fmt.Sprintf("%s %v", p.Resource, p.Time))
	}
	return fmt.Sprintf("%s: at least %v (%s) of %s", b.GPU, b.Time, b.Limit, strings.Join(parts, ", "))
}
