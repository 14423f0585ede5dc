package gemm

import (
	"math"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
)

// AMX multiplies tiles of 16 rows: 1024 operations a cycle in bf16, 2048 in int8,
// sixteen and thirty-two times what FMA does in f32. The panels are in its order as
// they are: a row of a B tile is a step of 16 columns.

const (
	amxRows = 32 // rows of C of a kernel call: two tiles
	// amxKTile is the number of steps of a k tile: 64 bytes of a row of A.
	amxKTile = 16
	// amxCut is the number of steps at a time when there are many rows and many more
	// steps: 32 rows of 768 bytes of A stay in L1 beside the panel that streams through.
	// Up to amxWhole steps a cut costs more, in passes over C, than it gains.
	amxCut   = 192
	amxWhole = 256
)

// Flags of amxTile beside accumulate.
const (
	amxLoadDirect  = 2 // rows of C are at one stride and whole: load tiles from them
	amxStoreDirect = 4 // the same, and no lower bound: store tiles to them
)

// amxTile is the argument of the tile kernels: rows of A times consecutive panels of B
// into rows of C.
type amxTile struct {
	cfg     [64]byte // shapes of the tiles for whole k tiles
	cfgTail [64]byte // and for the rest of k
	scratch [amxRows * layout.NR]float32
	a       unsafe.Pointer          // first row of A at the first step
	as      uintptr                 // bytes from row to row
	c       [amxRows]unsafe.Pointer // rows of C at column off/4
	cs      uintptr                 // bytes from row to row, for the direct modes
	b       unsafe.Pointer          // first panel at the first step
	bp      uintptr                 // bytes from panel to panel
	n       uintptr                 // panels
	k       uintptr                 // k tiles of the first shape
	off     uintptr                 // bytes into rows of C, bias, scale and corr
	boff    uintptr                 // bytes into B
	rows    uintptr
	bias    unsafe.Pointer
	scale   unsafe.Pointer
	corr    unsafe.Pointer
	sa      [amxRows]float32
	za      [amxRows]uint32
	lo      float32
	flags   uint32
	mask    uint32
	tail    uint32 // whether a k tile of the second shape follows

	shape  amxShape // that cfg and cfgTail hold
	gather []uint32 // rows of A that an index list picks
}

// amxShape is what a tile configuration depends on.
type amxShape struct{ rows, rt, ct, p, first, tail int }

// release forgets what t pointed at.
func (t *amxTile) release() {
	t.a, t.b, t.bias, t.scale, t.corr = nil, nil, nil, nil, nil
	clear(t.c[:])
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

// runAMX is Run on tiles.
func (k *Kernels) runAMX(b *Block) {
	t := k.tileState()
	defer k.keepTile(t)
	p := b.B.Precision
	per := p.PerStep()
	s0, s1 := b.K0/per, (b.K1+per-1)/per
	cut := max(1, s1-s0)
	if b.M > amxRows && p != layout.I8 && cut > amxWhole {
		cuts := (cut + amxCut - 1) / amxCut
		cut = (cut/cuts + amxKTile - 1) / amxKTile * amxKTile
	}
	cols := b.N1 - b.N0
	if b.M > amxRows {
		cols = max(1, chunkBytes/(4*layout.NR*cut)) * layout.NR
	}
	for n := b.N0; n < b.N1; n += cols {
		for s := s0; s < s1; s += cut {
			t.chunk(b, n, min(n+cols, b.N1), s-s0, s, min(s+cut, s1), s1)
		}
	}
}

// chunk multiplies all rows of b by columns n0 to n1 and steps s0 to s1, of which
// there is one at least; a0 is s0 counted from the start of the rows of A and last the
// final step of b.
func (t *amxTile) chunk(b *Block, n0, n1, a0, s0, s1, last int) {
	p := b.B.Precision
	t.lo = float32(math.Inf(-1))
	if b.Relu && s1 == last {
		t.lo = 0
	}
	t.flags, t.bias = 0, nil
	if a0 > 0 || b.Add {
		t.flags = accumulate
	} else if b.Bias != nil {
		t.bias = unsafe.Pointer(&b.Bias[n0])
	}
	if p == layout.I8 {
		t.scale, t.corr = unsafe.Pointer(&b.B.Scale[n0]), unsafe.Pointer(&b.B.Sum[n0])
	}
	steps := p.Steps(b.B.K)
	whole := b.B.N / layout.NR * layout.NR // columns in whole panels
	panels := (min(n1, whole) - n0) / layout.NR
	rest := n1 - max(n0, whole) // columns in the last panel, if it is not whole
	if panels < 0 {
		panels = 0
	}
	direct := uint32(0)
	if b.C.Index == nil {
		direct = amxLoadDirect
		if !b.Relu || s1 != last {
			direct |= amxStoreDirect
		}
	}
	for row := 0; row < b.M; row += amxRows {
		rows := min(amxRows, b.M-row)
		t.rowsOf(b, row, rows, n0-b.N0, n1-b.N0, a0, s1-s0, rest <= 0 && p == layout.BF16 && direct&amxStoreDirect != 0)
		t.off, t.boff = 0, 0
		if panels > 0 {
			t.b = wordAt(b.B, 4*(n0*steps+s0*layout.NR), s1-s0)
			t.bp = uintptr(4 * layout.NR * steps)
			t.mask = math.MaxUint32
			t.flags = t.flags&accumulate | direct
			t.run(p, rows, 2, panels, s1-s0)
		}
		if rest > 0 {
			ct := 2
			if rest <= layout.NR/2 {
				ct = 1
			}
			t.b = wordAt(b.B, 4*(whole*steps+s0*16*ct), s1-s0)
			t.off, t.boff, t.bp = uintptr(4*(whole-n0)), 0, 0
			t.mask = 1<<rest - 1
			t.flags &= accumulate
			t.run(p, rows, ct, 1, s1-s0)
		}
	}
}

// rowsOf points t at rows of A, steps a0 to a0+steps, and at columns c0 to c1 of C;
// direct says that the kernels go from the first row by the stride.
func (t *amxTile) rowsOf(b *Block, row, rows, c0, c1, a0, steps int, direct bool) {
	t.rows, t.cs = uintptr(rows), uintptr(4*b.C.Stride)
	named := rows
	if direct { // the rest follows from the stride
		last := b.C.At(row + rows - 1)
		_ = b.C.Data[last+c0 : last+c1]
		named = 1
	}
	for i := range named {
		c := b.C.At(row + i)
		t.c[i] = unsafe.Pointer(&b.C.Data[c+c0 : c+c1][0])
	}
	o := &b.A
	if o.index == nil {
		first := row*o.words + a0
		_ = o.data[first+(rows-1)*o.words+steps-1]
		t.a, t.as = unsafe.Pointer(&o.data[first]), uintptr(4*o.words)
	} else {
		words := amxWords(steps)
		if need := amxRows * words; len(t.gather) < need {
			t.gather = make([]uint32, need)
		}
		for i := range rows {
			from := int(o.index[row+i])*o.words + a0
			copy(t.gather[i*words:(i+1)*words], o.data[from:from+steps])
		}
		t.a, t.as = unsafe.Pointer(&t.gather[0]), uintptr(4*words)
	}
	if o.scale == nil {
		return
	}
	for i := range rows {
		r := row + i
		if o.index != nil {
			r = int(o.index[r])
		}
		t.sa[i], t.za[i] = o.scale[r], o.zero[r]
	}
}

// amxWords is the distance in words of rows of that many steps: whole cache lines, and
// an odd number of them, so that the rows of a tile lie in different sets of L1.
func amxWords(steps int) int { return ((steps+amxKTile-1)/amxKTile | 1) * amxKTile }

// run multiplies rows rows of t by panels of ct tiles, over steps steps.
func (t *amxTile) run(p layout.Precision, rows, ct, panels, steps int) {
	rt := (rows + 15) / 16
	group := 1
	if rt == 1 && ct == 2 && panels > 1 {
		group = 2
	}
	for panels > 0 {
		t.configure(amxShape{rows: rows, rt: rt, ct: ct, p: group, first: min(steps, amxKTile), tail: steps % amxKTile})
		t.k, t.tail = uintptr(steps/amxKTile), 0
		switch {
		case steps < amxKTile:
			t.k = 1
		case steps%amxKTile != 0:
			t.tail = 1
		}
		t.n = uintptr(panels / group * group)
		panels -= int(t.n)
		t.kernel(p, rt, ct, group)
		group = 1
	}
}

func (t *amxTile) kernel(p layout.Precision, rt, ct, group int) {
	i8 := p == layout.I8
	switch {
	case rt == 2 && ct == 2 && i8:
		i8T2x2p1(t)
	case rt == 2 && ct == 2:
		bf16T2x2p1(t)
	case rt == 2 && i8:
		i8T2x1p1(t)
	case rt == 2:
		bf16T2x1p1(t)
	case group == 2 && i8:
		i8T1x2p2(t)
	case group == 2:
		bf16T1x2p2(t)
	case ct == 2 && i8:
		i8T1x2p1(t)
	case ct == 2:
		bf16T1x2p1(t)
	case i8:
		i8T1x1p1(t)
	default:
		bf16T1x1p1(t)
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

//go:noescape
func bf16T2x2p1(t *amxTile)

//go:noescape
func bf16T2x1p1(t *amxTile)

//go:noescape
func bf16T1x2p2(t *amxTile)

//go:noescape
func bf16T1x2p1(t *amxTile)

//go:noescape
func bf16T1x1p1(t *amxTile)

//go:noescape
func i8T2x2p1(t *amxTile)

//go:noescape
func i8T2x1p1(t *amxTile)

//go:noescape
func i8T1x2p2(t *amxTile)

//go:noescape
func i8T1x2p1(t *amxTile)

//go:noescape
func i8T1x1p1(t *amxTile)
