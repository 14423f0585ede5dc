package ffn

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// A mixture of many small experts on tile registers runs as one MLP whose hidden units
// are zero where a token's experts are not selected. Tiles are so fast that the products
// cost less than fetching the tokens of every expert, and than passing over the outputs
// once for each: 96 experts of 16 units, 24 per token, d 384, took 2.0 ms for 512 tokens
// expert by expert and take 1.2 joined.

// joined is a MoE that runs so.
type joined struct {
	mlp  MLP
	keep keep

	rows, per int // tokens and floats of scratch of a task that selects
	scratch   []float32
}

// keep says what of the hidden units of each token counts.
type keep struct {
	half   bool      // of rows of bf16, not f32
	scaled bool      // by gates, of rows of f32
	lines  int       // cache lines per row
	share  float64   // of the units that a token may keep
	lanes  []uint16  // per line one bit for each of its 32-bit words
	gates  []float32 // per line, if scaled
}

// lineUnits is the number of f32 units in a cache line, and the unit in which experts are
// kept: their sizes are multiples of it.
const lineUnits = 16

// isJoined reports whether l runs as one MLP.
func (l *MoE) isJoined() bool {
	return l.Joined != nil && l.Kernels.Tiled(l.Joined.Down.Precision)
}

// planJoined sets up the parts for a number of workers and returns the floats of scratch
// for what tokens keep and for the phases.
func (l *MoE) planJoined(workers int) (kept, phases int) {
	j, w := &l.join, l.Joined
	_, _, _, e, most := l.dims()
	m := &j.mlp
	m.Kernels, m.Weights, m.T, m.X, m.Y, m.keep = l.Kernels, *w, l.T, l.X, l.Y, &j.keep
	m.DownBias, m.Residual = l.Bias, l.Residual
	if l.Shared != nil || l.Experts[0].DownBias != nil {
		m.DownBias, m.Residual = nil, l.Y // which the selecting tasks begin
	}
	s := &j.keep
	s.scaled = l.Router.scaled()
	s.half = w.Down.Precision == layout.BF16 && !s.scaled
	perLine := lineUnits
	if s.half {
		perLine = 2 * lineUnits
	}
	s.lines, s.share = tasks(w.Up.N, perLine), float64(most)/float64(e)
	kept = pad((l.T*s.lines + 1) / 2)
	if s.scaled {
		kept += pad(l.T * s.lines)
	}
	j.rows = min(tileRows, share(l.T, workers))
	j.per = pad(j.rows*e) + choiceLen(j.rows, most, e)
	return kept, max(workers*j.per, m.Scratch(workers))
}

// runJoined selects, then runs the MLP.
func (l *MoE) runJoined(r pool.Runner, scratch []float32) error {
	j := &l.join
	l.planJoined(r.Workers())
	a, s := arena{scratch}, &j.keep
	s.lanes = a.halves(l.T * s.lines)
	clear(s.lanes)
	if s.scaled {
		s.gates = a.floats(l.T * s.lines)
	}
	j.scratch = a.rest
	_, _, _, e, _ := l.dims()
	if err := dispatch(r, l.T*e*8, tasks(l.T, j.rows), (*moeSelect)(l)); err != nil {
		return err
	}
	return j.mlp.Run(r, j.scratch)
}

// moeSelect is a joined MoE as a task that selects the experts of some tokens.
type moeSelect MoE

// Do computes one task; it is for the pool.
func (t *moeSelect) Do(i, worker int) {
	l := (*MoE)(t)
	j := &l.join
	m0, m1 := i*j.rows, min((i+1)*j.rows, l.T)
	a := arena{j.scratch[worker*j.per : (worker+1)*j.per]}
	_, g, dv, e, most := l.dims()
	logits, c := a.floats((m1-m0)*e), newChoice(&a, m1-m0, most, e)
	l.Router.logits(l.Kernels, l.X, m0, m1, e, logits)
	l.Router.choose(l.Kernels, m0, m1, e, logits, &c)
	biased := l.Experts[0].DownBias != nil
	if biased || l.Shared != nil {
		l.begin(m0, m1, 0, dv)
	}
	for m := m0; m < m1; m++ {
		n := int(c.count[m-m0])
		experts, gates := c.experts[(m-m0)*most:][:n], c.gates[(m-m0)*most:][:n]
		j.keep.row(m, g, experts, gates)
		at := l.Y.At(m)
		for k := 0; biased && k < n; k++ {
			l.Kernels.Act().Axpy(l.Y.Data[at:at+dv], gates[k], l.Experts[experts[k]].DownBias)
		}
	}
}

// row keeps the units of some experts, of g units each, in row m.
func (s *keep) row(m, g int, experts []int32, gates []float32) {
	lanes := s.lanes[m*s.lines : (m+1)*s.lines]
	for i, e := range experts {
		for u := int(e) * g; u < (int(e)+1)*g; u += lineUnits {
			if s.half {
				lanes[u/(2*lineUnits)] |= 0xff << (u / lineUnits % 2 * 8)
				continue
			}
			lanes[u/lineUnits] = 0xffff
			if s.scaled {
				s.gates[m*s.lines+u/lineUnits] = gates[i]
			}
		}
	}
}

// fewKept is the number of tokens up to which hidden units that none of them keeps are
// skipped: with a quarter kept of 96 experts, .56, .32 and .18 of the k tiles for one to three.
const fewKept = 3

// run is the next stretch of hidden units, in f to end, of which one of m tokens from m0 on
// keeps some: whole k tiles of the second product, which so adds the same tiles as if none
// were skipped. It begins at end if there is none.
func (s *keep) run(m0, m, f, end int) (from, to int) {
	const tile = 2 * lineUnits
	lines := 1 // of a tile
	if !s.half {
		lines = 2
	}
	kept := func(f int) bool {
		for r := m0; r < m0+m; r++ {
			for _, lanes := range s.lanes[r*s.lines:][f/tile*lines : min((f/tile+1)*lines, s.lines)] {
				if lanes != 0 {
					return true
				}
			}
		}
		return false
	}
	for f < end && !kept(f) {
		f += tile
	}
	from, to = min(f, end), f
	for to < end && kept(to) {
		to += tile
	}
	return from, min(to, end)
}

// apply leaves of n hidden units from f on, of rows m0 on, what counts: of m rows of h, or of
// o where they are bf16. f is a multiple of 32.
func (s *keep) apply(k *gemm.Kernels, m0, m, f, n int, h gemm.Rows, o gemm.Operand, col int) {
	perLine := lineUnits
	if s.half {
		perLine = 2 * lineUnits
	}
	first, lines := f/perLine, tasks(n, perLine)
	b := keptRows{rows: m, lines: lines, stride: h.Stride, laneStride: s.lines}
	if m == 0 || lines == 0 {
		return
	}
	at := m0*s.lines + first
	b.lanes = s.lanes[at:][:(m-1)*s.lines+lines]
	if s.half {
		words, stride := o.Halves()
		b.words, b.stride = words[col/2:], stride
	} else {
		b.words = words(h.Data)
	}
	if s.scaled {
		b.gates = s.gates[at:][:(m-1)*s.lines+lines]
	}
	b.apply(k.Features())
}

// keptRows are rows of cache lines of 32-bit words, of which those lanes stay whose bit is
// set, times the line's gate if there are gates, and the others become zero.
type keptRows struct {
	words       []uint32
	rows, lines int
	stride      int // words from row to row
	lanes       []uint16
	gates       []float32
	laneStride  int // of lanes and gates
}

func (b *keptRows) portable() {
	for r := range b.rows {
		for i := range b.lines {
			line := b.words[r*b.stride+i*lineUnits:][:lineUnits]
			lanes := b.lanes[r*b.laneStride+i]
			for j := range line {
				switch {
				case lanes>>j&1 == 0:
					line[j] = 0
				case b.gates != nil:
					line[j] = times(line[j], b.gates[r*b.laneStride+i])
				}
			}
		}
	}
}
