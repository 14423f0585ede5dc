package act

//go:generate go run ./gen

// lanes is a mask of 8 set lanes and 8 clear ones; &lanes[8] less 4n bytes is the
// start of a mask of n lanes.
var lanes = [16]int32{-1, -1, -1, -1, -1, -1, -1, -1}

// vector applies k with AVX-512 or AVX2, if the features allow.
func (ks *Kernels) vector(k Kind, x []float32, gate float32) bool {
	p, n, mask := &x[0], len(x), &lanes[8]
	switch {
	case ks.feat.AVX512:
		switch k {
		case Identity:
			identityZ(p, n, gate)
		case Relu:
			reluZ(p, n, gate)
		case Gelu:
			geluZ(p, n, gate)
		case GeluTanh:
			geluTanhZ(p, n, gate)
		case Silu:
			siluZ(p, n, gate)
		case Sigmoid:
			sigmoidZ(p, n, gate)
		case Tanh:
			tanhZ(p, n, gate)
		case Relu6:
			relu6Z(p, n, gate)
		case HardSwish:
			hardSwishZ(p, n, gate)
		case QuickGelu:
			quickGeluZ(p, n, gate)
		case Relu2:
			relu2Z(p, n, gate)
		default:
			return false
		}
		return true
	case ks.feat.AVX2:
		switch k {
		case Identity:
			identityY(p, n, gate, mask)
		case Relu:
			reluY(p, n, gate, mask)
		case Gelu:
			geluY(p, n, gate, mask)
		case GeluTanh:
			geluTanhY(p, n, gate, mask)
		case Silu:
			siluY(p, n, gate, mask)
		case Sigmoid:
			sigmoidY(p, n, gate, mask)
		case Tanh:
			tanhY(p, n, gate, mask)
		case Relu6:
			relu6Y(p, n, gate, mask)
		case HardSwish:
			hardSwishY(p, n, gate, mask)
		case QuickGelu:
			quickGeluY(p, n, gate, mask)
		case Relu2:
			relu2Y(p, n, gate, mask)
		default:
			return false
		}
		return true
	}
	return false
}

func (ks *Kernels) addVector(x, y []float32) bool {
	switch {
	case ks.feat.AVX512:
		addZ(&x[0], len(x), &y[0])
	case ks.feat.AVX2:
		addY(&x[0], len(x), &y[0], &lanes[8])
	default:
		return false
	}
	return true
}

func (ks *Kernels) mulVector(x, y []float32) bool {
	switch {
	case ks.feat.AVX512:
		mulZ(&x[0], len(x), &y[0])
	case ks.feat.AVX2:
		mulY(&x[0], len(x), &y[0], &lanes[8])
	default:
		return false
	}
	return true
}

func (ks *Kernels) expVector(x []float32) bool {
	switch {
	case ks.feat.AVX512:
		expZ(&x[0], len(x), 1)
	case ks.feat.AVX2:
		expY(&x[0], len(x), 1, &lanes[8])
	default:
		return false
	}
	return true
}

func (ks *Kernels) axpyVector(x []float32, a float32, y []float32) bool {
	switch {
	case ks.feat.AVX512:
		axpyZ(&x[0], len(x), &y[0], a)
	case ks.feat.AVX2:
		axpyY(&x[0], len(x), &y[0], a, &lanes[8])
	default:
		return false
	}
	return true
}

// The loops; see gen.

//go:noescape
func identityZ(x *float32, n int, gate float32)

//go:noescape
func identityY(x *float32, n int, gate float32, mask *int32)

//go:noescape
func reluZ(x *float32, n int, gate float32)

//go:noescape
func reluY(x *float32, n int, gate float32, mask *int32)

//go:noescape
func geluZ(x *float32, n int, gate float32)

//go:noescape
func geluY(x *float32, n int, gate float32, mask *int32)

//go:noescape
func geluTanhZ(x *float32, n int, gate float32)

//go:noescape
func geluTanhY(x *float32, n int, gate float32, mask *int32)

//go:noescape
func siluZ(x *float32, n int, gate float32)

//go:noescape
func siluY(x *float32, n int, gate float32, mask *int32)

//go:noescape
func sigmoidZ(x *float32, n int, gate float32)

//go:noescape
func sigmoidY(x *float32, n int, gate float32, mask *int32)

//go:noescape
func tanhZ(x *float32, n int, gate float32)

//go:noescape
func tanhY(x *float32, n int, gate float32, mask *int32)

//go:noescape
func addZ(x *float32, n int, y *float32)

//go:noescape
func addY(x *float32, n int, y *float32, mask *int32)

//go:noescape
func mulZ(x *float32, n int, y *float32)

//go:noescape
func mulY(x *float32, n int, y *float32, mask *int32)

//go:noescape
func expZ(x *float32, n int, gate float32)

//go:noescape
func expY(x *float32, n int, gate float32, mask *int32)

//go:noescape
func axpyZ(x *float32, n int, y *float32, a float32)

//go:noescape
func axpyY(x *float32, n int, y *float32, a float32, mask *int32)

//go:noescape
func relu6Z(x *float32, n int, gate float32)

//go:noescape
func relu6Y(x *float32, n int, gate float32, mask *int32)

//go:noescape
func hardSwishZ(x *float32, n int, gate float32)

//go:noescape
func quickGeluZ(x *float32, n int, gate float32)

//go:noescape
func relu2Z(x *float32, n int, gate float32)

//go:noescape
func hardSwishY(x *float32, n int, gate float32, mask *int32)

//go:noescape
func quickGeluY(x *float32, n int, gate float32, mask *int32)

//go:noescape
func relu2Y(x *float32, n int, gate float32, mask *int32)
