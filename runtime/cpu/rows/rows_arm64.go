package rows

//go:generate go run ./gen

func (k *Kernels) addVector(dst, x, y []float32) bool {
	if !k.feat.NEON {
		return false
	}
	addV(&dst[0], len(dst), &x[0], &y[0])
	return true
}

func (k *Kernels) sumVector(x []float32) (float32, bool) {
	if !k.feat.NEON {
		return 0, false
	}
	return sumV(&x[0], len(x)), true
}

func (k *Kernels) squaresVector(x []float32, mean float32) (float32, bool) {
	if !k.feat.NEON {
		return 0, false
	}
	return squaresV(&x[0], len(x), mean), true
}

func (k *Kernels) affineVector(dst, x []float32, mean, factor float32, scale, bias []float32) bool {
	if !k.feat.NEON {
		return false
	}
	affineV(&dst[0], len(dst), &x[0], mean, factor, &scale[0], &bias[0])
	return true
}

func (k *Kernels) topVector(x []float32, floor float32) (float32, bool) {
	if !k.feat.NEON {
		return 0, false
	}
	return topV(&x[0], len(x), floor), true
}

func (k *Kernels) expSumVector(x []float32, top float32) (float32, bool) {
	if !k.feat.NEON {
		return 0, false
	}
	return expSumV(&x[0], len(x), top), true
}

func (k *Kernels) scaleVector(dst, x []float32, factor float32) bool {
	if !k.feat.NEON {
		return false
	}
	scaleV(&dst[0], len(dst), &x[0], factor)
	return true
}

func (k *Kernels) scaleMaxVector(x []float32, factor float32, add []float32, floor float32) (float32, bool) {
	switch {
	case !k.feat.NEON:
		return 0, false
	case add == nil:
		return scaleMaxV(&x[0], len(x), factor, floor), true
	}
	return scaleAddMaxV(&x[0], len(x), factor, floor, &add[0]), true
}

// selectMaxVector does whole vectors and says how many elements they were.
func (k *Kernels) selectMaxVector(x []float32, keep []bool, factor, fill, floor float32) (top float32, done int) {
	if !k.feat.NEON || len(x) < 4 {
		return floor, 0
	}
	done = len(x) &^ 3
	return selectMaxV(&x[0], done, &keep[0], factor, fill, floor), done
}

// transposeVector does the whole blocks of 4 rows and 4 columns that begin at (0, 0).
func (k *Kernels) transposeVector(dst []float32, dstStride int, src []float32, srcStride, rows, cols int) (r, c int) {
	if !k.feat.NEON || rows < 4 || cols < 4 {
		return 0, 0
	}
	r, c = rows&^3, cols&^3
	for i := 0; i < r; i += 4 {
		transpose4(&dst[i], 4*dstStride, &src[i*srcStride], 4*srcStride, c/4)
	}
	return r, c
}

// expSumRowsVector: only kernels that multiply in bf16 need it, which arm64 has none of.
func (k *Kernels) expSumRowsVector([]uint32, int, []float32, int, int, []float32, []float32) bool {
	return false
}

func (k *Kernels) scaleMaxRowsVector([]float32, int, int, float32, []float32, int, []float32) bool {
	return false
}

func (k *Kernels) scaleRowsVector([]float32, int, []float32, int, []float32, int) bool { return false }

// The loops; see gen.

//go:noescape
func addV(dst *float32, n int, x, y *float32)

//go:noescape
func sumV(x *float32, n int) float32

//go:noescape
func squaresV(x *float32, n int, mean float32) float32

//go:noescape
func affineV(dst *float32, n int, x *float32, mean, factor float32, scale, bias *float32)

//go:noescape
func topV(x *float32, n int, floor float32) float32

//go:noescape
func expSumV(x *float32, n int, top float32) float32

//go:noescape
func scaleV(dst *float32, n int, x *float32, factor float32)

//go:noescape
func scaleMaxV(x *float32, n int, factor, floor float32) float32

//go:noescape
func scaleAddMaxV(x *float32, n int, factor, floor float32, add *float32) float32

//go:noescape
func selectMaxV(x *float32, n int, keep *bool, factor, fill, floor float32) float32

//go:noescape
func transpose4(dst *float32, dstStride int, src *float32, srcStride, n int)

func (k *Kernels) momentsVector([]float32, []float32, []float32, []float32, int) bool { return false }

func (k *Kernels) affineColumnsVector([]float32, []float32, []float32, []float32, []float32, int) bool {
	return false
}

func (k *Kernels) dotsVector([]float32, []float32, []float32, int) bool { return false }

func (k *Kernels) weighVector([]float32, []float32, []float32, int) bool { return false }
