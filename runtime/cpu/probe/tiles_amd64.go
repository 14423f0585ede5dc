package probe

import (
	"math/rand/v2"
	"runtime"
	"time"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/hugepage"
)

// tileLoop is the argument of the loops over tiles that are loaded.
//
//lint:file-ignore U1000 the loops read the fields
type tileLoop struct {
	cfg     [64]byte
	a, b, c unsafe.Pointer // 32 rows; panels of 32 columns; 4 KB of results per panel
	panels  int
	rounds  int
}

//go:noescape
func bf16L(t *tileLoop)

//go:noescape
func bf16LS(t *tileLoop)

//go:noescape
func i8L(t *tileLoop)

//go:noescape
func i8LS(t *tileLoop)

// The shape of the loops: k tiles of a panel, and panels of half a megabyte, which is what a
// product keeps in L2.
const (
	tileSteps  = 12
	tilePanels = 21
)

// LoadedTiles measures the rate of one thread's tile registers, as Peak does, where operands
// are loaded, rows from L1 and panels from L2, and results stored or not: what a product can
// reach at most. It is zero where f has no tiles.
func LoadedTiles(f isa.Features, p layout.Precision, store bool, d time.Duration) Rate {
	if !f.AMX || isa.TilesEmulated || p == layout.F32 {
		return Rate{}
	}
	const rows, panel = 32 * 64 * tileSteps, 16 * 128 * tileSteps
	mem := hugepage.Bytes(rows + tilePanels*(panel+4096) + 4096)
	mem = mem[-uintptr(unsafe.Pointer(unsafe.SliceData(mem)))&63:]
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range mem { // numbers of both signs around one; the power they draw lowers the clock
		mem[i] = byte(rng.Uint32())
		if i%2 == 1 && p == layout.BF16 {
			mem[i] = mem[i]&0x80 | 0x3f
		}
	}
	t := &tileLoop{cfg: *wholeTiles(), panels: tilePanels}
	t.a, t.b, t.c = unsafe.Pointer(&mem[0]), unsafe.Pointer(&mem[rows]), unsafe.Pointer(&mem[rows+tilePanels*panel])
	loop, ops := bf16L, 4*2*16*16*32.
	switch {
	case p == layout.I8 && store:
		loop, ops = i8LS, 2*ops
	case p == layout.I8:
		loop, ops = i8L, 2*ops
	case store:
		loop = bf16LS
	}
	rate := measure(1, d, func(_, n int) float64 {
		t.rounds = n
		loop(t)
		return float64(n) * tileSteps * ops
	})
	runtime.KeepAlive(mem)
	return rate
}
