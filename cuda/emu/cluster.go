package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// Blocks of a cluster see one another's shared memory. An address in the
// cluster's window carries the block's rank above the address in that block's
// shared memory, plus one: without a rank it means the executing block.
const clusterStep = 1 << 24

// mapShared is the address of a shared variable in the block of a given rank.
func mapShared(addr uint64, rank int) uint64 {
	return addr&^uint64(0xff*clusterStep) | addr&(clusterStep-1) | uint64(rank+1)*clusterStep
}

// cluster is blocks that run together.
type cluster struct {
	blocks  []*block // by rank
	arrived int      // warps at the cluster's barrier
	phase   int      // how often it has opened
	pending *vclock  // what they release
	done    *vclock  // what the last opening released
}

// clusterOp is what barrier.cluster does.
type clusterOp struct{ arrive, wait, relaxed bool }

// opClusterBarrier decodes barrier.cluster.arrive and barrier.cluster.wait.
func (c *compiler) opClusterBarrier(in *syntax.Instr) {
	op := clusterOp{arrive: in.Has("arrive"), wait: in.Has("wait"), relaxed: in.Has("relaxed")}
	if op.arrive == op.wait || len(in.Args) != 0 {
		c.fail("malformed cluster barrier")
	}
	c.out.flow, c.out.bar = flowBarrier, &barrierOp{cluster: &op}
}

// arriveCluster is a whole warp at the cluster's barrier.
func (w *warp) arriveCluster(in *instr) {
	cl, op := w.b.cluster, in.bar.cluster
	if op.arrive {
		if w.inCluster {
			w.fault(Divergence, -1, "the warp arrives twice at the cluster's barrier before it waits")
		}
		w.inCluster, w.clusterPhase = true, cl.phase
		cl.arrived++
		if w.following() && !op.relaxed {
			w.clock.busy = true
			for _, r := range w.snapshot(w.live, scopeGPU) {
				if r != nil {
					cl.pending = join(cl.pending, r.vc)
				}
			}
		}
		cl.tryOpen(w.b.l)
		return
	}
	if !w.inCluster {
		w.fault(Divergence, -1, "the warp waits at the cluster's barrier without having arrived")
	}
	if cl.phase > w.clusterPhase {
		w.leaveCluster()
		return
	}
	w.atBar = in
}

// leaveCluster lets a warp pass the barrier.
func (w *warp) leaveCluster() {
	w.inCluster, w.atBar = false, nil
	if w.b.cluster.done == nil {
		return
	}
	w.clock.busy = true
	for k := w.live; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		w.clock.acquired[i] = join(w.clock.acquired[i], w.b.cluster.done)
	}
}

// tryOpen opens the barrier when all warps of the cluster that have not ended
// have arrived.
func (cl *cluster) tryOpen(l *launch) {
	if cl.arrived == 0 {
		return
	}
	for _, b := range cl.blocks {
		for _, w := range b.warps {
			if w.live != 0 && !(w.inCluster && w.clusterPhase == cl.phase) {
				return
			}
		}
	}
	cl.phase++
	cl.arrived = 0
	cl.done, cl.pending = cl.pending, nil
	l.counts.progress++
	l.counts.barriers++
	for _, b := range cl.blocks {
		for _, w := range b.warps {
			if w.live != 0 && w.atBar != nil && w.atBar.bar.cluster != nil {
				w.leaveCluster()
			}
		}
	}
}

// atCluster reports whether a warp of the block waits for the cluster.
func (b *block) atCluster() bool {
	for _, w := range b.warps {
		if w.live != 0 && w.atBar != nil && w.atBar.bar.cluster != nil {
			return true
		}
	}
	return false
}

// coversCluster reports whether every access of the cluster's other blocks up
// to a sequence number is known.
func (v *vclock) coversCluster(cl *cluster, self int, seq uint64) bool {
	if v == nil {
		return false
	}
	for _, b := range cl.blocks {
		if b.linear == self {
			continue
		}
		if k := v.block(b.linear); k == nil || k.seq < seq {
			return false
		}
	}
	return true
}

// remote is the shared memory that a cluster address with a rank means.
func (w *warp) remote(addr uint64, lane int) (*region, uint64) {
	rank := int(addr/clusterStep) - 1
	if rank >= len(w.b.cluster.blocks) {
		w.fault(OutOfBounds, lane, "shared address %#x is of block %d of a cluster of %d", addr, rank, len(w.b.cluster.blocks))
	}
	b := w.b.cluster.blocks[rank]
	if b.ended() {
		w.fault(InvalidOperation, lane, "shared address %#x is of block %d of the cluster, which has ended", addr, rank)
	}
	return &b.shared, addr & (clusterStep - 1)
}

// ended reports whether every warp of the block has.
func (b *block) ended() bool {
	for _, w := range b.warps {
		if w.live != 0 {
			return false
		}
	}
	return true
}

// opMapa gives the address of a shared variable in another block of the cluster.
func (c *compiler) opMapa(in *syntax.Instr) {
	t := c.typ(0)
	d, a, rank := c.dst(0, t), c.src(1, t), c.src(2, syntax.U32)
	c.out.must = append(c.out.must, rank.id)
	c.out.run = lift2(d, a, rank, func(a, r uint64) uint64 { return mapShared(a, int(uint32(r)&0x7f)) }, nil, nil)
}

// opGetctarank gives the rank of the block that a shared address belongs to.
func (c *compiler) opGetctarank(in *syntax.Instr) {
	t := c.typ(0)
	if !in.Has("shared::cluster") {
		t = syntax.B64
	}
	d, a := c.dst(0, syntax.U32), c.src(1, t)
	c.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			rank := w.get(a, i) & 0xffffffff / clusterStep
			if rank == 0 {
				rank = uint64(w.b.rank) + 1
			}
			w.set(d, i, rank-1)
		}
	}
}

// blockOf is the block of the cluster that a region of shared memory belongs to.
func (w *warp) blockOf(r *region) *block {
	if r == &w.b.shared {
		return w.b
	}
	for _, b := range w.b.cluster.blocks {
		if r == &b.shared {
			return b
		}
	}
	return nil
}
