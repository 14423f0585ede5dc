package rows

//go:generate go run ./gen

// lanes is a mask of 8 set lanes and 8 clear ones; &lanes[8] less 4n bytes is the start
// of a mask of n lanes.
var lanes = [16]int32{-1, -1, -1, -1, -1, -1, -1, -1}

func (k *Kernels) addVector(dst, x, y []float32) bool {
	switch {
	case k.feat.AVX512:
		addZ(&dst[0], len(dst), &x[0], &y[0], &lanes[8])
		return true
	case k.feat.AVX2:
		addY(&dst[0], len(dst), &x[0], &y[0], &lanes[8])
		return true
	}
	return false
}

func (k *Kernels) sumVector(x []float32) (float32, bool) {
	switch {
	case k.feat.AVX512:
		return sumZ(&x[0], len(x), &lanes[8]), true
	case k.feat.AVX2:
		return sumY(&x[0], len(x), &lanes[8]), true
	}
	return 0, false
}

func (k *Kernels) squaresVector(x []float32, mean float32) (float32, bool) {
	switch {
	case k.feat.AVX512:
		return squaresZ(&x[0], len(x), mean, &lanes[8]), true
	case k.feat.AVX2:
		return squaresY(&x[0], len(x), mean, &lanes[8]), true
	}
	return 0, false
}

func (k *Kernels) affineVector(dst, x []float32, mean, factor float32, scale, bias []float32) bool {
	switch {
	case k.feat.AVX512:
		affineZ(&dst[0], len(dst), &x[0], mean, factor, &scale[0], &bias[0], &lanes[8])
		return true
	case k.feat.AVX2:
		affineY(&dst[0], len(dst), &x[0], mean, factor, &scale[0], &bias[0], &lanes[8])
		return true
	}
	return false
}

func (k *Kernels) topVector(x []float32, floor float32) (float32, bool) {
	switch {
	case k.feat.AVX512:
		return topZ(&x[0], len(x), floor, &lanes[8]), true
	case k.feat.AVX2:
		return topY(&x[0], len(x), floor, &lanes[8]), true
	}
	return 0, false
}

func (k *Kernels) expSumVector(x []float32, top float32) (float32, bool) {
	switch {
	case k.feat.AVX512:
		return expSumZ(&x[0], len(x), top, &lanes[8]), true
	case k.feat.AVX2:
		return expSumY(&x[0], len(x), top, &lanes[8]), true
	}
	return 0, false
}

func (k *Kernels) scaleVector(dst, x []float32, factor float32) bool {
	switch {
	case k.feat.AVX512:
		scaleZ(&dst[0], len(dst), &x[0], factor, &lanes[8])
		return true
	case k.feat.AVX2:
		scaleY(&dst[0], len(dst), &x[0], factor, &lanes[8])
		return true
	}
	return false
}

func (k *Kernels) scaleMaxVector(x []float32, factor float32, add []float32, floor float32) (float32, bool) {
	switch {
	case k.feat.AVX512 && add == nil:
		return scaleMaxZ(&x[0], len(x), factor, floor, &lanes[8]), true
	case k.feat.AVX512:
		return scaleAddMaxZ(&x[0], len(x), factor, floor, &add[0], &lanes[8]), true
	case k.feat.AVX2 && add == nil:
		return scaleMaxY(&x[0], len(x), factor, floor, &lanes[8]), true
	case k.feat.AVX2:
		return scaleAddMaxY(&x[0], len(x), factor, floor, &add[0], &lanes[8]), true
	}
	return 0, false
}

// selectMaxVector does whole vectors and says how many elements they were.
func (k *Kernels) selectMaxVector(x []float32, keep []bool, factor, fill, floor float32) (top float32, done int) {
	switch {
	case k.feat.AVX512 && len(x) >= 16:
		done = len(x) &^ 15
		return selectMaxZ(&x[0], done, &keep[0], factor, fill, floor), done
	case k.feat.AVX2 && len(x) >= 8:
		done = len(x) &^ 7
		return selectMaxY(&x[0], done, &keep[0], factor, fill, floor), done
	}
	return floor, 0
}

// transposeVector does the whole blocks of 8 rows and 8 columns that begin at (0, 0).
func (k *Kernels) transposeVector(dst []float32, dstStride int, src []float32, srcStride, rows, cols int) (r, c int) {
	if !k.feat.AVX2 || rows < 8 || cols < 8 {
		return 0, 0
	}
	r, c = rows&^7, cols&^7
	for i := 0; i < r; i += 8 {
		transpose8(&dst[i], dstStride, &src[i*srcStride], srcStride, c/8)
	}
	return r, c
}

func (k *Kernels) expSumRowsVector(dst []uint32, dstStride int, x []float32, xStride, n int, top, sum []float32) bool {
	if !k.feat.BF16 {
		return false
	}
	expSumRowsZ(&dst[0], 4*dstStride, &x[0], 4*xStride, n, &top[0], &sum[0], len(top))
	return true
}

func (k *Kernels) scaleMaxRowsVector(x []float32, xStride, n int, factor float32, add []float32, addStride int, top []float32) bool {
	if !k.feat.AVX512 {
		return false
	}
	var row *float32
	if add != nil {
		row = &add[0]
	} else {
		addStride = 0 // so that the pointer stays nil
	}
	scaleMaxRowsZ(&x[0], 4*xStride, n, row, 4*addStride, &top[0], len(top), factor)
	return true
}

func (k *Kernels) scaleRowsVector(dst []float32, dstStride int, x []float32, xStride int, factor []float32, n int) bool {
	if !k.feat.AVX512 {
		return false
	}
	scaleRowsZ(&dst[0], 4*dstStride, &x[0], 4*xStride, &factor[0], len(factor), n)
	return true
}

func (k *Kernels) momentsVector(sum, squares, shift, x []float32, rows int) bool {
	switch {
	case k.feat.AVX512:
		momentsZ(&sum[0], &squares[0], &shift[0], &x[0], len(shift), rows, &lanes[8])
		return true
	case k.feat.AVX2:
		momentsY(&sum[0], &squares[0], &shift[0], &x[0], len(shift), rows, &lanes[8])
		return true
	}
	return false
}

func (k *Kernels) affineColumnsVector(dst, x, mean, factor, bias []float32, rows int) bool {
	switch {
	case k.feat.AVX512:
		affineColumnsZ(&dst[0], &x[0], &mean[0], &factor[0], &bias[0], len(mean), rows, &lanes[8])
		return true
	case k.feat.AVX2:
		affineColumnsY(&dst[0], &x[0], &mean[0], &factor[0], &bias[0], len(mean), rows, &lanes[8])
		return true
	}
	return false
}

func (k *Kernels) dotsVector(dst, q, keys []float32, stride int) bool {
	switch {
	case k.feat.AVX512:
		dotsZ(&dst[0], &q[0], &keys[0], 4*stride, len(dst), len(q), &lanes[8])
		return true
	case k.feat.AVX2:
		dotsY(&dst[0], &q[0], &keys[0], 4*stride, len(dst), len(q), &lanes[8])
		return true
	}
	return false
}

func (k *Kernels) weighVector(dst, p, x []float32, stride int) bool {
	switch {
	case k.feat.AVX512:
		weighZ(&dst[0], &p[0], &x[0], 4*stride, len(p), len(dst), &lanes[8])
		return true
	case k.feat.AVX2:
		weighY(&dst[0], &p[0], &x[0], 4*stride, len(p), len(dst), &lanes[8])
		return true
	}
	return false
}

//go:noescape
func expSumRowsZ(dst *uint32, dstStride int, x *float32, xStride, n int, top, sum *float32, rows int)

//go:noescape
func scaleMaxRowsZ(x *float32, xStride, n int, add *float32, addStride int, top *float32, rows int, factor float32)

//go:noescape
func scaleRowsZ(dst *float32, dstStride int, x *float32, xStride int, factor *float32, rows, n int)

// The loops; see gen. mask is read by the AVX2 versions only.

//go:noescape
func addZ(dst *float32, n int, x, y *float32, mask *int32)

//go:noescape
func addY(dst *float32, n int, x, y *float32, mask *int32)

//go:noescape
func sumZ(x *float32, n int, mask *int32) float32

//go:noescape
func sumY(x *float32, n int, mask *int32) float32

//go:noescape
func squaresZ(x *float32, n int, mean float32, mask *int32) float32

//go:noescape
func squaresY(x *float32, n int, mean float32, mask *int32) float32

//go:noescape
func affineZ(dst *float32, n int, x *float32, mean, factor float32, scale, bias *float32, mask *int32)

//go:noescape
func affineY(dst *float32, n int, x *float32, mean, factor float32, scale, bias *float32, mask *int32)

//go:noescape
func topZ(x *float32, n int, floor float32, mask *int32) float32

//go:noescape
func topY(x *float32, n int, floor float32, mask *int32) float32

//go:noescape
func expSumZ(x *float32, n int, top float32, mask *int32) float32

//go:noescape
func expSumY(x *float32, n int, top float32, mask *int32) float32

//go:noescape
func scaleZ(dst *float32, n int, x *float32, factor float32, mask *int32)

//go:noescape
func scaleY(dst *float32, n int, x *float32, factor float32, mask *int32)

//go:noescape
func scaleMaxZ(x *float32, n int, factor, floor float32, mask *int32) float32

//go:noescape
func scaleMaxY(x *float32, n int, factor, floor float32, mask *int32) float32

//go:noescape
func scaleAddMaxZ(x *float32, n int, factor, floor float32, add *float32, mask *int32) float32

//go:noescape
func scaleAddMaxY(x *float32, n int, factor, floor float32, add *float32, mask *int32) float32

//go:noescape
func selectMaxZ(x *float32, n int, keep *bool, factor, fill, floor float32) float32

//go:noescape
func selectMaxY(x *float32, n int, keep *bool, factor, fill, floor float32) float32

//go:noescape
func momentsZ(sum, squares, shift, x *float32, n, rows int, mask *int32)

//go:noescape
func momentsY(sum, squares, shift, x *float32, n, rows int, mask *int32)

//go:noescape
func affineColumnsZ(dst, x, mean, factor, bias *float32, n, rows int, mask *int32)

//go:noescape
func affineColumnsY(dst, x, mean, factor, bias *float32, n, rows int, mask *int32)

//go:noescape
func dotsZ(dst, q, k *float32, stride, n, d int, mask *int32)

//go:noescape
func dotsY(dst, q, k *float32, stride, n, d int, mask *int32)

//go:noescape
func weighZ(dst, p, x *float32, stride, rows, n int, mask *int32)

//go:noescape
func weighY(dst, p, x *float32, stride, rows, n int, mask *int32)

//go:noescape
func transpose8(dst *float32, dstStride int, src *float32, srcStride, n int)
