package ptx

import (
	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
)

// Tensor-core experts. A warp owns 32 rows (16 for gated experts, which have two accumulators, and where biases or
// sizes that fill no tile take the registers) and all hidden units of the chunk, so the accumulator fragments of the first product, activated, gated and rounded, are the
// left fragments of the second: the hidden tile never leaves the registers and the two products need no
// synchronisation between them.
const (
	// outChunk16 is the number of output columns computed at a time.
	outChunk16 = 64
	// depth16 is the tile depth along D.
	depth16 = 32
)

func (s *MoE) warpRows16() int {
	if s.Gated || !s.lean() {
		return 16
	}
	return 32
}

// lean reports experts as in the paper, without biases and of sizes that fill tiles.
func (s *MoE) lean() bool {
	return s.D%8 == 0 && !s.Bias && !s.OutBias && !s.Gated && s.Dv%outChunk16 == 0
}

func (s *MoE) experts16() (*Kernel, error) {
	gc, rows := s.chunk(), s.warpRows16()
	t1 := Tile{M: s.TileRows, N: gc, K: depth16, WarpsM: s.TileRows / rows, WarpsN: 1}
	b := newKernel("moe_experts_"+s.DType.String(), t1.threads())
	b.doc("fused experts: D=%d, %d chunks of %d of %d hidden units, Dv=%d, %s; tile of %d rows, %d per warp", s.D, s.chunks(), gc, s.G, s.Dv, s.DType, s.TileRows, rows)
	s.expertGrid(b)
	// Rows that only single 16-bit copies can fetch (odd D) need an address per element.
	b.k.Limits = Limits{Registers: 255, Spills: 256}
	if s.lean() {
		b.k.Limits = Limits{Registers: 208} // the paper's experts: two blocks of 4 warps per multiprocessor
	}
	e := s.expertBuffers(b)
	e.prologue()
	smem := b.DynamicShared()

	b.Comment("hidden = act(x w1 + bias) * gate, in registers")
	a := &operand{
		b: b, es: 2, xTile: t1.M, kTile: t1.K, kMinor: true, pitch: t1.K + 8, along: true,
		vec: vecFor(N(s.D), 2), checkK: s.D%t1.K != 0, kLimit: b.Const(s.D), locate: e.tokenRow,
	}
	a.prepare(source{x0: b.Const(0), kStride: b.Const(1)})
	cols, dp := gc*s.parts(), roundUp(s.D, packPadK)
	blockAt := e.expert.MadI(s.chunks(), e.part).As("weight_block")
	w1 := newFragmentLoader(b, e.w1.AtMul(blockAt, b.Const(dp*cols*2), 1), b.Const(0), cols, t1.K, dp)
	hidden := newCore(b, s.Math, s.DType, t1)
	hidden.zero()
	var up *core
	if s.Gated {
		up = newCore(b, s.Math, s.DType, t1)
		up.zero()
	}
	const stages = 3
	stage1 := a.bytes() + w1.bytes()
	alive := b.Warp().MulI(rows).Lt(e.rows).As("alive") // a warp without rows issues no products
	b.pipeline("d", b.Const(dp/t1.K), smem, stages, stage1,
		func(kc, to asm.U32) {
			a.issue(kc.MulI(t1.K), to)
			w1.issue(kc.MulI(t1.K), to.AddI(a.bytes()))
		},
		func(_, from asm.U32) {
			b.If(alive, func() {
				wAt := from.AddI(a.bytes())
				hidden.multiply(from, wAt, a.pitch, w1)
				if s.Gated {
					up.multiply(from, wAt.AddI(gc*t1.K*2), a.pitch, w1)
				}
			})
		})
	b.Barrier() // the stages are free for the second product
	frags := e.hiddenFragments(hidden, up)

	b.Comment("slot = hidden w2, %d columns at a time", outChunk16)
	dvp := roundUp(s.Dv, packPadN)
	stage2 := gc * outChunk16 * 2
	b.k.DynamicShared = stages * max(stage1, stage2)
	w2 := newFragmentLoader(b, e.w2.AtMul(blockAt, b.Const(gc*dvp*2), 1), b.Const(0), outChunk16, gc, gc)
	t2 := Tile{M: s.TileRows, N: outChunk16, K: gc, WarpsM: t1.WarpsM, WarpsN: 1}
	out := newCore(b, s.Math, s.DType, t2)
	b.pipeline("n", b.Const(dvp/outChunk16), smem, stages, stage2,
		func(n, to asm.U32) { b.copyRun(w2.base.AtMul(n, b.Const(stage2), 1), to, stage2) },
		func(n, from asm.U32) {
			b.If(alive, func() {
				out.zero()
				out.multiplyFragments(frags, from, w2)
				e.storeSlots(out, n.MulI(outChunk16))
			})
		})
	e.combine()
	return b.done(), nil
}

// copyRun copies a run of bytes (a multiple of 16) to shared memory with all threads.
func (b *builder) copyRun(from asm.U64, to asm.U32, bytes int) {
	for first := 0; first < bytes/16; first += b.Threads() {
		id := b.Tid().AddI(first)
		mine := b.Bool(true)
		if first+b.Threads() > bytes/16 {
			mine = id.LtI(bytes / 16)
		}
		b.If(mine, func() { b.CpAsync(to.Add(id.MulI(16)), 0, from.At(id, 16), 0, 16, nil) })
	}
}

// hiddenFragments turns accumulators into left fragments [16-row block][16 hidden units].
func (e *expertKernel) hiddenFragments(hidden, up *core) [][]asm.FragA {
	nBlocks := hidden.warpN() / 8
	var out [][]asm.FragA
	for i := range hidden.warpM() / 16 {
		var gates [2]asm.F32
		for h := range gates {
			gates[h] = e.gateAt.Add(hidden.row0.AddI(i*16 + h*8).MulI(4)).LdsF32(0)
		}
		var row []asm.FragA
		for k := 0; k < nBlocks; k += 2 {
			var f asm.FragA
			for r := range f { // rows g and g+8, then the same of the next 8 units
				j, half := k+r/2, r%2
				var pair [2]asm.F32
				for q := range pair {
					c := hidden.acc[i*nBlocks+j][half*2+q]
					var u asm.F32
					if up != nil {
						u = up.acc[i*nBlocks+j][half*2+q]
					}
					pair[q] = e.activate(c, u, hidden.col0.AddI(j*8+q)).Mul(gates[half])
				}
				f[r] = packPair(e.DType, pair[0], pair[1])
			}
			row = append(row, f)
		}
		out = append(out, row)
	}
	return out
}

// multiplyFragments adds the product of left fragments [16-row block][16 terms], held in registers, and a
// right tile.
func (w *core) multiplyFragments(a [][]asm.FragA, b asm.U32, op loader) {
	bAt := w.rightFragments(b, op)
	nBlocks := w.warpN() / 8
	for k := range a[0] {
		for j := 0; j < nBlocks; j += 2 {
			v := bAt(k*16, j*8)
			for i := range a {
				w.b.Mma(w.format, asm.FragC(w.acc[i*nBlocks+j]), a[i][k], asm.FragB{v[0], v[1]})
				w.b.Mma(w.format, asm.FragC(w.acc[i*nBlocks+j+1]), a[i][k], asm.FragB{v[2], v[3]})
			}
		}
	}
}
