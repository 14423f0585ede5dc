package emu

import "math/bits"

// Most instructions are a scalar function applied to each lane. Lifting turns
// the function into an exec. A hot instruction also brings a loop over whole
// vectors, which runs when every lane is active.

type (
	fn1 func(a uint64) uint64
	fn2 func(a, b uint64) uint64
	fn3 func(a, b, c uint64) uint64

	loop1 func(d, a *lanes32)
	loop2 func(d, a, b *lanes32)
	loop3 func(d, a, b, c *lanes32)
	wide2 func(d, a, b *lanes64)
)

func lift1(d, a slot, f fn1, hot loop1) exec {
	if d.class == class32 && a.class == class32 && hot != nil {
		return func(w *warp, m uint32) {
			D, A := &w.r32[d.idx], &w.r32[a.idx]
			if m == fullMask {
				hot(D, A)
				return
			}
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				D[i] = uint32(f(uint64(A[i])))
			}
		}
	}
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			w.set(d, i, f(w.get(a, i)))
		}
	}
}

func lift2(d, a, b slot, f fn2, hot loop2, wide wide2) exec {
	switch {
	case d.class == class32 && a.class == class32 && b.class == class32:
		return func(w *warp, m uint32) {
			D, A, B := &w.r32[d.idx], &w.r32[a.idx], &w.r32[b.idx]
			if m == fullMask && hot != nil {
				hot(D, A, B)
				return
			}
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				D[i] = uint32(f(uint64(A[i]), uint64(B[i])))
			}
		}
	case d.class == class64 && a.class == class64 && b.class == class64:
		return func(w *warp, m uint32) {
			D, A, B := &w.r64[d.idx], &w.r64[a.idx], &w.r64[b.idx]
			if m == fullMask && wide != nil {
				wide(D, A, B)
				return
			}
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				D[i] = f(A[i], B[i])
			}
		}
	}
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			w.set(d, i, f(w.get(a, i), w.get(b, i)))
		}
	}
}

func lift3(d, a, b, c slot, f fn3, hot loop3) exec {
	if d.class == class32 && a.class == class32 && b.class == class32 && c.class == class32 {
		return func(w *warp, m uint32) {
			D, A, B, C := &w.r32[d.idx], &w.r32[a.idx], &w.r32[b.idx], &w.r32[c.idx]
			if m == fullMask && hot != nil {
				hot(D, A, B, C)
				return
			}
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				D[i] = uint32(f(uint64(A[i]), uint64(B[i]), uint64(C[i])))
			}
		}
	}
	return func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			w.set(d, i, f(w.get(a, i), w.get(b, i), w.get(c, i)))
		}
	}
}

// liftPred lifts a comparison into a predicate destination.
func liftPred(d, a, b slot, f func(a, b uint64) bool, hot func(a, b *lanes32) uint32) exec {
	return func(w *warp, m uint32) {
		var r uint32
		switch {
		case m == fullMask && hot != nil && a.class == class32 && b.class == class32:
			r = hot(&w.r32[a.idx], &w.r32[b.idx])
		default:
			for k := m; k != 0; k &= k - 1 {
				i := bits.TrailingZeros32(k)
				if f(w.get(a, i), w.get(b, i)) {
					r |= 1 << i
				}
			}
		}
		w.pred[d.idx] = w.pred[d.idx]&^m | r&m
	}
}
