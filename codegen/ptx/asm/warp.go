package asm

import "fmt"

const fullMask = text("-1")

// ShflXor exchanges x with the lane whose index differs by the bits of n. Every lane must take part.
func (x U32) ShflXor(n int) U32 {
	out := x.f.new32()
	x.f.emit("shfl.sync.bfly.b32", out, x.reg(), text(fmt.Sprint(n)), text("31"), fullMask)
	return out
}

// ShflXor exchanges x with the lane whose index differs by the bits of n.
func (x F32) ShflXor(n int) F32 {
	out := x.f.newF32()
	x.f.emit("shfl.sync.bfly.b32", out, x.reg(), text(fmt.Sprint(n)), text("31"), fullMask)
	return out
}

// ShflUp takes x from the lane n below; ok is false in the lowest n lanes, which keep their own.
func (x U32) ShflUp(n int) (v U32, ok Pred) {
	v, ok = x.f.new32(), x.f.newPred()
	x.f.emit("shfl.sync.up.b32", pair{v, ok}, x.reg(), text(fmt.Sprint(n)), text("0"), fullMask)
	return v, ok
}

// ShflFrom takes x from the given lane.
func (x U32) ShflFrom(lane U32) U32 {
	out := x.f.new32()
	x.f.emit("shfl.sync.idx.b32", out, x.reg(), lane, text("31"), fullMask)
	return out
}

// ShflFrom takes x from the given lane.
func (x F32) ShflFrom(lane U32) F32 {
	out := x.f.newF32()
	x.f.emit("shfl.sync.idx.b32", out, x.reg(), lane, text("31"), fullMask)
	return out
}

// Ballot is a word with one bit per lane where p holds.
func (p Pred) Ballot() U32 {
	out := p.f.new32()
	p.f.emit("vote.sync.ballot.b32", out, p.plain(), fullMask)
	return out
}

// Match is a word with one bit per lane that holds the same x as this lane.
func (x U32) Match() U32 {
	out := x.f.new32()
	x.f.emit("match.any.sync.b32", out, x.reg(), fullMask)
	return out
}

// WarpSum adds x over groups of width lanes (a power of two); every lane gets the sum. The order of
// additions depends on the width alone.
func (x F32) WarpSum(width int) F32 {
	for n := width / 2; n > 0; n /= 2 {
		x = x.Add(x.ShflXor(n))
	}
	return x
}

// WarpMax is the largest x over groups of width lanes, in every lane.
func (x F32) WarpMax(width int) F32 {
	for n := width / 2; n > 0; n /= 2 {
		x = x.Max(x.ShflXor(n))
	}
	return x
}

// WarpMin is the smallest x over groups of width lanes, in every lane.
func (x F32) WarpMin(width int) F32 {
	for n := width / 2; n > 0; n /= 2 {
		x = x.Min(x.ShflXor(n))
	}
	return x
}

// WarpSum adds x over the warp, in every lane.
func (x U32) WarpSum() U32 {
	for n := WarpSize / 2; n > 0; n /= 2 {
		x = x.Add(x.ShflXor(n))
	}
	return x
}

// LaneMaskLt is a word with the bits of all lower lanes.
func (f *Func) LaneMaskLt() U32 {
	one := f.Const(1).reg()
	return one.Shl(f.Lane()).AddI(-1)
}

// ReduxMax is the largest x (unsigned) over the warp, in every lane.
func (x U32) ReduxMax() U32 { return x.redux("max") }

// ReduxMin is the smallest x (unsigned) over the warp, in every lane.
func (x U32) ReduxMin() U32 { return x.redux("min") }

func (x U32) redux(op string) U32 {
	out := x.f.new32()
	x.f.emit("redux.sync."+op+".u32", out, x.reg(), fullMask)
	return out
}
