package ptx

import (
	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// fragmentLoader copies tiles of a 16-bit weight packed in fragment order: whole 1 KB runs, no checks.
type fragmentLoader struct {
	b            *builder
	base         asm.U64 // of this block's first strip
	tileN, tileK int
	kp           int // padded k
}

func newFragmentLoader(b *builder, base asm.U64, col asm.U32, tileN, tileK, kp int) *fragmentLoader {
	strip := kp * 16 * 2 // bytes of one strip of 16 columns
	return &fragmentLoader{b, base.AtMul(col.ShrI(4), b.Const(strip), 1), tileN, tileK, kp}
}

func (l *fragmentLoader) bytes() int { return l.tileN * l.tileK * 2 }

func (l *fragmentLoader) issue(k0, to asm.U32) {
	run := l.tileK * 16 * 2 / 16 // 16-byte copies per strip
	total := run * l.tileN / 16
	from := l.base.At(k0, 16*2) // k0 is a multiple of 16: 32 bytes per term and strip
	for first := 0; first < total; first += l.b.Threads() {
		id := l.b.Tid().AddI(first)
		mine := l.b.Bool(true)
		if first+l.b.Threads() > total {
			mine = id.LtI(total)
		}
		l.b.If(mine, func() {
			src := from.AtMul(id.DivI(run), l.b.Const(l.kp*16*2), 1).At(id.RemI(run), 16)
			l.b.CpAsync(to.Add(id.MulI(16)), 0, src, 0, 16, nil)
		})
	}
}

// core is a block's product of tiles in shared memory, with the accumulators in registers.
//
// Per-warp shapes. FFMA: a warp's 32 lanes stand 4 down and 8 across; a lane owns rows 4 apart and runs of 4
// columns 32 apart, so that all its shared reads are 16 bytes wide and free of conflicts.
// Tensor cores: 16 x 8 fragments.
type core struct {
	b          *builder
	math       Math
	format     asm.Format // of tensor-core products
	tile       Tile
	row0, col0 asm.U32 // the lane's first output in the tile
	acc        [][]asm.F32
}

// newCore places the lane in the tile; zero must be called before the first product.
func newCore(b *builder, math Math, dt dtype, tile Tile) *core {
	w := &core{b: b, math: math, tile: tile}
	switch {
	case math == TF32 || math == TF32x3:
		w.format = asm.FormatTF32
	case dt == tensor.F16:
		w.format = asm.FormatF16
	default:
		w.format = asm.FormatBF16
	}
	wm, wn := b.Warp().DivI(tile.WarpsN).MulI(w.warpM()), b.Warp().RemI(tile.WarpsN).MulI(w.warpN())
	if math == Exact {
		w.row0 = wm.Add(b.Lane().ShrI(3)).As("lane_row")
		w.col0 = wn.Add(b.Lane().AndI(7).MulI(4)).As("lane_col")
	} else {
		w.row0 = wm.Add(b.Lane().ShrI(2)).As("lane_row")
		w.col0 = wn.Add(b.Lane().AndI(3).MulI(2)).As("lane_col")
	}
	return w
}

func (w *core) warpM() int { return w.tile.M / w.tile.WarpsM }
func (w *core) warpN() int { return w.tile.N / w.tile.WarpsN }

// zero starts the accumulators: FFMA [row][col], tensor cores [16-row block * n-blocks + 8-column block][4].
// Called again, it clears the same registers.
func (w *core) zero() {
	zero := w.b.ConstF(0)
	for _, row := range w.acc {
		for _, x := range row {
			x.Set(zero)
		}
	}
	if w.acc != nil {
		return
	}
	rows, cols := w.warpM()/4, w.warpN()/8
	if w.math != Exact {
		rows, cols = w.warpM()/16*(w.warpN()/8), 4
	}
	w.acc = make([][]asm.F32, rows)
	for i := range w.acc {
		for range cols {
			w.acc[i] = append(w.acc[i], zero.Var(""))
		}
	}
}

// multiply adds the product of a k-contiguous tile at a with the given pitch and a tile that opB loaded at b.
func (w *core) multiply(a, b asm.U32, pitchA int, opB loader) {
	switch w.math {
	case Exact:
		w.multiplyExact(a, b, pitchA, opB.(*operand).pitch)
	case Tensor16:
		w.multiply16(a, b, pitchA, opB)
	default:
		w.multiplyTF32(a, b, pitchA, opB.(*operand).pitch)
	}
}

func (w *core) multiplyExact(a, b asm.U32, pitchA, pitchB int) {
	aLane := w.row0.MadI(pitchA*4, a)
	bLane := w.col0.MadI(4, b)
	ffmaTile(aLane, bLane, w.tile.K, pitchA, pitchB, w.acc)
}

// ffmaTile adds the product of a k-contiguous tile at a and an n-contiguous tile at b (addresses of the
// lane's first row and column) to the lane's accumulators: rows 4 apart, runs of 4 columns 32 apart.
func ffmaTile(a, b asm.U32, depth, pitchA, pitchB int, acc [][]asm.F32) {
	rows, cols := len(acc), len(acc[0])
	for k4 := 0; k4 < depth; k4 += 4 {
		av := make([][4]asm.F32, rows)
		for i := range av {
			av[i] = a.LdsF32x4((i*4*pitchA + k4) * 4)
		}
		for kk := range 4 {
			for j := 0; j < cols; j += 4 {
				bv := b.LdsF32x4(((k4+kk)*pitchB + j*8) * 4)
				for i := range acc {
					for q := range 4 {
						acc[i][j+q].FmaTo(av[i][kk], bv[q])
					}
				}
			}
		}
	}
}

// multiplyTF32 takes fragments word by word; with three products per fragment for TF32x3:
// big*big + big*small + small*big, where x = big + small exactly up to the last bits of small.
func (w *core) multiplyTF32(a, b asm.U32, pitchA, pitchB int) {
	g, t := w.b.Lane().ShrI(2), w.b.Lane().AndI(3)
	wm, wn := w.row0.Sub(g), w.col0.Sub(t.MulI(2))
	aLane := wm.Add(g).MadI(pitchA, t).MadI(4, a)
	bLane := t.MadI(pitchB, wn.Add(g)).MadI(4, b)
	nBlocks := w.warpN() / 8
	for k := 0; k < w.tile.K; k += 8 {
		type split struct{ big, small asm.U32 }
		part := func(x asm.U32) split {
			big := x.AndI(-1 << 13)
			if w.math == TF32 {
				return split{big: big}
			}
			return split{big, x.AsF32().Sub(big.AsF32()).Bits().AndI(-1 << 13)}
		}
		bs := make([][2]split, nBlocks)
		for j := range bs {
			for h := range 2 {
				bs[j][h] = part(bLane.LdsU32(((k+4*h)*pitchB + j*8) * 4))
			}
		}
		for i := range w.warpM() / 16 {
			var as [4]split
			for r := range as {
				as[r] = part(aLane.LdsU32(((i*16+r%2*8)*pitchA + k + r/2*4) * 4))
			}
			big := asm.FragA{as[0].big, as[1].big, as[2].big, as[3].big}
			for j := range bs {
				c := asm.FragC(w.acc[i*nBlocks+j])
				if w.math == TF32x3 {
					small := asm.FragA{as[0].small, as[1].small, as[2].small, as[3].small}
					w.b.Mma(w.format, c, small, asm.FragB{bs[j][0].big, bs[j][1].big})
					w.b.Mma(w.format, c, big, asm.FragB{bs[j][0].small, bs[j][1].small})
				}
				w.b.Mma(w.format, c, big, asm.FragB{bs[j][0].big, bs[j][1].big})
			}
		}
	}
}

// multiply16 takes A by ldmatrix; B by plain 16-byte loads where it is packed, by ldmatrix where it is
// k-contiguous, and by transposing ldmatrix where it is n-contiguous.
func (w *core) multiply16(a, b asm.U32, pitchA int, opB loader) {
	lane := w.b.Lane()
	wm := w.row0.Sub(lane.ShrI(2))
	aLane := wm.Add(lane.AndI(15)).MadI(pitchA, lane.ShrI(4).MulI(8)).MadI(2, a)
	bAt := w.rightFragments(b, opB)
	nBlocks := w.warpN() / 8
	for k := 0; k < w.tile.K; k += 16 {
		var as []asm.FragA
		for i := range w.warpM() / 16 {
			as = append(as, aLane.LdMatrix((i*16*pitchA+k)*2, false))
		}
		for j := 0; j < nBlocks; j += 2 {
			v := bAt(k, j*8)
			for i := range as {
				w.b.Mma(w.format, asm.FragC(w.acc[i*nBlocks+j]), as[i], asm.FragB{v[0], v[1]})
				w.b.Mma(w.format, asm.FragC(w.acc[i*nBlocks+j+1]), as[i], asm.FragB{v[2], v[3]})
			}
		}
	}
}

// rightFragments gives the fragments of 16 terms x 16 columns of the warp, k terms and n columns into the tile
// that op loaded at b.
func (w *core) rightFragments(b asm.U32, op loader) func(k, n int) [4]asm.U32 {
	lane := w.b.Lane()
	wn := w.col0.Sub(lane.AndI(3).MulI(2))
	switch o := op.(type) {
	case *fragmentLoader:
		run := w.tile.K / 16 * 512
		base := wn.ShrI(4).MadI(run, lane.MadI(16, b))
		return func(k, n int) [4]asm.U32 { return base.LdsU32x4(n/16*run + k/16*512) }
	case *operand:
		if o.kMinor {
			// tiles: (n, k), (n, k+8), (n+8, k), (n+8, k+8)
			row := wn.Add(lane.AndI(7)).Add(lane.ShrI(4).MulI(8))
			base := row.MadI(o.pitch, lane.ShrI(3).AndI(1).MulI(8)).MadI(2, b)
			return func(k, n int) [4]asm.U32 { return base.LdMatrix((n*o.pitch+k)*2, false) }
		} else {
			// tiles: (k, n), (k+8, n), (k, n+8), (k+8, n+8), each transposed
			row := lane.AndI(15)
			base := row.MadI(o.pitch, wn.Add(lane.ShrI(4).MulI(8))).MadI(2, b)
			return func(k, n int) [4]asm.U32 { return base.LdMatrix((k*o.pitch+n)*2, true) }
		}
	}
	panic("ptx: a 16-bit product without a 16-bit tile")
}

// elements lists the lane's accumulators with their offsets from its first row and column; row numbers the
// lane's rows.
func (w *core) elements() []element {
	var out []element
	if w.math == Exact {
		for i := range w.acc {
			for j, v := range w.acc[i] {
				out = append(out, element{i, i * 4, j/4*32 + j%4, v})
			}
		}
		return out
	}
	nBlocks := w.warpN() / 8
	for i := range w.warpM() / 16 {
		for j := range nBlocks {
			for q, v := range w.acc[i*nBlocks+j] {
				out = append(out, element{2*i + q/2, i*16 + q/2*8, j*8 + q%2, v})
			}
		}
	}
	return out
}

type element struct {
	row, rowOff, colOff int
	v                   asm.F32
}

// rowsPerLane is the number of rows that a lane has accumulators of, lanesPerRow how many lanes share a row
// (neighbours, a power of two).
func (w *core) rowsPerLane() int {
	if w.math == Exact {
		return w.warpM() / 4
	}
	return w.warpM() / 8
}

func (w *core) lanesPerRow() int {
	if w.math == Exact {
		return 8
	}
	return 4
}

// columns visits the lane's outputs column group by column group: col is the offset of the group from the
// lane's first column, each calls its argument with the row offset and the group's accumulators.
func (w *core) columns(visit func(col, width int, each func(func(row int, v []asm.F32)))) {
	if w.math == Exact {
		for j := 0; j < len(w.acc[0]); j += 4 {
			visit(j*8, 4, func(f func(int, []asm.F32)) {
				for i := range w.acc {
					f(i*4, w.acc[i][j:j+4])
				}
			})
		}
		return
	}
	nBlocks := w.warpN() / 8
	for j := range nBlocks {
		visit(j*8, 2, func(f func(int, []asm.F32)) {
			for i := range w.warpM() / 16 {
				c := w.acc[i*nBlocks+j]
				f(i*16, c[:2])
				f(i*16+8, c[2:])
			}
		})
	}
}
