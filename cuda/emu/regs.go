package emu

// A warp's registers are vectors of 32 lanes. Registers of up to 32 bits sit
// in one file, 64-bit registers in another, and a predicate is a bit mask of
// lanes, so that guards and predicate logic cost one instruction.

type (
	lanes32 = [32]uint32
	lanes64 = [32]uint64
)

const fullMask = ^uint32(0)

type class uint8

const (
	class32 class = iota
	class64
	classPred
)

// slot names a register: its file, its place there, and its number among all
// registers, which indexes the definedness masks.
type slot struct {
	class class
	idx   int32
	id    int32
	bits  uint8 // 8, 16, 32, 64; 1 for a predicate
}

// get reads one lane of a register as 64 bits.
func (w *warp) get(s slot, lane int) uint64 {
	switch s.class {
	case class32:
		return uint64(w.r32[s.idx][lane&31])
	case class64:
		return w.r64[s.idx][lane&31]
	}
	return uint64(w.pred[s.idx] >> (lane & 31) & 1)
}

// set writes one lane of a register, truncated to its width.
func (w *warp) set(s slot, lane int, v uint64) {
	switch {
	case s.class == class64:
		w.r64[s.idx][lane&31] = v
	case s.class == classPred:
		w.pred[s.idx] = w.pred[s.idx]&^(1<<(lane&31)) | uint32(v&1)<<(lane&31)
	case s.bits == 32:
		w.r32[s.idx][lane&31] = uint32(v)
	case s.bits == 16:
		w.r32[s.idx][lane&31] = uint32(uint16(v))
	default:
		w.r32[s.idx][lane&31] = uint32(uint8(v))
	}
}
