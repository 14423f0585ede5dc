package emu

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
	blocks []*block
}

// blockOf is the block of the cluster that a region of shared memory belongs to.
func (w *warp) blockOf(r *region) *block {
	if r == &w.b.shared {
		return w.b
	}
	if w.b.cluster != nil {
		for _, b := range w.b.cluster.blocks {
			if r == &b.shared {
				return b
			}
		}
	}
	return nil
}
