package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
)

// QueryProjection makes an attention compute its own queries, q = x w + bias: a block multiplies its rows of x by the
// columns of its head and keeps the product in shared memory, so that queries never reach device memory and need no
// launch. Every head's blocks read x, as the tiles of a product would that are as wide as a head. It pays for
// queries that nobody else reads: those of a cross-attention. The bias has Heads*HeadDim numbers.
type QueryProjection struct {
	D    int // length of a row of x
	Bias bool
}

// maxProjected bounds the head size: a warp holds 16 queries in registers.
const maxProjected = 128

// projection is what the writer of an attention knows of its QueryProjection.
type projection struct {
	*QueryProjection
	tile Tile // of a block's queries; Stages is 3
	x, w asm.U64
	bias asm.U64
}

// width is the padded number of a head's columns.
func (s *Attention) projectedWidth() int {
	switch s.Math {
	case Exact:
		return roundUp(s.HeadDim, 32)
	case Tensor16:
		return roundUp(s.HeadDim, 16)
	}
	return roundUp(s.HeadDim, 8)
}

// PackQuery is the layout of the projection's weight [D, Heads*HeadDim]: each head's columns padded to whole tiles.
func (s Attention) PackQuery() *Pack {
	dq, all := s.projectedWidth(), s.Heads*s.HeadDim
	padded := packMatrix(s.DType, s.Project.D, s.Heads*dq, s.Heads*dq, 1)
	p := &Pack{
		Layout: fmt.Sprintf("%d heads of %d columns padded to %d: %s", s.Heads, s.HeadDim, dq, padded.Layout),
		Elems:  padded.Elems, DType: s.DType, source: s.Project.D * all,
	}
	p.order = func(i int) int {
		j := padded.order(i)
		if j < 0 {
			return -1
		}
		k, h, e := j/(s.Heads*dq), j%(s.Heads*dq)/dq, j%dq
		if e >= s.HeadDim {
			return -1
		}
		return k*all + h*s.HeadDim + e
	}
	return p
}

func (s *Attention) checkProjection() error {
	if s.Project == nil {
		return nil
	}
	if s.Project.D < 1 || s.HeadDim > maxProjected {
		return fmt.Errorf("ptx: attention: projected queries of %d from %d; heads of at most %d", s.HeadDim, s.Project.D, maxProjected)
	}
	return nil
}

// projectedTile is the product's tile for a block of so many queries.
func (s *Attention) projectedTile(rows int) Tile {
	t := Tile{M: rows, N: s.projectedWidth(), K: 16, WarpsM: rows / 16, WarpsN: 1, Stages: 3}
	if s.Math == Tensor16 {
		t.K = 32
	}
	return t
}

// projectionShared is the shared memory of the projection's stages; the keys and values take their place.
func (s *Attention) projectionShared(rows int) int {
	if s.Project == nil {
		return 0
	}
	t, es := s.projectedTile(rows), s.DType.Size()
	w := t.K * (t.N + 8)
	if s.Math == Tensor16 {
		w = t.K * t.N
	}
	return t.Stages * (t.M*(t.K+16/es) + w) * es
}

// buffers declares what a projection reads.
func (p *projection) buffers(a *attentionKernel) {
	p.x, p.w = a.buffer("x", a.DType, Read), a.buffer("wq", a.DType, Read)
	if p.Bias {
		p.bias = a.buffer("bias", a.DType, Read)
	}
}

// write computes the block's queries into shared memory at to, rows of pitch elements.
func (p *projection) write(a *attentionKernel, first, to, stages asm.U32, pitch int) {
	b, t, es := a.builder, p.tile, a.DType.Size()
	b.Comment("the block's queries: its rows of x by its head's columns")
	x := a.head(p.x, a.Q, a.BlockY())
	wide := 16 / es
	opA := &operand{
		b: b, es: es, xTile: t.M, kTile: t.K, kMinor: true, pitch: t.K + wide, along: true,
		vec: a.vec(a.Q, p.D), checkX: !a.Queries.DivisibleBy(t.M), checkK: p.D%t.K != 0, kLimit: b.Const(p.D),
	}
	opA.prepare(source{base: x, x0: first, xLimit: a.nQ, xStride: a.dim(a.Q.Row), kStride: b.Const(1)})
	opB := b.weightTile(a.DType, p.w, a.BlockY().MulI(t.N), p.D, a.Heads*t.N, t.N, t.K)
	c := newCore(b, a.Math, a.DType, t)
	c.zero()
	alive := first.Add(b.Warp().MulI(16)).Lt(a.nQ).As("alive") // a warp without queries issues no products
	b.pipeline("d", b.Const((p.D+t.K-1)/t.K), stages, t.Stages, opA.bytes()+opB.bytes(),
		func(kc, to asm.U32) {
			opA.issue(kc.MulI(t.K), to)
			opB.issue(kc.MulI(t.K), to.AddI(opA.bytes()))
		},
		func(_, from asm.U32) {
			b.If(alive, func() { c.multiply(from, from.AddI(opA.bytes()), opA.pitch, opB) })
		})
	head := a.BlockY().MulI(a.HeadDim)
	c.columns(func(col, width int, each func(func(int, []asm.F32))) {
		for q := range width {
			e := c.col0.AddI(col + q)
			inside := b.Bool(true)
			if t.N > a.dh {
				inside = e.LtI(a.dh)
			}
			b.If(inside, func() {
				bias := b.ConstF(0)
				if p.Bias {
					bias = bias.Var("")
					known := b.Bool(true)
					if t.N != a.HeadDim {
						known = e.LtI(a.HeadDim)
					}
					b.If(known, func() { bias.Set(loadF(p.bias.At(head.Add(e), es), a.DType, 0)) })
				}
				each(func(row int, v []asm.F32) {
					storeShared(c.row0.AddI(row).MadI(pitch, e).MadI(es, to), a.DType, v[q].Add(bias))
				})
			})
		}
	})
	b.Barrier() // the stages are free for keys and values
}

// projectionCost is what a projection adds to a kernel's cost, without the queries that it does not read.
func (s *Attention) projectionCost() Cost {
	if s.Project == nil {
		return Cost{}
	}
	rows, all, es := s.Batch.Mul(s.Queries), s.Heads*s.HeadDim, s.DType.Size()
	return Cost{
		FLOPs: rows.MulN(2 * s.Project.D * all),
		Bytes: rows.MulN((s.Project.D - all) * es).AddN(s.Project.D * all * es),
	}
}
