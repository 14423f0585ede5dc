package act

//go:generate go run ./gen

// vector applies k with NEON, if the features allow.
func (ks *Kernels) vector(k Kind, x []float32, gate float32) bool {
	if !ks.feat.NEON {
		return false
	}
	p, n := &x[0], len(x)
	switch k {
	case Identity:
		identityV(p, n, gate)
	case Relu:
		reluV(p, n, gate)
	case Gelu:
		geluV(p, n, gate)
	case GeluTanh:
		geluTanhV(p, n, gate)
	case Silu:
		siluV(p, n, gate)
	case Sigmoid:
		sigmoidV(p, n, gate)
	case Tanh:
		tanhV(p, n, gate)
	case Relu6:
		relu6V(p, n, gate)
	case HardSwish:
		hardSwishV(p, n, gate)
	case QuickGelu:
		quickGeluV(p, n, gate)
	case Relu2:
		relu2V(p, n, gate)
	default:
		return false
	}
	return true
}

func (ks *Kernels) addVector(x, y []float32) bool {
	if !ks.feat.NEON {
		return false
	}
	addV(&x[0], len(x), &y[0])
	return true
}

func (ks *Kernels) mulVector(x, y []float32) bool {
	if !ks.feat.NEON {
		return false
	}
	mulV(&x[0], len(x), &y[0])
	return true
}

func (ks *Kernels) expVector(x []float32) bool {
	if !ks.feat.NEON {
		return false
	}
	expV(&x[0], len(x), 1)
	return true
}

func (ks *Kernels) axpyVector(x []float32, a float32, y []float32) bool {
	if !ks.feat.NEON {
		return false
	}
	axpyV(&x[0], len(x), &y[0], a)
	return true
}

// The loops; see gen.

//go:noescape
func identityV(x *float32, n int, gate float32)

//go:noescape
func reluV(x *float32, n int, gate float32)

//go:noescape
func geluV(x *float32, n int, gate float32)

//go:noescape
func geluTanhV(x *float32, n int, gate float32)

//go:noescape
func siluV(x *float32, n int, gate float32)

//go:noescape
func sigmoidV(x *float32, n int, gate float32)

//go:noescape
func tanhV(x *float32, n int, gate float32)

//go:noescape
func relu6V(x *float32, n int, gate float32)

//go:noescape
func hardSwishV(x *float32, n int, gate float32)

//go:noescape
func quickGeluV(x *float32, n int, gate float32)

//go:noescape
func relu2V(x *float32, n int, gate float32)

//go:noescape
func expV(x *float32, n int, gate float32)

//go:noescape
func addV(x *float32, n int, y *float32)

//go:noescape
func mulV(x *float32, n int, y *float32)

//go:noescape
func axpyV(x *float32, n int, y *float32, a float32)
