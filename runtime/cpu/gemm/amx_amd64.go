package gemm

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
)

// AMX multiplies tiles of 16 rows: 1024 operations a cycle in bf16, 2048 in int8,
// sixteen and thirty-two times what FMA does in f32. The panels are in its order as
// they are: a row of a B tile is a step of 16 columns.

const (
	amxRows = 32 // rows of C at a time: two tiles
	// amxBlocks is the most times so many rows that a kernel goes through by itself.
	amxBlocks = 16
	// amxKTile is the number of steps of a k tile: 64 bytes of a row of A.
	amxKTile = 16
)

// Flags of amxTile beside accumulate.
const (
	amxDirect = 2 // rows of C are at one stride and panels whole: load tiles from them
	amxStore  = 4 // the same, and no bound: store tiles to them
	amxWiden  = 8 // rows of the residual are bf16
)

// amxKernel says which kernel: rows of tiles, tiles per panel and panels at a time; then
// the precision, the activation and the form of the result.
type amxKernel uint16

const (
	amx2x2p1 amxKernel = iota
	amx2x1p1
	amx1x2p2
	amx1x2p1
	amx1x1p1
	amx2x1p2
	amx1x1p2

	amxInt8      amxKernel = 1 << 3
	amxGelu      amxKernel = 1 << 4
	amxSilu      amxKernel = 1 << 5
	amxHalf      amxKernel = 1 << 6
	amxGated     amxKernel = 1 << 7
	amxResidual  amxKernel = 1 << 8
	amxHardSwish amxKernel = 1 << 9
	amxRelu6     amxKernel = 1 << 10
	amxPiped     amxKernel = 1 << 11
)

// amxTile is the argument of the tile kernels: rows of A times consecutive panels of B
// into rows of C.
//
//lint:file-ignore U1000 some fields are the kernels' alone
type amxTile struct {
	cfg     [64]byte                            // shapes of the tiles for whole k tiles
	cfgTail [64]byte                            // and for the rest of k
	scratch [2][amxRows * layout.NR]float32     // sums of the panel at hand and of the one before
	a       [amxBlocks][2]unsafe.Pointer        // rows 0 and 16 of A at the first step, of each block
	as      uintptr                             // bytes from row to row
	jumps   unsafe.Pointer                      // bytes from the end of each stretch of k to the next one's start
	spans   uintptr                             // stretches beside the first
	span    uintptr                             // of them done
	c       [amxBlocks * amxRows]unsafe.Pointer // rows of C at column off/4; of bf16, where that is the result
	start   unsafe.Pointer                      // the first of them and the bytes from row to row, for amxDirect
	cs      uintptr
	b       unsafe.Pointer                      // first panel at the first step
	bp      uintptr                             // bytes from panel to panel
	n       uintptr                             // panels
	k       uintptr                             // k tiles of the first shape
	off     uintptr                             // bytes into rows of C, bias, scale and corr
	boff    uintptr                             // bytes into B
	r       [amxBlocks * amxRows]unsafe.Pointer // rows of the residual at column off/4, of f32 or bf16, or of minus zeros
	rows    uintptr                             // of a block
	blocks  uintptr
	block   uintptr    // at hand
	first   uintptr    // row of C that the panel before begins with
	offs    [3]uintptr // off, boff and n to begin a block with
	slot    uintptr    // bytes into scratch of the panel at hand
	left    uintptr    // rows of the panel before
	bias    unsafe.Pointer
	scale   unsafe.Pointer
	corr    unsafe.Pointer
	sa      [amxRows]float32
	za      [amxRows]uint32
	lo      float32
	flags   uint32
	gate    [amxRows]float32
	mask    uint32 // columns of the last panel, one bit each
	maskUp  uint32 // the same up to whole words of two bf16
	tail    uint32 // whether a k tile of the second shape follows

	used int       // rows of c and r
	none []float32 // minus zeros: a bias or a residual that is not there
	jump []int64

	shape  amxShape // that cfg and cfgTail hold
	gather []uint32 // rows of A that an index list picks
}

// amxShape is what a tile configuration depends on.
type amxShape struct{ rows, rt, ct, p, first, tail int }

// release forgets what t pointed at.
func (t *amxTile) release() {
	t.b, t.bias, t.scale, t.corr, t.start, t.jumps = nil, nil, nil, nil, nil, nil
	clear(t.a[:])
	clear(t.c[:t.used])
	clear(t.r[:t.used])
	t.used = 0
}

// tileState takes a tile from those kept, or makes one.
func (k *Kernels) tileState() *amxTile {
	select {
	case t := <-k.tiles:
		return t
	default:
		return new(amxTile)
	}
}

func (k *Kernels) keepTile(t *amxTile) {
	t.release()
	select {
	case k.tiles <- t:
	default:
	}
}

// configure writes the tile shapes for LDTILECFG: a palette, then bytes per row of each
// tile, then rows of each. Tiles hold C, then A, then B, as the kernels use them.
func (t *amxTile) configure(s amxShape) {
	if t.shape == s {
		return
	}
	t.shape = s
	for i, cfg := range []*[64]byte{&t.cfg, &t.cfgTail} {
		steps := s.first
		if i == 1 {
			steps = s.tail
		}
		*cfg = [64]byte{0: 1}
		set := func(tile, rows, bytes int) { cfg[16+2*tile], cfg[48+tile] = byte(bytes), byte(rows) }
		cols := s.ct * s.p
		for r := range s.rt {
			rows := min(16, s.rows-16*r)
			for c := range cols {
				set(r*cols+c, rows, 64)
			}
			if steps > 0 {
				set(s.rt*cols+r, rows, 4*steps)
			}
		}
		for b := s.rt * (cols + 1); b < 8 && steps > 0; b++ {
			set(b, steps, 64)
		}
	}
}
