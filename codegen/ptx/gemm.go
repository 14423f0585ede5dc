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
	return packMatrix(g.B.DType, int(k), int(n), int(rs), int(cs)), nil
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
	if len(g.Epilogue.Inputs) == 0 {
		g.Epilogue = Program{Inputs: []tensor.DType{tensor.F32}, Outputs: []Result{{0, g.C.DType}}}
	}
	if len(g.Epilogue.Inputs) != len(g.Extra)+1 || len(g.Epilogue.Outputs) != 1 {
		return fmt.Errorf("ptx: gemm: epilogue of %d inputs and %d outputs, with %d extra matrices",
			len(g.Epilogue.Inputs), len(g.Epilogue.Outputs), len(g.Extra))
	}
	if _, err := g.Epilogue.check(); err != nil {
		return err
	}
	if g.Epilogue.usesCoord() {
		return fmt.Errorf("ptx: gemm: an epilogue has no coordinates")
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

// Kernel writes the kernel. Buffers are a, b, extra1, extra2, ..., c.
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
	w.k.Grid = [3]Expr{g.M.CeilDiv(t.M), g.N.CeilDiv(t.N), batch}
	w.k.Limits = g.limits()
	if t.threads() <= 128 || w.k.Limits.Registers <= 128 {
		// For small blocks: without it ptxas aims at more of them and spills a few bytes.
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
	c := Cost{FLOPs: mn.Mul(g.K).MulN(2).Mul(batch)}
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
	add(g.B, g.B.DType, g.K, g.N)
	add(g.C, g.C.DType, g.M, g.N)
	for i, m := range g.Extra {
		add(m, g.Epilogue.Inputs[i+1], g.M, g.N)
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
		extra = append(extra, w.buffer(fmt.Sprintf("extra%d", i+1), w.Epilogue.Inputs[i+1], Read))
	}
	cPtr := w.buffer("c", w.Epilogue.Outputs[0].DType, Write)
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
	w.k.DynamicShared = stage * t.Stages
	w.core = newCore(w.builder, w.Math, w.A.DType, t)
	w.zero()
	w.epi.row, w.epi.col = row.Add(w.row0).As("out_row"), col.Add(w.col0).As("out_col")
	w.pipeline("k", k.CeilDivI(t.K), smem, t.Stages, stage,
		func(kc, to asm.U32) {
			k0 := kc.MulI(t.K)
			opA.issue(k0, to)
			opB.issue(k0, to.AddI(sizeA))
		},
		func(_, from asm.U32) { w.multiply(from, from.AddI(sizeA), opA.pitch, opB) })
	w.Comment("epilogue")
	w.columns(func(col, width int, each func(func(int, []asm.F32))) { w.epi.column(col, width, t.N, each) })
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
