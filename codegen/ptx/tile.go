package ptx

import (
	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// operand copies tiles of one side of a product (A: x is a row of the output, B: x is a column) from global
// to shared memory. The product walks along k; x is fixed per block. A tile is stored with either k or x
// contiguous, at a pitch that keeps the readers free of bank conflicts.
type operand struct {
	b       *builder
	es      int // bytes per element
	xTile   int
	kTile   int
	kMinor  bool // k is contiguous in shared memory
	pitch   int  // elements per row of the shared tile
	vec     int  // elements per copy
	along   bool // neighbouring threads (and a copy's elements) go along k
	checkX  bool // x may pass its limit
	checkK  bool // k may pass its limit
	kLimit  asm.U32
	kStride asm.U32
	xStride asm.U32
	xLimit  asm.U32
	chunks  []*chunk // nil: too many, see maxChunks
	src     source
	runK    int // copies per tile along k
	runX    int // and along x
	// generate computes element (x, k) instead of copying it, rounded to dt.
	generate func(k asm.U32, c *chunk) asm.F32
	dt       dtype
	// locate gives the address of (x, k = 0) for an x counted from the start of the tile, and whether it
	// exists, for operands whose rows are gathered.
	locate func(xi asm.U32) (asm.U64, asm.Pred)
	// image maps (k, chunk) to an address for operands that are not a strided matrix.
	image func(k asm.U32, c *chunk) (asm.U64, asm.Pred)
	// begin, with image, computes what does not change along k, once per chunk.
	begin func(c *chunk)
}

// chunk is one copy that a thread issues per tile.
type chunk struct {
	base asm.U64  // address of (x, k = ki)
	ki   asm.U32  // its k inside the tile
	x    asm.U32  // its x
	live asm.Pred // x is inside the matrix
	dst  asm.U32  // byte offset inside the shared tile
	mine asm.Pred // this thread has a copy to do
}

// source says where a tile comes from.
type source struct {
	base             asm.U64 // address of (0, 0) of this block's batch
	x0, xLimit       asm.U32
	xStride, kStride asm.U32
}

// vecFor is the number of elements per copy when k-neighbours are neighbours in memory and rows start at
// multiples of unit elements: the largest power of two up to 16 bytes.
func vecFor(unit Expr, es int) int {
	v := 16 / es
	for v > 1 && !unit.DivisibleBy(v) {
		v /= 2
	}
	return v
}

// bytes is the size of one stage of the tile.
func (o *operand) bytes() int {
	rows := o.xTile
	if !o.kMinor {
		rows = o.kTile
	}
	return rows * o.pitch * o.es
}

// maxChunks bounds the copies whose addresses a thread keeps in registers. Past it, addresses are made anew for
// every tile, in a loop.
const maxChunks = 24

// prepare computes what does not change along k.
func (o *operand) prepare(s source) {
	b := o.b
	threads := b.Threads()
	o.src = s
	o.kStride, o.xStride, o.xLimit = s.kStride, s.xStride, s.xLimit
	o.runK, o.runX = o.kTile, o.xTile
	if o.along {
		o.runK /= o.vec
	} else {
		o.runX /= o.vec
	}
	total := o.runK * o.runX
	if total > maxChunks*threads {
		return
	}
	for first := 0; first < total; first += threads {
		id := b.Tid().AddI(first)
		at := id
		if o.locate != nil && first+threads > total {
			at = id.Min(b.Const(total - 1)) // a thread without a copy must not look up a row past the tile's
		}
		c := o.chunkAt(at)
		if first+threads > total {
			c.mine = id.LtI(total)
		}
		o.chunks = append(o.chunks, c)
	}
	if o.begin != nil {
		for _, c := range o.chunks {
			o.begin(c)
		}
	}
}

// chunkAt is the copy number id of a tile.
func (o *operand) chunkAt(id asm.U32) *chunk {
	b, s := o.b, o.src
	var ki, xi asm.U32
	if o.along {
		ki, xi = id.RemI(o.runK).MulI(o.vec), id.DivI(o.runK)
	} else {
		ki, xi = id.DivI(o.runX), id.RemI(o.runX).MulI(o.vec)
	}
	c := &chunk{ki: ki, x: s.x0.Add(xi), live: b.Bool(true), mine: b.Bool(true)}
	if o.checkX {
		c.live = c.x.Lt(s.xLimit)
	}
	if o.kMinor {
		c.dst = xi.MadI(o.pitch, ki).MulI(o.es)
	} else {
		c.dst = ki.MadI(o.pitch, xi).MulI(o.es)
	}
	switch {
	case o.locate != nil:
		var base asm.U64
		base, c.live = o.locate(xi)
		c.base = base.AtMul(ki, s.kStride, o.es)
	case o.image != nil:
		c.base = s.base
	default:
		c.base = s.base.AtMul(c.x, s.xStride, o.es).AtMul(ki, s.kStride, o.es)
	}
	return c
}

// issue starts the copies of the tile at k0 into shared memory at to. Elements outside the matrix become
// zeros. The copies belong to the thread's current cp.async group, except those of single 16-bit numbers,
// which cp.async cannot do.
func (o *operand) issue(k0, to asm.U32) { o.issueAt(k0, o.b.Const64(0), to) }

// issueAt is issue for a tile whose x starts offset bytes further.
func (o *operand) issueAt(k0 asm.U32, offset asm.U64, to asm.U32) {
	o.copies(k0, offset, to, func(c *chunk) asm.Pred { return c.live })
}

// issueRows starts the copies of the tile whose x starts shift further, at k = 0.
func (o *operand) issueRows(shift, to asm.U32) {
	offset := shift.MulWide(o.xStride).MulI(o.es)
	o.copies(o.b.Const(0), offset, to, func(c *chunk) asm.Pred {
		if !o.checkX {
			return o.b.Bool(true)
		}
		return c.x.Add(shift).Lt(o.xLimit)
	})
}

func (o *operand) copies(k0 asm.U32, offset asm.U64, to asm.U32, alive func(*chunk) asm.Pred) {
	b := o.b
	var step asm.U64
	if o.image == nil {
		step = k0.MulWide(o.kStride).MulI(o.es).Add(offset)
	}
	if o.chunks == nil {
		b.For("copy", b.Tid(), b.Const(o.runK*o.runX), b.Threads(), func(id asm.U32) {
			c := o.chunkAt(id)
			if o.begin != nil {
				o.begin(c)
			}
			o.copy(c, k0, step, to, alive)
		})
		return
	}
	for _, c := range o.chunks {
		b.If(c.mine, func() { o.copy(c, k0, step, to, alive) })
	}
}

// copy starts one copy, or does it where cp.async cannot.
func (o *operand) copy(c *chunk, k0 asm.U32, step asm.U64, to asm.U32, alive func(*chunk) asm.Pred) {
	b := o.b
	live := alive(c)
	if o.checkK {
		live = live.And(k0.Add(c.ki).Lt(o.kLimit))
	}
	if o.generate != nil {
		v := b.ConstF(0).Var("")
		b.If(live, func() { v.Set(o.generate(k0.Add(c.ki), c)) })
		storeShared(to.Add(c.dst), o.dt, v)
		return
	}
	var from asm.U64
	if o.image == nil {
		from = c.base.Add(step)
	} else {
		var inside asm.Pred
		from, inside = o.image(k0.Add(c.ki), c)
		live = live.And(inside)
	}
	dst := to.Add(c.dst)
	bytes := o.vec * o.es
	if bytes < 4 {
		v := b.Const(0).Var("")
		b.Guard(live, func() { from.LdU16To(v, 0) })
		dst.StsLow16(0, v)
		return
	}
	if _, always := live.Const(); always {
		b.CpAsync(dst, 0, from, 0, bytes, nil)
		return
	}
	n := live.SelU32(b.Const(bytes), b.Const(0))
	b.CpAsync(dst, 0, from, 0, bytes, &n)
}

// storeShared writes one number to shared memory in a float format.
func storeShared(at asm.U32, dt dtype, v asm.F32) {
	switch dt {
	case tensor.F32:
		at.StsF32(0, v)
	case tensor.BF16:
		at.StsU16(0, v.BF16())
	default:
		at.StsU16(0, v.F16())
	}
}

// pipeline runs body over k tiles with stages of shared memory in flight: load(kc, stage address) starts the
// copies of tile kc, body(kc, stage address) uses a tile that has arrived. One barrier per tile orders both
// directions: every warp has seen the tile arrive, and none still reads the stage about to be overwritten.
// Afterwards no copy is under way; other warps may still read the last tile.
func (b *builder) pipeline(name string, tiles, base asm.U32, stages, stageBytes int, load func(kc, to asm.U32), body func(kc, from asm.U32)) {
	b.Comment("fill the pipeline: %d of %d stages in flight", stages-1, stages)
	for s := range stages - 1 {
		b.If(b.Const(s).Lt(tiles), func() { load(b.Const(s), base.AddI(s*stageBytes)) })
		b.CpCommit()
	}
	end := base.AddI(stages * stageBytes)
	read := base.Var(name + "_read")
	write := base.AddI((stages - 1) * stageBytes).Var(name + "_write")
	b.Comment("for each tile along %s: wait for it, start the one %d ahead, multiply", name, stages-1)
	b.KeepRolled()
	b.For(name, b.Const(0), tiles, 1, func(kc asm.U32) {
		b.CpWait(stages - 2)
		b.Barrier()
		ahead := kc.AddI(stages - 1)
		b.If(ahead.Lt(tiles), func() { load(ahead, write) })
		b.CpCommit()
		body(kc, read)
		for _, p := range []asm.U32{read, write} {
			next := p.AddI(stageBytes)
			p.Set(next.Eq(end).SelU32(base, next))
		}
	})
}
