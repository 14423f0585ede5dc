package conv

//go:generate go run ./gen

import "unsafe"

// lanes is a mask of 8 set lanes and 8 clear ones; &lanes[8] less 4n bytes is the start
// of a mask of n lanes.
var lanes = [16]int32{-1, -1, -1, -1, -1, -1, -1, -1}

func (k *Kernels) sumVector(y, x []float32, off []int, w []float32, start float32) bool {
	f := k.gemm.Features()
	if !f.AVX2 && !f.AVX512 {
		return false
	}
	reach(x, off, len(y))
	xp, op, wp := unsafe.SliceData(x), unsafe.SliceData(off), unsafe.SliceData(w)
	if f.AVX512 {
		sumTapsZ(&y[0], len(y), xp, op, len(off), wp, start, &lanes[8])
	} else {
		sumTapsY(&y[0], len(y), xp, op, len(off), wp, start, &lanes[8])
	}
	return true
}

func (k *Kernels) maxVector(y, x []float32, off []int, start float32) bool {
	f := k.gemm.Features()
	if !f.AVX2 && !f.AVX512 {
		return false
	}
	reach(x, off, len(y))
	xp, op := unsafe.SliceData(x), unsafe.SliceData(off)
	if f.AVX512 {
		maxTapsZ(&y[0], len(y), xp, op, len(off), nil, start, &lanes[8])
	} else {
		maxTapsY(&y[0], len(y), xp, op, len(off), nil, start, &lanes[8])
	}
	return true
}

//go:noescape
func sumTapsZ(y *float32, n int, x *float32, off *int, taps int, w *float32, start float32, mask *int32)

//go:noescape
func sumTapsY(y *float32, n int, x *float32, off *int, taps int, w *float32, start float32, mask *int32)

//go:noescape
func maxTapsZ(y *float32, n int, x *float32, off *int, taps int, w *float32, start float32, mask *int32)

//go:noescape
func maxTapsY(y *float32, n int, x *float32, off *int, taps int, w *float32, start float32, mask *int32)

//go:noescape
func gatherZ(y *float32, stride int, x *float32, off *int, taps, channels, plane, n int, mask *int32)

//go:noescape
func gatherY(y *float32, stride int, x *float32, off *int, taps, channels, plane, n int, mask *int32)

//go:noescape
func splitY(a, b, x *float32, n int)

func (k *Kernels) gatherVector(y []float32, stride int, x []float32, off []int, channels, plane, n int) bool {
	f := k.gemm.Features()
	if !f.AVX2 && !f.AVX512 {
		return false
	}
	_ = y[(channels*len(off)-1)*stride+n-1]
	reach(x, off, n)
	reach(x[(channels-1)*plane:], off, n)
	if f.AVX512 {
		gatherZ(&y[0], stride, &x[0], &off[0], len(off), channels, plane, n, &lanes[8])
	} else {
		gatherY(&y[0], stride, &x[0], &off[0], len(off), channels, plane, n, &lanes[8])
	}
	return true
}

func (k *Kernels) roundVector(dst []float32, words int, x []float32, off []int, n, pixels, step, zeros int) bool {
	if !k.gemm.Features().BF16 || pixels == 0 || n == 0 {
		return false
	}
	_ = dst[(pixels-1)*words+(n*len(off)+zeros)/2-1]
	reach(x, off, n)
	reach(x[(pixels-1)*step:], off, n)
	roundGatherZ(&dst[0], 4*words, &x[0], 4*step, &off[0], len(off), n, pixels, zeros)
	return true
}

//go:noescape
func roundGatherZ(y *float32, stride int, x *float32, step int, off *int, taps, n, pixels, zeros int)

func (k *Kernels) splitVector(a, b, x []float32) int {
	n := len(a) &^ 7
	if f := k.gemm.Features(); n == 0 || !f.AVX2 && !f.AVX512 {
		return 0
	}
	_, _ = b[n-1], x[2*n-1]
	splitY(&a[0], &b[0], &x[0], n)
	return n
}

func (k *Kernels) foldVector(kind Kind, y []float32, c int, x Images, step int, off []int, w []float32, woff []int, bias []float32, start float32) bool {
	f := k.gemm.Features()
	if !f.AVX2 && !f.AVX512 {
		return false
	}
	n := len(y) / c
	reachWindows(c, n, x, step, off, w, woff, bias)
	xp, wp, bp := unsafe.SliceData(x.F32), unsafe.SliceData(w), unsafe.SliceData(bias)
	op, wo := unsafe.SliceData(off), unsafe.SliceData(woff)
	if bias == nil {
		bp = nil
	}
	run := weighWindowsY
	xstep := 4 * step
	if x.BF16 != nil {
		xp, xstep = (*float32)(unsafe.Pointer(unsafe.SliceData(x.BF16))), 2*step
	}
	switch {
	case x.BF16 != nil && kind == Max:
		run = maxHalvesZ
	case x.BF16 != nil && kind == Average:
		run = addHalvesZ
	case x.BF16 != nil:
		run = weighHalvesZ
	case kind == Max && f.AVX512:
		run = maxWindowsZ
	case kind == Max:
		run = maxWindowsY
	case kind == Average && f.AVX512:
		run = addWindowsZ
	case kind == Average:
		run = addWindowsY
	case f.AVX512:
		run = weighWindowsZ
	}
	run(&y[0], n, 4*c, xp, xstep, op, len(off), wp, wo, bp, start, 4*c, &lanes[8])
	return true
}

// foldsHalves reports whether fold takes images in bf16.
func (k *Kernels) foldsHalves() bool { return k.gemm.Features().AVX512 }

//go:noescape
func weighHalvesZ(y *float32, n, bytes int, x *float32, xstep int, off *int, taps int, w *float32, woff *int, bias *float32, start float32, ystep int, mask *int32)

//go:noescape
func addHalvesZ(y *float32, n, bytes int, x *float32, xstep int, off *int, taps int, w *float32, woff *int, bias *float32, start float32, ystep int, mask *int32)

//go:noescape
func maxHalvesZ(y *float32, n, bytes int, x *float32, xstep int, off *int, taps int, w *float32, woff *int, bias *float32, start float32, ystep int, mask *int32)

//go:noescape
func weighWindowsZ(y *float32, n, bytes int, x *float32, xstep int, off *int, taps int, w *float32, woff *int, bias *float32, start float32, ystep int, mask *int32)

//go:noescape
func weighWindowsY(y *float32, n, bytes int, x *float32, xstep int, off *int, taps int, w *float32, woff *int, bias *float32, start float32, ystep int, mask *int32)

//go:noescape
func addWindowsZ(y *float32, n, bytes int, x *float32, xstep int, off *int, taps int, w *float32, woff *int, bias *float32, start float32, ystep int, mask *int32)

//go:noescape
func addWindowsY(y *float32, n, bytes int, x *float32, xstep int, off *int, taps int, w *float32, woff *int, bias *float32, start float32, ystep int, mask *int32)

//go:noescape
func maxWindowsZ(y *float32, n, bytes int, x *float32, xstep int, off *int, taps int, w *float32, woff *int, bias *float32, start float32, ystep int, mask *int32)

//go:noescape
func maxWindowsY(y *float32, n, bytes int, x *float32, xstep int, off *int, taps int, w *float32, woff *int, bias *float32, start float32, ystep int, mask *int32)
