package gemm

import "github.com/seed-c851cfd2/moec/codegen/plan/layout"

// runF32 dispatches to the AVX-512 kernel of size rows.
func runF32(t *tile, size, nr int, whole bool) {
	if nr != layout.NR {
		switch size {
		case 1:
			f32Z1x1(t)
		case 2:
			f32Z2x1(t)
		case 4:
			f32Z4x1(t)
		case 6:
			f32Z6x1(t)
		case 8:
			f32Z8x1(t)
		case 10:
			f32Z10x1(t)
		default:
			f32Z12x1(t)
		}
		return
	}
	rest := t.n
	switch size {
	case 1:
		if t.n, rest = groups(rest, 4, whole); t.n > 0 {
			f32Z1x2p4(t)
		}
	case 2:
		if t.n, rest = groups(rest, 4, whole); t.n > 0 {
			f32Z2x2p4(t)
		}
	case 4:
		if t.n, rest = groups(rest, 3, whole); t.n > 0 {
			f32Z4x2p3(t)
		}
	case 6:
		if t.n, rest = groups(rest, 2, whole); t.n > 0 {
			f32Z6x2p2(t)
		}
	}
	if t.n = rest; rest > 0 {
		switch size {
		case 1:
			f32Z1x2(t)
		case 2:
			f32Z2x2(t)
		case 4:
			f32Z4x2(t)
		case 6:
			f32Z6x2(t)
		case 8:
			f32Z8x2(t)
		case 10:
			f32Z10x2(t)
		default:
			if t.flags&stream != 0 {
				f32Z12x2s(t)
				return
			}
			f32Z12x2(t)
		}
	}
}

// runBF16 dispatches to the AVX-512 kernel of size rows.
func runBF16(t *tile, size, nr int, whole bool) {
	if nr != layout.NR {
		switch size {
		case 1:
			bf16Z1x1(t)
		case 2:
			bf16Z2x1(t)
		case 4:
			bf16Z4x1(t)
		case 6:
			bf16Z6x1(t)
		case 8:
			bf16Z8x1(t)
		case 10:
			bf16Z10x1(t)
		default:
			bf16Z12x1(t)
		}
		return
	}
	rest := t.n
	switch size {
	case 1:
		if t.n, rest = groups(rest, 4, whole); t.n > 0 {
			bf16Z1x2p4(t)
		}
	case 2:
		if t.n, rest = groups(rest, 4, whole); t.n > 0 {
			bf16Z2x2p4(t)
		}
	case 4:
		if t.n, rest = groups(rest, 3, whole); t.n > 0 {
			bf16Z4x2p3(t)
		}
	case 6:
		if t.n, rest = groups(rest, 2, whole); t.n > 0 {
			bf16Z6x2p2(t)
		}
	}
	if t.n = rest; rest > 0 {
		switch size {
		case 1:
			bf16Z1x2(t)
		case 2:
			bf16Z2x2(t)
		case 4:
			bf16Z4x2(t)
		case 6:
			bf16Z6x2(t)
		case 8:
			bf16Z8x2(t)
		case 10:
			bf16Z10x2(t)
		default:
			if t.flags&stream != 0 {
				bf16Z12x2s(t)
				return
			}
			bf16Z12x2(t)
		}
	}
}

// runWide dispatches to the AVX-512 kernel of size rows.
func runWide(t *tile, size, nr int, whole bool) {
	if nr != layout.NR {
		switch size {
		case 1:
			wideZ1x1(t)
		case 2:
			wideZ2x1(t)
		case 4:
			wideZ4x1(t)
		case 6:
			wideZ6x1(t)
		case 8:
			wideZ8x1(t)
		case 10:
			wideZ10x1(t)
		default:
			wideZ12x1(t)
		}
		return
	}
	rest := t.n
	switch size {
	case 1:
		if t.n, rest = groups(rest, 4, whole); t.n > 0 {
			wideZ1x2p4(t)
		}
	case 2:
		if t.n, rest = groups(rest, 4, whole); t.n > 0 {
			wideZ2x2p4(t)
		}
	case 4:
		if t.n, rest = groups(rest, 2, whole); t.n > 0 {
			wideZ4x2p2(t)
		}
	}
	if t.n = rest; rest > 0 {
		switch size {
		case 1:
			wideZ1x2(t)
		case 2:
			wideZ2x2(t)
		case 4:
			wideZ4x2(t)
		case 6:
			wideZ6x2(t)
		case 8:
			wideZ8x2(t)
		case 10:
			wideZ10x2(t)
		default:
			if t.flags&stream != 0 {
				wideZ12x2s(t)
				return
			}
			wideZ12x2(t)
		}
	}
}

// runI8 dispatches to the AVX-512 kernel of size rows.
func runI8(t *tile, size, nr int, whole bool) {
	if nr != layout.NR {
		switch size {
		case 1:
			i8Z1x1(t)
		case 2:
			i8Z2x1(t)
		case 4:
			i8Z4x1(t)
		case 6:
			i8Z6x1(t)
		case 8:
			i8Z8x1(t)
		case 10:
			i8Z10x1(t)
		default:
			i8Z12x1(t)
		}
		return
	}
	rest := t.n
	switch size {
	case 1:
		if t.n, rest = groups(rest, 4, whole); t.n > 0 {
			i8Z1x2p4(t)
		}
	case 2:
		if t.n, rest = groups(rest, 4, whole); t.n > 0 {
			i8Z2x2p4(t)
		}
	case 4:
		if t.n, rest = groups(rest, 3, whole); t.n > 0 {
			i8Z4x2p3(t)
		}
	case 6:
		if t.n, rest = groups(rest, 2, whole); t.n > 0 {
			i8Z6x2p2(t)
		}
	}
	if t.n = rest; rest > 0 {
		switch size {
		case 1:
			i8Z1x2(t)
		case 2:
			i8Z2x2(t)
		case 4:
			i8Z4x2(t)
		case 6:
			i8Z6x2(t)
		case 8:
			i8Z8x2(t)
		case 10:
			i8Z10x2(t)
		default:
			if t.flags&stream != 0 {
				i8Z12x2s(t)
				return
			}
			i8Z12x2(t)
		}
	}
}

// runF32Y dispatches to the AVX2 kernel of size rows.
func runF32Y(t *tile, size int) {
	switch size {
	case 1:
		f32Y1(t)
	case 2:
		f32Y2(t)
	case 4:
		f32Y4(t)
	default:
		f32Y6(t)
	}
}

// runWideY dispatches to the AVX2 kernel of size rows.
func runWideY(t *tile, size int) {
	switch size {
	case 1:
		wideY1(t)
	case 2:
		wideY2(t)
	case 4:
		wideY4(t)
	default:
		wideY6(t)
	}
}

// runI8Y dispatches to the AVX2 kernel of size rows.
func runI8Y(t *tile, size int) {
	switch size {
	case 1:
		i8Y1(t)
	case 2:
		i8Y2(t)
	default:
		i8Y4(t)
	}
}

// The micro-kernels; see gen.

//go:noescape
func f32Z1x1(t *tile)

//go:noescape
func f32Z1x2(t *tile)

//go:noescape
func f32Z2x1(t *tile)

//go:noescape
func f32Z2x2(t *tile)

//go:noescape
func f32Z4x1(t *tile)

//go:noescape
func f32Z4x2(t *tile)

//go:noescape
func f32Z6x1(t *tile)

//go:noescape
func f32Z6x2(t *tile)

//go:noescape
func f32Z8x1(t *tile)

//go:noescape
func f32Z8x2(t *tile)

//go:noescape
func f32Z10x1(t *tile)

//go:noescape
func f32Z10x2(t *tile)

//go:noescape
func f32Z12x1(t *tile)

//go:noescape
func f32Z12x2(t *tile)

//go:noescape
func f32Z12x2s(t *tile)

//go:noescape
func f32Z1x2p4(t *tile)

//go:noescape
func f32Z2x2p4(t *tile)

//go:noescape
func f32Z4x2p3(t *tile)

//go:noescape
func f32Z6x2p2(t *tile)

//go:noescape
func bf16Z1x1(t *tile)

//go:noescape
func bf16Z1x2(t *tile)

//go:noescape
func bf16Z2x1(t *tile)

//go:noescape
func bf16Z2x2(t *tile)

//go:noescape
func bf16Z4x1(t *tile)

//go:noescape
func bf16Z4x2(t *tile)

//go:noescape
func bf16Z6x1(t *tile)

//go:noescape
func bf16Z6x2(t *tile)

//go:noescape
func bf16Z8x1(t *tile)

//go:noescape
func bf16Z8x2(t *tile)

//go:noescape
func bf16Z10x1(t *tile)

//go:noescape
func bf16Z10x2(t *tile)

//go:noescape
func bf16Z12x1(t *tile)

//go:noescape
func bf16Z12x2(t *tile)

//go:noescape
func bf16Z12x2s(t *tile)

//go:noescape
func bf16Z1x2p4(t *tile)

//go:noescape
func bf16Z2x2p4(t *tile)

//go:noescape
func bf16Z4x2p3(t *tile)

//go:noescape
func bf16Z6x2p2(t *tile)

//go:noescape
func wideZ1x1(t *tile)

//go:noescape
func wideZ1x2(t *tile)

//go:noescape
func wideZ2x1(t *tile)

//go:noescape
func wideZ2x2(t *tile)

//go:noescape
func wideZ4x1(t *tile)

//go:noescape
func wideZ4x2(t *tile)

//go:noescape
func wideZ6x1(t *tile)

//go:noescape
func wideZ6x2(t *tile)

//go:noescape
func wideZ8x1(t *tile)

//go:noescape
func wideZ8x2(t *tile)

//go:noescape
func wideZ10x1(t *tile)

//go:noescape
func wideZ10x2(t *tile)

//go:noescape
func wideZ12x1(t *tile)

//go:noescape
func wideZ12x2(t *tile)

//go:noescape
func wideZ12x2s(t *tile)

//go:noescape
func wideZ1x2p4(t *tile)

//go:noescape
func wideZ2x2p4(t *tile)

//go:noescape
func wideZ4x2p2(t *tile)

//go:noescape
func i8Z1x1(t *tile)

//go:noescape
func i8Z1x2(t *tile)

//go:noescape
func i8Z2x1(t *tile)

//go:noescape
func i8Z2x2(t *tile)

//go:noescape
func i8Z4x1(t *tile)

//go:noescape
func i8Z4x2(t *tile)

//go:noescape
func i8Z6x1(t *tile)

//go:noescape
func i8Z6x2(t *tile)

//go:noescape
func i8Z8x1(t *tile)

//go:noescape
func i8Z8x2(t *tile)

//go:noescape
func i8Z10x1(t *tile)

//go:noescape
func i8Z10x2(t *tile)

//go:noescape
func i8Z12x1(t *tile)

//go:noescape
func i8Z12x2(t *tile)

//go:noescape
func i8Z12x2s(t *tile)

//go:noescape
func i8Z1x2p4(t *tile)

//go:noescape
func i8Z2x2p4(t *tile)

//go:noescape
func i8Z4x2p3(t *tile)

//go:noescape
func i8Z6x2p2(t *tile)

//go:noescape
func f32Y1(t *tile)

//go:noescape
func f32Y2(t *tile)

//go:noescape
func f32Y4(t *tile)

//go:noescape
func f32Y6(t *tile)

//go:noescape
func wideY1(t *tile)

//go:noescape
func wideY2(t *tile)

//go:noescape
func wideY4(t *tile)

//go:noescape
func wideY6(t *tile)

//go:noescape
func i8Y1(t *tile)

//go:noescape
func i8Y2(t *tile)

//go:noescape
func i8Y4(t *tile)
