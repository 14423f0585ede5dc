package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Math says how a product multiplies.
type Math uint8

const (
	// Exact multiplies f32 by f32 with fused multiply-add on the ordinary cores.
	Exact Math = iota
	// TF32x3 splits each f32 into two tf32 parts and sums three tensor-core products: about f32 accuracy.
	TF32x3
	// TF32 rounds operands to tf32 (10 fraction bits): relative error up to 2^-10 per operand. Opt-in only.
	TF32
	// Tensor16 multiplies f16 or bf16 operands on tensor cores with f32 accumulation.
	Tensor16
)

func (m Math) String() string { return [...]string{"f32", "3xtf32", "tf32", "tensor16"}[m] }

// Matrix is a batch of strided matrices; strides are in elements.
type Matrix struct {
	DType    tensor.DType
	Row, Col Expr
	Batch    []Expr // one stride per batch dimension; 0 repeats
	Offset   Expr
}

// Tile is the shape of a block's work: a block computes M x N outputs, in steps of K, by WarpsM x WarpsN
// warps, with Stages tiles of shared memory.
type Tile struct {
	M, N, K, WarpsM, WarpsN, Stages int
}

func (t Tile) threads() int { return t.WarpsM * t.WarpsN * asm.WarpSize }

func (t Tile) String() string {
	return fmt.Sprintf("%dx%dx%d, %dx%d warps, %d stages", t.M, t.N, t.K, t.WarpsM, t.WarpsN, t.Stages)
}

// Gemm is C = epilogue(A B) over batches. A is M x K, B is K x N. Any operand may be transposed, strided or
// repeated along the batch; sizes may be run-time dimensions. Value 0 of the epilogue is the f32
// accumulator, further inputs are the Extra matrices (strides over rows and columns of C, 0 repeats: a
// bias has Row 0, a residual has C's strides). The epilogue has one output, of C's format; an empty one
// stores the accumulator. In f64, value 0 is the f64 accumulator, and Math, Tile and Weight count for nothing.
type Gemm struct {
	Name     string
	Batch    []Expr
	M, N, K  Expr
	A, B, C  Matrix
	Weight   bool // B is a compile-time weight in the layout of Pack; its strides are ignored
	Math     Math
	Epilogue Program
	Extra    []Matrix
	Tile     Tile // zero: chosen from the shape
	// Parts above 1 stands for so many products of the same A: B holds as many weights of one size, one after the
	// other, each with an output c1, c2, ... of its own and with its own columns in the extra matrices that repeat
	// over rows (biases).
	Parts int
	// Gated computes two products of A at a time: B holds two weights of one size, one after the other, and value 1 of
	// the epilogue is the second's accumulator.
	Gated bool
	// Norm normalises the finished rows of C, which then are whole rows of N contiguous elements.
	Norm *RowNorm

	conv  *Conv      // B is the image of a convolution
	pairs *pairTable // A is computed from two tables
}

// Pack is the layout of B as a compile-time weight, for source strides as in B. For f32 it is the matrix
// padded with zeros to whole tiles; for 16-bit formats it is fragment order: for each strip of 16 columns,
// for each 16 terms of k, what lane after lane loads with one 16-byte access.
func (g Gemm) Pack() (*Pack, error) {
	k, okK := g.K.Const()
	n, okN := g.N.Const()
	rs, okR := g.B.Row.Const()
	cs, okC := g.B.Col.Const()
	if !okK || !okN || !okR || !okC {
		return nil, fmt.Errorf("ptx: gemm: a weight needs constant sizes, got %v x %v", g.K, g.N)
	}
	p := packMatrix(g.B.DType, int(k), int(n), int(rs), int(cs))
	if n := g.weights(); n > 1 {
		return p.times(n), nil
	}
	return p, nil
}

// weights is the number of weights that B holds.
func (g *Gemm) weights() int {
	if g.Gated {
		return 2
	}
	return max(1, g.Parts)
}

// times is the layout of n weights of one size, one after the other.
func (p *Pack) times(n int) *Pack {
	one := *p
	p.Layout, p.Elems, p.source = fmt.Sprintf("%d of %s", n, one.Layout), n*one.Elems, n*one.source
	p.order = func(i int) int {
		j := one.order(i % one.Elems)
		if j >= 0 {
			j += i / one.Elems * one.source
		}
		return j
	}
	return p
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// packPad are the multiples that packed weights are padded to; every tile divides them.
const (
	packPadK = 32
	packPadN = 128
)

// packMatrix lays out a k x n matrix with the given source strides.
func packMatrix(dt tensor.DType, k, n, rowStride, colStride int) *Pack {
	kp, np := roundUp(k, packPadK), roundUp(n, packPadN)
	at := func(kk, nn int) int {
		if kk >= k || nn >= n {
			return -1
		}
		return kk*rowStride + nn*colStride
	}
	p := &Pack{Elems: kp * np, DType: dt, source: k * n}
	if dt == tensor.F32 {
		p.Layout = fmt.Sprintf("%dx%d row-major, zero-padded to %dx%d", k, n, kp, np)
		p.order = func(i int) int { return at(i/np, i%np) }
		return p
	}
	p.Layout = fmt.Sprintf("%dx%d in mma fragment order, zero-padded to %dx%d", k, n, kp, np)
	p.order = func(i int) int {
		e, lane, unit := i%8, i/8%32, i/256
		strip, k16 := unit/(kp/16), unit%(kp/16)
		kk := k16*16 + 2*(lane&3) + [4]int{0, 1, 8, 9}[e%4]
		return at(kk, strip*16+e/4*8+lane>>2)
	}
	return p
}

// gemmKernel is the state shared by the parts of the kernel's writer.
type gemmKernel struct {
	*builder
	Gemm
	*core
	m, n asm.U32
	epi  epilogue
}

// check validates the spec and fills defaults.
func (g *Gemm) check() error {
	switch g.Math {
	case Tensor16:
		if g.A.DType != g.B.DType || g.A.DType != tensor.F16 && g.A.DType != tensor.BF16 {
			return fmt.Errorf("ptx: gemm: 16-bit tensor product of %s and %s", g.A.DType, g.B.DType)
		}
	default:
		if g.A.DType != tensor.F32 || g.B.DType != tensor.F32 {
			return fmt.Errorf("ptx: gemm: %s product of %s and %s", g.Math, g.A.DType, g.B.DType)
		}
	}
	for _, m := range append([]Matrix{g.A, g.C}, g.Extra...) {
		if len(m.Batch) != len(g.Batch) {
			return fmt.Errorf("ptx: gemm: %d batch strides for %d batch dimensions", len(m.Batch), len(g.Batch))
		}
	}
	if !g.Weight && len(g.B.Batch) != len(g.Batch) {
		return fmt.Errorf("ptx: gemm: %d batch strides of B for %d batch dimensions", len(g.B.Batch), len(g.Batch))
	}
	if g.Gated && (!g.Weight || g.Parts > 1 || len(g.Epilogue.Inputs) < 2 || g.Epilogue.Inputs[1] != tensor.F32) {
		return fmt.Errorf("ptx: gemm: a gated product takes two weights and an epilogue of both accumulators")
	}
	given := 1
	if g.Gated {
		given = 2
	}
	if len(g.Epilogue.Inputs) == 0 {
		g.Epilogue = Program{Inputs: []tensor.DType{tensor.F32}, Outputs: []Result{{0, g.C.DType}}}
	}
	if len(g.Epilogue.Inputs) != len(g.Extra)+given || len(g.Epilogue.Outputs) != 1 {
		return fmt.Errorf("ptx: gemm: epilogue of %d inputs and %d outputs, with %d extra matrices",
			len(g.Epilogue.Inputs), len(g.Epilogue.Outputs), len(g.Extra))
	}
	if _, err := g.Epilogue.check(); err != nil {
		return err
	}
	if g.Epilogue.usesCoord() {
		return fmt.Errorf("ptx: gemm: an epilogue has no coordinates")
	}
	if g.Parts > 1 && (!g.Weight || len(g.Batch) > 0 || g.Norm != nil) {
		return fmt.Errorf("ptx: gemm: several products of one matrix take weights, no batch and no norm")
	}
	if g.Norm != nil {
		n, ok := g.N.Const()
		if !ok || n < 1 || len(g.Batch) > 0 || !g.C.Row.Equal(g.N) || !g.C.Col.Is(1) || !g.C.Offset.Is(0) {
			return fmt.Errorf("ptx: gemm: a norm takes contiguous rows of known length, got %v", g.N)
		}
		if err := g.Norm.check(); err != nil {
			return err
		}
	}
	if g.Tile == (Tile{}) {
		g.Tile = chooseTile(g)
	}
	return nil
}

// chooseTile takes the large tile unless a known size leaves most of it empty.
func chooseTile(g *Gemm) Tile {
	small := func(e Expr, n int64) bool { k, ok := e.Const(); return ok && k <= n }
	tensorCore := g.Math != Exact
	k := 16
	if g.Math == Tensor16 {
		k = 32
	}
	switch {
	case g.Gated: // twice the accumulators
		return Tile{64, 64, k, 2, 2, 3}
	case small(g.M, 16) && tensorCore:
		return Tile{16, 64, k, 1, 4, 4}
	case small(g.M, 16):
		return Tile{16, 64, k, 1, 2, 4}
	case small(g.M, 64) || small(g.N, 64):
		return Tile{64, 64, k, 2, 2, 3}
	}
	if tensorCore {
		return Tile{128, 128, k, 2, 4, 3}
	}
	return Tile{128, 128, k, 4, 2, 3}
}

// Kernel writes the kernel. Buffers are a, b, extra1, extra2, ..., [gamma, beta], c (or c1, c2, ...), and with a norm y
// and, where several blocks finish a row, arrivals: one i32 per tile of rows, zero before and after.
func (g Gemm) Kernel() (*Kernel, error) {
	if g.A.DType == tensor.F64 {
		return g.plain()
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	name := g.Name
	if name == "" {
		name = "gemm_" + g.Math.String()
	}
	t := g.Tile
	w := &gemmKernel{builder: newKernel(name, t.threads()), Gemm: g}
	w.doc("%s: C[%v,%v] = A[.,%v] B, %s, tile %s", name, g.M, g.N, g.K, g.Math, t)
	batch := Elems(g.Batch)
	w.k.Grid = [3]Expr{g.M.CeilDiv(t.M), g.N.CeilDiv(t.N), batch.MulN(max(1, g.Parts))}
	w.k.Limits = g.limits()
	if t.threads() <= 128 || w.k.Limits.Registers <= 128 || g.Norm != nil && t.M <= 64 {
		// For small blocks and norms: without it ptxas aims at more of them and spills a few bytes.
		// For large ones: two per multiprocessor hide each other's barriers.
		w.MinBlocks(2)
	}
	w.k.Cost = g.cost(batch)
	w.write()
	return w.done(), nil
}

// limits: products of aligned operands are the hot ones. With tiles of 16-byte copies they must stay under what
// lets two blocks of 8 warps share a multiprocessor.
func (g Gemm) limits() Limits {
	es := g.A.DType.Size()
	aligned := vecFor(g.K, es)*es == 16 && vecFor(g.A.Row, es)*es == 16 && g.A.Col.Is(1)
	if aligned && g.Weight && g.conv == nil && g.pairs == nil && g.Math != Exact && len(g.Epilogue.Body) <= 2 {
		if len(g.Extra) == 0 && g.Epilogue.Outputs[0].DType.Size() == es {
			return Limits{Registers: 128}
		}
		return Limits{Registers: 192} // held to 128, the epilogue's addresses spill a few bytes
	}
	if g.conv != nil {
		return Limits{Registers: 255, Spills: 64} // a window's corner per copy
	}
	return Limits{Registers: 255}
}

func (g Gemm) cost(batch Expr) Cost {
	mn := g.M.Mul(g.N)
	weights, parts := N(g.weights()), N(max(1, g.Parts))
	c := Cost{FLOPs: mn.Mul(g.K).MulN(2).Mul(batch).Mul(weights)}
	add := func(m Matrix, dt tensor.DType, rows, cols Expr) {
		n := N(dt.Size())
		if !m.Row.Is(0) {
			n = n.Mul(rows)
		}
		if !m.Col.Is(0) {
			n = n.Mul(cols)
		}
		for i, s := range m.Batch {
			if !s.Is(0) {
				n = n.Mul(g.Batch[i])
			}
		}
		c.Bytes = c.Bytes.Add(n)
	}
	add(g.A, g.A.DType, g.M, g.K)
	add(g.B, g.B.DType, g.K, g.N.Mul(weights))
	add(g.C, g.C.DType, g.M, g.N.Mul(parts))
	for i, m := range g.Extra {
		add(m, g.Epilogue.Inputs[len(g.Epilogue.Inputs)-len(g.Extra)+i], g.M, g.N.Mul(parts))
	}
	if g.Norm != nil { // C comes back from L2
		add(g.C, g.C.DType, g.M, g.N)
		c.FLOPs = c.FLOPs.Add(mn.MulN(8))
	}
	return c
}

// batchOffset is the element offset of this block's batch, in 64 bits.
func (w *gemmKernel) batchOffset(base asm.U64, m Matrix, es int, coords []asm.U32) asm.U64 {
	base = base.At(w.dim(m.Offset), es)
	for i, s := range m.Batch {
		base = base.AtMul(coords[i], w.dim(s), es)
	}
	return base
}

func (w *gemmKernel) write() {
	t := w.Tile
	aPtr := w.buffer("a", w.A.DType, Read)
	bPtr := w.buffer("b", w.B.DType, Read)
	if w.pairs != nil {
		w.pairs.second = w.buffer("a2", w.A.DType, Read)
	}
	var extra []asm.U64
	for i := range w.Extra {
		extra = append(extra, w.buffer(fmt.Sprintf("extra%d", i+1), w.Epilogue.Inputs[len(w.Epilogue.Inputs)-len(w.Extra)+i], Read))
	}
	out := w.Epilogue.Outputs[0].DType
	var norm normBuffers
	var arrivals asm.U64
	if w.Norm != nil {
		norm = w.normInputs(w.Norm)
	}
	var cPtr asm.U64
	switch {
	case w.Parts > 1:
		var parts []asm.U64
		for i := range w.Parts {
			parts = append(parts, w.buffer(fmt.Sprintf("c%d", i+1), out, Write))
		}
		cPtr = w.part(parts, &bPtr, extra)
	case w.Norm != nil:
		cPtr = w.buffer("c", out, ReadWrite)
		norm.y = w.buffer("y", out, Write)
		if w.tilesN() > 1 {
			arrivals = w.buffer("arrivals", tensor.I32, ReadWrite)
		}
	default:
		cPtr = w.buffer("c", out, Write)
	}
	w.m, w.n = w.dim(w.M), w.dim(w.N)
	k := w.dim(w.K)
	w.Comment("this block's tile of the output and its batch")
	row, col := w.BlockX().MulI(t.M).As("tile_row"), w.BlockY().MulI(t.N).As("tile_col")
	coords := make([]asm.U32, len(w.Batch))
	rest := w.Const(0)
	if len(w.Batch) > 0 {
		rest = w.BlockZ()
	}
	for i := len(w.Batch) - 1; i >= 0; i-- {
		if i == 0 {
			coords[0] = rest
			break
		}
		rest, coords[i] = rest.DivRem(w.dim(w.Batch[i]))
	}
	aPtr = w.batchOffset(aPtr, w.A, w.A.DType.Size(), coords)
	if !w.Weight {
		bPtr = w.batchOffset(bPtr, w.B, w.B.DType.Size(), coords)
	}
	w.epi = newEpilogue(w.builder, w.Epilogue, w.C, w.Extra, w.M, w.N)
	w.epi.place(cPtr, extra, coords)

	smem := w.DynamicShared()
	opA := w.operandA(aPtr, row, k)
	opB := w.operandB(bPtr, col, k)
	sizeA := opA.bytes()
	sizeB := opB.bytes()
	stage := sizeA + sizeB
	var opB2 loader // of a gated product's second weight
	if w.Gated {
		p, _ := w.Pack()
		opB2 = w.operandB(bPtr.AddI(p.Elems/2*p.DType.Size()), col, k)
		stage += sizeB
	}
	w.k.DynamicShared = stage * t.Stages
	w.core = newCore(w.builder, w.Math, w.A.DType, t)
	w.zero()
	var partner *core
	if w.Gated {
		partner = newCore(w.builder, w.Math, w.A.DType, t)
		partner.zero()
	}
	w.epi.row, w.epi.col = row.Add(w.row0).As("out_row"), col.Add(w.col0).As("out_col")
	w.pipeline("k", k.CeilDivI(t.K), smem, t.Stages, stage,
		func(kc, to asm.U32) {
			k0 := kc.MulI(t.K)
			opA.issue(k0, to)
			opB.issue(k0, to.AddI(sizeA))
			if w.Gated {
				opB2.issue(k0, to.AddI(sizeA+sizeB))
			}
		},
		func(_, from asm.U32) {
			w.multiply(from, from.AddI(sizeA), opA.pitch, opB)
			if w.Gated {
				partner.multiply(from, from.AddI(sizeA+sizeB), opA.pitch, opB2)
			}
		})
	w.Comment("epilogue")
	group := 0
	w.columns(func(col, width int, each func(func(int, []asm.F32))) {
		if w.Gated {
			first, second := each, partner.group(group)
			group++
			each = func(f func(int, []asm.F32)) {
				i := 0
				first(func(row int, v []asm.F32) {
					f(row, append(append([]asm.F32{}, v...), second[i]...))
					i++
				})
			}
		}
		w.epi.column(col, width, t.N, each)
	})
	if w.Norm != nil {
		w.normRows(row, cPtr, norm, arrivals)
	}
}

// part moves the pointers to the block's own product and returns its output.
func (w *gemmKernel) part(outs []asm.U64, b *asm.U64, extra []asm.U64) asm.U64 {
	w.Comment("this block's product")
	p, _ := w.Pack()
	n, _ := w.N.Const()
	z := w.BlockZ()
	*b = b.AtMul(z, w.Const(p.Elems/w.Parts), p.DType.Size())
	for i, m := range w.Extra {
		if m.Row.Is(0) {
			extra[i] = extra[i].AtMul(z, w.Const(int(n)), w.Epilogue.Inputs[i+1].Size())
		}
	}
	out := outs[0]
	for i, c := range outs[1:] {
		out = z.EqI(i+1).SelU64(c, out)
	}
	return out
}

// tilesN is the number of blocks that finish a row between them.
func (w *gemmKernel) tilesN() int {
	n, _ := w.N.Const()
	return (int(n) + w.Tile.N - 1) / w.Tile.N
}

// normRows normalises the rows of the block's tile, once all of their columns are there.
func (w *gemmKernel) normRows(first asm.U32, c asm.U64, p normBuffers, arrivals asm.U64) {
	n, _ := w.N.Const()
	d, warps := int(n), w.Tile.threads()/asm.WarpSize
	end := first.AddI(w.Tile.M).Min(w.m).As("end_row")
	batch := min(w.Norm.batch(d), max(1, w.Tile.M/warps))
	rows := func() {
		w.Comment("each warp normalises %d rows at a time", batch)
		w.For("norm_row", w.Warp().MadI(batch, first), end, warps*batch, func(r asm.U32) {
			at, live := make([]asm.U32, batch), make([]asm.Pred, batch)
			for i := range at {
				at[i], live[i] = r.AddI(i).Min(end.AddI(-1)), r.AddI(i).Lt(end)
			}
			w.normalise(w.Norm, d, w.Epilogue.Outputs[0].DType, c, p, at, live)
		})
	}
	w.Comment("norm: the block's columns are stored")
	w.Barrier()
	if w.tilesN() == 1 {
		rows()
		return
	}
	flag := w.Shared("before", 4, 4)
	w.If(w.Tid().EqI(0), func() { flag.StsU32(0, arrivals.At(w.BlockX(), 4).AtomicAdd(0, w.Const(1))) })
	w.Barrier()
	w.Comment("the last block of these rows has all of their columns")
	w.If(flag.LdsU32(0).EqI(w.tilesN()-1), func() {
		w.If(w.Tid().EqI(0), func() { arrivals.At(w.BlockX(), 4).StU32(0, w.Const(0)) }) // ready for the next run
		rows()
	})
}

// operandA plans the copies of A: always k-contiguous in shared memory.
func (w *gemmKernel) operandA(base asm.U64, row, k asm.U32) *operand {
	es := w.A.DType.Size()
	wide := 16 / es
	vec := w.A.Col.Is(1) && w.A.Row.DivisibleBy(wide) && w.K.DivisibleBy(wide) && w.A.alignedBatch(wide)
	o := &operand{
		b: w.builder, es: es, xTile: w.Tile.M, kTile: w.Tile.K, kMinor: true,
		pitch: w.Tile.K + wide, // 16 bytes more: rows start in different banks
		vec:   1, along: !w.A.Row.Is(1), checkX: !w.M.DivisibleBy(w.Tile.M), checkK: !w.K.DivisibleBy(w.Tile.K), kLimit: k,
	}
	if vec {
		o.vec = wide
	}
	if w.pairs != nil {
		o.vec, o.dt, o.generate = 1, w.A.DType, w.pairs.element(w, base)
	}
	o.prepare(source{base, row, w.m, w.dim(w.A.Row), w.dim(w.A.Col)})
	return o
}

func (m Matrix) alignedBatch(n int) bool {
	for _, s := range m.Batch {
		if !s.DivisibleBy(n) {
			return false
		}
	}
	return m.Offset.DivisibleBy(n)
}

// loader copies one operand's tiles.
type loader interface {
	bytes() int
	issue(k0, to asm.U32)
}

// operandB plans the copies of B: n-contiguous in shared memory, or k-contiguous for a 16-bit matrix that is
// so in global memory, or fragment order for a packed 16-bit weight.
func (w *gemmKernel) operandB(base asm.U64, col, k asm.U32) loader {
	es := w.B.DType.Size()
	wide := 16 / es
	t := w.Tile
	if w.Weight && es == 2 {
		kp, _ := w.K.Const()
		return newFragmentLoader(w.builder, base, col, t.N, t.K, roundUp(int(kp), packPadK))
	}
	o := &operand{
		b: w.builder, es: es, xTile: t.N, kTile: t.K, pitch: t.N + 8,
		vec: 1, checkX: !w.N.DivisibleBy(t.N), checkK: !w.K.DivisibleBy(t.K), kLimit: k,
	}
	src := source{base: base, x0: col, xLimit: w.n}
	switch {
	case w.Weight:
		n, _ := w.N.Const()
		src.xStride, src.kStride = w.Const(1), w.Const(roundUp(int(n), packPadN))
		o.vec, o.checkX, o.checkK = wide, false, false
	case w.conv != nil:
		w.conv.image(w, o, &src)
	default:
		src.xStride, src.kStride = w.dim(w.B.Col), w.dim(w.B.Row)
		aligned := w.B.alignedBatch(wide)
		switch {
		case w.B.Col.Is(1) && w.B.Row.DivisibleBy(wide) && w.N.DivisibleBy(wide) && aligned:
			o.vec = wide
		case w.B.Row.Is(1):
			o.along = true
			if es == 2 {
				o.kMinor, o.pitch = true, t.K+wide
				if w.B.Col.DivisibleBy(wide) && w.K.DivisibleBy(wide) && aligned {
					o.vec = wide
				}
			}
		}
	}
	o.prepare(src)
	return o
}
