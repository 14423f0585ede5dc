package emu

import (
	"context"
	"fmt"
	"strings"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// block is one thread block under way.
type block struct {
	l         *launch
	p         *program
	idx       [3]int
	linear    int
	warps     []*warp
	shared    region
	bars      [16]barrierState
	claimed   []uint64 // shared bytes that a cp.async under way will write
	claims    int
	polls     int // atomics that changed nothing, since the block last gave way
	clock     blockClock
	mbarriers map[int]*mbarrier // by shared address
	bulkIn    []*bulkRead       // bulk copies whose barrier is here
	cluster   *cluster
	rank      int // in the cluster
}

// execute runs all blocks in a seeded random order. A block runs alone until
// it ends; one whose warps only wait for other blocks gives way to the next,
// and they take turns from then on.
func (l *launch) execute(ctx context.Context) error {
	n := l.grid[0] * l.grid[1] * l.grid[2]
	l.order = l.blockOrder(n)
	l.ctx = ctx
	var resident, free []*block
	idle := 0
	for l.started < n || len(resident) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		before := l.counts.progress
		out := resident[:0]
		for _, b := range resident {
			if b.turn() {
				if l.clusterSize() == 1 {
					free = append(free, b)
				}
			} else {
				out = append(out, b)
			}
		}
		resident = out
		if l.clusterSize() > 1 {
			if l.started < n && len(resident) < maxResident {
				resident = append(resident, l.startCluster()...)
			}
		}
		for l.clusterSize() == 1 && l.started < n && len(resident) < maxResident {
			l.started++
			b := l.start(l.order[l.started-1], &free)
			if !b.turn() {
				resident = append(resident, b)
				break
			}
			free = append(free, b)
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if l.counts.progress == before && l.started == n {
			if idle++; idle > idleRounds {
				l.deadlock(resident)
			}
		} else {
			idle = 0
		}
		if l.steps > l.dev.opt.MaxSteps {
			return fmt.Errorf("more than %d warp instructions: a loop without end?", l.dev.opt.MaxSteps)
		}
	}
	return nil
}

// maxResident bounds the blocks under way at once, as a large GPU would.
const maxResident = 4096

// maxPolls is how many atomics that change nothing a block may make before
// others get a turn: it may be asking for a lock, one barrier per attempt.
const maxPolls = 1 << 8

// idleRounds is how many turns in which no memory changes, no barrier opens
// and no warp ends make a deadlock.
const idleRounds = 64

func (l *launch) deadlock(resident []*block) {
	b := resident[0]
	for _, w := range b.warps {
		if w.live != 0 {
			w.fault(Deadlock, -1, "%d blocks make no progress; this warp waits or loops here", len(resident))
		}
	}
}

// blockOrder is the order in which blocks start: those of a cluster together.
func (l *launch) blockOrder(n int) []int {
	size := l.clusterSize()
	if size == 1 {
		return l.rng.Perm(n)
	}
	var out []int
	for _, c := range l.rng.Perm(n / size) {
		at := [3]int{}
		for d := range 3 {
			k := l.grid[d] / l.cluster[d]
			at[d], c = c%k*l.cluster[d], c/k
		}
		for r := range size {
			x, y, z := r%l.cluster[0], r/l.cluster[0]%l.cluster[1], r/(l.cluster[0]*l.cluster[1])
			out = append(out, at[0]+x+l.grid[0]*(at[1]+y+l.grid[1]*(at[2]+z)))
		}
	}
	return out
}

// startCluster makes the blocks of the next cluster ready. Their memory is not
// reused: one block may outlive another.
func (l *launch) startCluster() []*block {
	cl := &cluster{}
	for rank := range l.clusterSize() {
		l.started++
		b := l.start(l.order[l.started-1], &[]*block{})
		b.cluster, b.rank = cl, rank
		if b.shared.race != nil {
			b.shared.race.peers = cl
		}
		cl.blocks = append(cl.blocks, b)
	}
	for _, b := range cl.blocks { // some special registers depend on the rank
		for _, w := range b.warps {
			w.setSpecials()
		}
	}
	return cl.blocks
}

// start makes block number i ready, reusing a finished block's memory.
func (l *launch) start(i int, free *[]*block) *block {
	var b *block
	if n := len(*free); n > 0 {
		b, *free = (*free)[n-1], (*free)[:n-1]
	} else {
		b = l.newBlock()
	}
	b.cluster = &cluster{blocks: []*block{b}}
	b.linear = i
	b.idx = [3]int{i % l.grid[0], i / l.grid[0] % l.grid[1], i / (l.grid[0] * l.grid[1])}
	b.reset()
	return b
}

func (l *launch) newBlock() *block {
	p := l.p
	threads := l.block[0] * l.block[1] * l.block[2]
	b := &block{l: l, p: p}
	checked := l.dev.opt.Checks&CheckUninitialised != 0
	size := 0
	if p.sharedSpan > 0 || l.dyn > 0 {
		size = p.dynamicBase() + l.dyn
	}
	b.shared = *newRegion(syntax.Shared, 0, size, checked)
	b.shared.ok = make([]uint64, size/64+2)
	mark := func(off, n int) {
		for i := off; i < off+n; i++ {
			b.shared.ok[i>>6] |= 1 << (i & 63)
		}
	}
	for _, v := range p.shared {
		if !v.dynamic {
			mark(v.off, v.size)
		}
	}
	mark(p.dynamicBase()*min(l.dyn, 1), l.dyn)
	b.initRace()
	for id := range (threads + 31) / 32 {
		w := &warp{b: b, id: id, r32: make([]lanes32, p.n32), r64: make([]lanes64, p.n64), pred: make([]uint32, p.np)}
		if checked {
			w.def = make([]uint32, p.nreg)
		}
		b.warps = append(b.warps, w)
		for k, c := range p.consts {
			w.fill(c.slot, l.consts[k])
		}
	}
	return b
}

// fill sets a register to the same value in every lane.
func (w *warp) fill(s slot, v uint64) {
	for i := range 32 {
		w.set(s, i, v)
	}
}

func (b *block) reset() {
	l := b.l
	threads := l.block[0] * l.block[1] * l.block[2]
	clear(b.shared.valid)
	for i := range b.shared.data {
		b.shared.data[i] = 0xcd // a value that shows, for runs without checks
	}
	b.bars = [16]barrierState{}
	b.mbarriers, b.bulkIn = nil, nil
	clear(b.claimed)
	b.claims = 0
	b.resetRace()
	for _, w := range b.warps {
		w.live = ^uint32(0)
		if n := threads - 32*w.id; n < 32 {
			w.live = 1<<n - 1
		}
		w.parked, w.split, w.pc, w.atBar, w.cur, w.executed = 0, false, 0, nil, nil, 0
		w.async, w.wg, w.bulk = asyncState{}, wgmmaState{}, bulkState{}
		w.locals = [32]*region{}
		w.inCluster = false
		w.polls, w.lead, w.calls = 0, 0, [32][]callFrame{}
		w.partial, w.pending = nil, w.pending[:0]
		if w.def != nil {
			clear(w.def)
			for _, c := range l.p.consts {
				w.def[c.slot.id] = fullMask
			}
		}
		w.setSpecials()
	}
}

// turn runs every warp until it waits or its turn ends, while that gets
// anywhere. It reports whether the block has finished.
func (b *block) turn() bool {
	order := b.l.rng.Perm(len(b.warps))
	b.polls = 0
	for {
		if b.l.steps > b.l.dev.opt.MaxSteps || b.l.ctx.Err() != nil {
			return false
		}
		alive, spinning := false, false
		for _, i := range order {
			w := b.warps[i]
			if w.live == 0 || w.atBar != nil {
				continue
			}
			before := w.executed
			w.run()
			b.l.steps += w.executed - before
			if w.live == 0 {
				b.l.counts.progress++
				b.warpEnded()
			} else if w.atBar == nil {
				spinning = true
			}
		}
		running := false
		for _, w := range b.warps {
			if w.live != 0 {
				alive = true
				running = running || w.atBar == nil
			}
		}
		switch {
		case !alive:
			b.finish()
			return true
		case !running && b.atCluster():
			return false
		case !running:
			b.barrierDeadlock()
		case spinning, b.polls > maxPolls:
			return false
		}
	}
}

func (b *block) barrierDeadlock() {
	var parts []string
	var first *warp
	for _, w := range b.warps {
		if w.live == 0 || w.atBar == nil {
			continue
		}
		if first == nil {
			first = w
		}
		parts = append(parts, fmt.Sprintf("warp %d at line %d", w.id, w.atBar.src.Line))
		if len(parts) == 8 {
			parts = append(parts, "…")
			break
		}
	}
	first.cur = first.atBar
	first.fault(Deadlock, -1, "no barrier can open: %s", strings.Join(parts, ", "))
}

// finish checks what a block leaves behind: bulk copies that may still read
// its shared memory.
func (b *block) finish() {
	for _, w := range b.warps {
		if len(w.bulk.reads) > 0 {
			rd := w.bulk.reads[0]
			w.cur = rd.issue
			w.fault(AsyncPending, rd.lane, "the block ends before this bulk copy out of its shared memory was waited for")
		}
	}
}

// setSpecials fills the special registers that the kernel reads.
func (w *warp) setSpecials() {
	l := w.b.l
	for _, s := range l.p.specials {
		if w.def != nil {
			w.def[s.slot.id] = fullMask
		}
		for lane := range 32 {
			w.set(s.slot, lane, w.specialValue(s.name, lane))
		}
	}
}

func (w *warp) specialValue(name string, lane int) uint64 {
	l := w.b.l
	t := w.id*32 + lane
	base, dim, _ := strings.Cut(name, ".")
	d := 0
	if dim != "" {
		d = int(dim[0] - 'x')
	}
	switch base {
	case "%tid":
		return uint64([3]int{t % l.block[0], t / l.block[0] % l.block[1], t / (l.block[0] * l.block[1])}[d])
	case "%ntid":
		return uint64(l.block[d])
	case "%ctaid":
		return uint64(w.b.idx[d])
	case "%nctaid":
		return uint64(l.grid[d])
	case "%clusterid":
		return uint64(w.b.idx[d] / l.cluster[d])
	case "%nclusterid":
		return uint64(l.grid[d] / l.cluster[d])
	case "%cluster_nctaid":
		return uint64(l.cluster[d])
	case "%cluster_ctaid":
		return uint64(w.b.idx[d] % l.cluster[d])
	case "%cluster_ctarank":
		return uint64(w.b.rank)
	case "%is_explicit_cluster":
		return uint64(bit(l.clusterSize() > 1))
	case "%laneid":
		return uint64(lane)
	case "%warpid":
		return uint64(w.id)
	case "%nwarpid":
		return uint64(len(w.b.warps))
	case "%smid":
		return uint64(w.b.linear % smCount)
	case "%nsmid":
		return smCount
	case "%cluster_nctarank":
		return uint64(l.clusterSize())
	case "%gridid":
		return uint64(l.id)
	case "%lanemask_eq":
		return 1 << lane
	case "%lanemask_le":
		return 1<<(lane+1) - 1
	case "%lanemask_lt":
		return 1<<lane - 1
	case "%lanemask_ge":
		return uint64(^uint32(1<<lane - 1))
	case "%lanemask_gt":
		return uint64(^uint32(1<<(lane+1) - 1))
	case "%envreg1": // the workspace of a grid-wide barrier, upper half
		return l.workspace >> 32
	case "%envreg2":
		return l.workspace & 0xffffffff
	case "%dynamic_smem_size":
		return uint64(l.dyn)
	case "%total_smem_size", "%aggr_smem_size":
		return uint64(l.p.staticShared + l.dyn)
	}
	return 0
}

// smCount is how many multiprocessors the emulated device reports.
const smCount = 108
