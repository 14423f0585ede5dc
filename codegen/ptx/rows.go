package ptx

import (
	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
)

// rows walks one row of a matrix with a team of threads: a warp, or a block for long rows. Rows that fit are
// kept in registers between passes; longer ones, and those of unknown length, are read again.
type rows struct {
	b     *builder
	team  int // threads per row
	lane  asm.U32
	row   asm.U32
	d     Expr // row length
	dim   asm.U32
	width int // neighbouring elements per access
	slots int // register slots per thread, 0 when the row is streamed
}

const (
	rowThreads = 256
	// maxRowSlots bounds the registers that hold a row.
	maxRowSlots = 32
)

// newRows starts a kernel over count rows of length d and leaves the threads past the last row. aligned says
// that every buffer's rows start at multiples of four elements. It must be called before other code, and
// the kernel's grid is set here.
func newRows(b *builder, count, d Expr, aligned bool) *rows {
	team := asm.WarpSize
	if k, known := d.Const(); !known || k > asm.WarpSize*maxRowSlots {
		team = rowThreads
	}
	return newTeamRows(b, count, d, aligned, team)
}

// newTeamRows is newRows with a given team: a warp or the block.
func newTeamRows(b *builder, count, d Expr, aligned bool, team int) *rows {
	r := &rows{b: b, d: d, width: 1, team: team}
	k, known := d.Const()
	if aligned && d.DivisibleBy(4) {
		r.width = 4
	}
	if known && k <= int64(r.team*maxRowSlots) {
		r.slots = int(k+int64(r.team*r.width)-1) / (r.team * r.width) * r.width
	}
	r.dim = b.dim(d)
	n := b.dim(count)
	perBlock := rowThreads / r.team
	b.k.Grid = [3]Expr{count.CeilDiv(perBlock), N(1), N(1)}
	if r.team == asm.WarpSize {
		r.row = b.BlockX().MadI(perBlock, b.Warp()).As("row")
		r.lane = b.Lane()
		b.ExitIf(r.row.Ge(n)) // whole warps leave together
	} else {
		r.row, r.lane = b.BlockX(), b.Tid()
	}
	return r
}

// pass is a row ready to be walked: each call of each visits the team's elements, width at a time, in the
// same order; live is false for columns past the end.
type pass struct {
	each func(visit func(col asm.U32, v []asm.F32))
}

// read prepares a row whose elements get loads, given a column that is inside.
func (r *rows) read(get func(col asm.U32) []asm.F32) pass {
	b := r.b
	if r.slots == 0 {
		return pass{func(visit func(asm.U32, []asm.F32)) {
			b.For("col", r.lane.MulI(r.width), r.dim, r.team*r.width, func(col asm.U32) { visit(col, get(col)) })
		}}
	}
	d, _ := r.d.Const()
	type slot struct {
		col asm.U32
		all bool // inside for every thread
		v   []asm.F32
	}
	var slots []slot
	for g := range r.slots / r.width {
		s := slot{
			col: r.lane.AddI(g * r.team).MulI(r.width),
			all: int64((g+1)*r.team*r.width) <= d,
		}
		if s.all {
			s.v = get(s.col)
		} else {
			for range r.width {
				s.v = append(s.v, b.ConstF(0).Var(""))
			}
			b.If(s.col.Lt(r.dim), func() {
				for i, x := range get(s.col) {
					s.v[i].Set(x)
				}
			})
		}
		slots = append(slots, s)
	}
	return pass{func(visit func(asm.U32, []asm.F32)) {
		for _, s := range slots {
			if s.all {
				visit(s.col, s.v)
				continue
			}
			b.If(s.col.Lt(r.dim), func() { visit(s.col, s.v) })
		}
	}}
}

// combine reduces one number per thread over the team; every thread gets the result. The order of the
// combination is fixed.
func (r *rows) combine(x asm.F32, op func(x, y asm.F32) asm.F32) asm.F32 {
	for n := asm.WarpSize / 2; n > 0; n /= 2 {
		x = op(x, x.ShflXor(n))
	}
	if r.team == asm.WarpSize {
		return x
	}
	b := r.b
	warps := r.team / asm.WarpSize
	buf := b.Shared("partials", 4, warps*4)
	b.If(b.Lane().EqI(0), func() { buf.Add(b.Warp().MulI(4)).StsF32(0, x) })
	b.Barrier()
	x = buf.LdsF32(0)
	for i := 1; i < warps; i++ {
		x = op(x, buf.LdsF32(4*i))
	}
	return x
}

// sum adds one number per thread over the team.
func (r *rows) sum(x asm.F32) asm.F32 { return r.combine(x, asm.F32.Add) }

// max is the largest of one number per thread over the team.
func (r *rows) max(x asm.F32) asm.F32 { return r.combine(x, asm.F32.Max) }

// loadFloats reads n neighbours as f32.
func loadFloats(at asm.U64, dt dtype, n int) []asm.F32 {
	if n == 4 {
		var out []asm.F32
		for _, v := range load4(at, dt) {
			out = append(out, v.f)
		}
		return out
	}
	out := make([]asm.F32, n)
	for i := range out {
		out[i] = loadF(at, dt, i*dt.Size())
	}
	return out
}

// storeFloats writes neighbours from f32, as one access where there are four.
func storeFloats(f *asm.Func, at asm.U64, dt dtype, v []asm.F32) {
	vals := make([]value, len(v))
	for i := range v {
		vals[i].f = v[i]
	}
	if len(v) == 4 {
		storeN(f, at, dt, vals)
		return
	}
	for i := range vals {
		store(f, at, dt, i*dt.Size(), vals[i])
	}
}
