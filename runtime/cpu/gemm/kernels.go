// Package gemm multiplies matrices: activations by packed weights (f32, bf16 and
// int8) and activations by activations (f32).
//
// The picture: C is cut into tiles of up to 12 rows by 32 columns. A micro-kernel
// holds one tile in registers, walks k once, broadcasting four bytes of each row
// of A per step against a panel row of B, and goes on to the next panel with the
// same rows. So B streams from L2 while the rows of A stay in L1, and rows of A
// and C are given by pointer: strided, or picked by an index list, no copy.
//
// Every element of C is one chain of multiply-adds over ascending k that starts
// from C (when accumulating), the bias or zero. No tile size, cut of k, thread
// count or neighbouring row enters it, so its bits depend on its own row of A and
// column of B alone (per instruction set; int8 rows also on their own scale).
//
// Scratch comes from the caller. Nothing here allocates but the states of tile kernels,
// which are kept from run to run.
package gemm

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// Kernels is a set of micro-kernels for the features of a CPU. It is safe for concurrent
// use.
type Kernels struct {
	feat   isa.Features
	act    *act.Kernels
	serial float64       // seconds of work up to which one thread does it alone
	tiles  chan *amxTile // kept from run to run: a block takes one while it runs
}

// New picks the kernels that f allows.
func New(f isa.Features) *Kernels {
	k := &Kernels{feat: f, act: act.New(f), serial: serialTime}
	if f.AMX {
		k.tiles = make(chan *amxTile, maxTiles)
	}
	return k
}

// maxTiles bounds the tile states kept, 5 KB each and what gathers needed.
const maxTiles = 64

// Features returns what the kernels were picked for.
func (k *Kernels) Features() isa.Features { return k.feat }

// Act returns the activation kernels of the same features.
func (k *Kernels) Act() *act.Kernels { return k.act }

// Rows names rows of a row-major f32 matrix: row i starts at element i*Stride of
// Data, or at Index[i]*Stride where an index list is given.
type Rows struct {
	Data   []float32
	Stride int
	Index  []int32
}

// At is the offset in Data of row i.
func (r Rows) At(i int) int {
	if r.Index != nil {
		i = int(r.Index[i])
	}
	return i * r.Stride
}

// From drops the first i rows.
func (r Rows) From(i int) Rows {
	switch {
	case i == 0:
	case r.Index != nil:
		r.Index = r.Index[i:]
	default:
		r.Data = r.Data[min(i*r.Stride, len(r.Data)):]
	}
	return r
}

// variant is the family of micro-kernels that a precision runs on.
type variant uint8

const (
	portable variant = iota
	avx2
	avx512
	avx512dot // VDPBF16PS or VPDPBUSD
	amx       // TDPBF16PS or TDPBUSD
	neon
	neonDot // SDOT
)

func (k *Kernels) variant(p layout.Precision) variant {
	switch {
	case p != layout.F32 && k.feat.AMX:
		return amx
	case p == layout.I8 && k.feat.VNNI, p == layout.BF16 && k.feat.BF16:
		return avx512dot
	case p != layout.I8 && k.feat.AVX512:
		return avx512
	case k.feat.AVX2:
		return avx2
	case p == layout.I8 && k.feat.Dot:
		return neonDot
	case k.feat.NEON:
		return neon
	}
	return portable
}

// Variant names the family of micro-kernels that products with matrices of
// precision p run on, for reports.
func (k *Kernels) Variant(p layout.Precision) string {
	return [...]string{"portable", "avx2", "avx512", "avx512dot", "amx", "neon", "neondot"}[k.variant(p)]
}
