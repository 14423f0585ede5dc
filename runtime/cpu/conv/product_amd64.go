package conv

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
)

// productFunc is a kernel of product_amd64.s; see gen/product.go. The last three words are
// room for it.
type productFunc func(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart int, _, _, _ int)

// products are the kernels by rows less one: for a half panel, a whole one, and two.
var products = [maxRows][3]productFunc{
	{product1x16, product1x32, product1x64},
	{product2x16, product2x32, product2x64},
	{product3x16, product3x32, product3x64},
	{product4x16, product4x32, product4x64},
	{product5x16, product5x32, product5x64},
	{product6x16, product6x32, product6x64},
	{product7x16, product7x32, nil},
	{product8x16, product8x32, nil},
	{product9x16, product9x32, nil},
	{product10x16, product10x32, nil},
	{product11x16, product11x32, nil},
	{product12x16, product12x32, nil},
}

// tiles multiplies with AVX-512, if the CPU has it: it is the product of p.
func (k *Kernels) tiles(p *product) bool {
	if !k.gemm.Features().AVX512 {
		return false
	}
	kind, width, most := 1, layout.NR, maxRows
	switch {
	case p.apart > 0:
		kind, width, most = 2, 2*layout.NR, maxRows/2
	case p.half:
		kind, width = 0, layout.NR/2
	}
	mask := uint(1)<<p.width - 1
	after := 0
	switch p.after {
	case act.Relu:
		after = 1
	case act.Relu6:
		after = 2
	case act.HardSwish:
		after = 3
	}
	n := len(p.index)
	// Few pixels are more tiles than need be: each fetches a part of the next weights.
	count := max((n+most-1)/most, min(4, n/4))
	rows := (n + count - 1) / count
	// The first tiles have so many rows, the others one less.
	first := n - (rows-1)*count
	lastSpan := p.spans[len(p.spans)-1]
	end := (n-1)*p.ystride + p.width - 1
	_ = p.x[int(p.index[n-1])*p.stride+lastSpan.at/4+lastSpan.n-1]
	_ = p.y[end]
	steps := 0
	for _, s := range p.spans {
		steps += s.n
	}
	row := min(width, layout.NR) // of a panel
	_ = p.b[p.apart+steps*row-1]
	var bias, residual *float32
	if p.bias != nil {
		bias = &p.bias[:p.width][0]
	}
	if p.residual != nil {
		_ = p.residual[end]
	}
	next := &p.b[min(steps*row, len(p.b)-1)]
	at := 0
	for _, t := range [2][2]int{{rows, first}, {rows - 1, count - first}} {
		if t[0] == 0 || t[1] == 0 {
			continue
		}
		if p.residual != nil {
			residual = &p.residual[at*p.ystride]
		}
		products[t[0]-1][kind](&p.x[0], 4*p.stride, &p.index[at], unsafe.SliceData(p.spans), len(p.spans), &p.b[0],
			&p.y[at*p.ystride], 4*p.ystride, bias, residual, after, mask, t[1], next, 4*p.apart, 0, 0, 0)
		at += t[0] * t[1]
	}
	return true
}

// The kernels; see gen.

//go:noescape
func product1x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product1x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product1x64(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product2x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product2x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product2x64(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product3x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product3x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product3x64(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product4x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product4x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product4x64(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product5x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product5x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product5x64(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product6x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product6x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product6x64(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product7x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product7x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product8x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product8x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product9x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product9x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product10x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product10x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product11x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product11x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product12x16(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)

//go:noescape
func product12x32(x *float32, stride int, index *int32, spans *span, count int, b *float32, y *float32, ystride int, bias, residual *float32, after int, mask uint, tiles int, next *float32, apart, span, left, end int)
