package gemm

import (
	"math"
	"slices"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
)

// runAMX is Run on tiles, for blocks with one step of k at least.
func (k *Kernels) runAMX(b *Block) {
	t := k.tileState()
	defer k.keepTile(t)
	p := b.B.Precision
	per := p.PerStep()
	s0, s1 := b.K0/per, (b.K1+per-1)/per
	cols := b.N1 - b.N0
	if b.M > amxRows {
		// k is not cut: passes over C cost what rows of A that stay in L1 would gain.
		cols = max(1, chunkBytes/(4*layout.NR*(s1-s0))) * layout.NR
	}
	for n := b.N0; n < b.N1; n += cols {
		c := amxChunk{Block: b, n0: n, n1: min(n+cols, b.N1), s0: s0, s1: s1}
		for row := 0; row < b.M; {
			rows := min(amxRows, b.M-row)
			for blocks := 2; c.piped() && blocks <= amxBlocks && row+blocks*amxRows <= b.M; blocks++ {
				rows = blocks * amxRows
			}
			k.rows(t, &c, row, rows)
			row += rows
		}
	}
}

// amxChunk is a part of a block: columns n0 to n1, and steps s0 to s1, which are all.
type amxChunk struct {
	*Block
	n0, n1, s0, s1 int
}

// piped reports whether kernels go from one block of rows to the next, to finish the first
// while they multiply the second: tiles of windows, whose k is often so short that they
// would wait for each other. 12544 pixels of 16 channels by 96 so take 0.7 of the time.
func (b *Block) piped() bool {
	whole, all := b.fused(true)
	half, too := b.fused(false)
	return whole&half&amxPiped != 0 && all && too && !b.Add && b.A.adjoining()
}

// rows multiplies rows rows, from row on, by the columns and steps of c: one block, or
// whole ones.
func (k *Kernels) rows(t *amxTile, c *amxChunk, row, rows int) {
	p := c.B.Precision
	t.operand(c, row, rows)
	if w := c.B.Width; w != 0 {
		t.b, t.bp = wordAt(c.B, c.n0/w*c.B.Pitch+4*c.s0*w, c.s1-c.s0), uintptr(c.B.Pitch)
		if w == layout.NR {
			k.columns(t, c, row, rows, c.n0, c.n1, 2)
			return
		}
		pairs := c.n0 + (c.n1-c.n0)/layout.NR*layout.NR
		if pairs > c.n0 {
			k.columns(t, c, row, rows, c.n0, pairs, 1)
		}
		if c.n1 > pairs {
			t.b = wordAt(c.B, pairs/w*c.B.Pitch+4*c.s0*w, c.s1-c.s0)
			k.columns(t, c, row, rows, pairs, c.n1, 1)
		}
		return
	}
	steps, whole := p.Steps(c.B.K), c.B.N/layout.NR*layout.NR // whole is the columns in whole panels
	if n1 := min(c.n1, whole); n1 > c.n0 {
		t.b = wordAt(c.B, 4*(c.n0*steps+c.s0*layout.NR), c.s1-c.s0)
		t.bp = uintptr(4 * layout.NR * steps)
		k.columns(t, c, row, rows, c.n0, n1, 2)
	}
	if n0 := max(c.n0, whole); n0 < c.n1 {
		ct := 2
		if c.n1-n0 <= layout.NR/2 {
			ct = 1
		}
		t.b, t.bp = wordAt(c.B, 4*(n0*steps+c.s0*16*ct), c.s1-c.s0), 0
		k.columns(t, c, row, rows, n0, c.n1, ct)
	}
}

// columns multiplies by columns n0 to n1, which are whole panels, or else one of ct tiles;
// where panels are one tile wide, an even number of them or one.
func (k *Kernels) columns(t *amxTile, c *amxChunk, row, rows, n0, n1, ct int) {
	width := min(n1-n0, layout.NR)
	t.mask, t.maskUp = uint32(1<<width-1), uint32(1<<((width+1)&^1)-1)
	t.off, t.boff, t.flags, t.bias = 0, 0, 0, nil
	partial := width < layout.NR
	if c.C.Index == nil && !partial {
		t.flags = amxDirect
	}
	if c.Add {
		t.flags |= accumulate
	} else if c.Bias != nil {
		t.bias = unsafe.Pointer(&c.Bias[n0])
	}
	p := c.B.Precision
	var end amxKernel
	if p == layout.I8 {
		end = amxInt8
		t.scale, t.corr = unsafe.Pointer(&c.B.Scale[n0]), unsafe.Pointer(&c.B.Sum[n0])
		if t.bias == nil {
			t.bias = t.zeros(n1 - n0)
		}
	}
	t.lo = float32(math.Inf(-1))
	e, fused := c.fused(n1-n0 > layout.NR/2)
	if fused && (c.Act == act.Relu || c.Act == act.Relu6) || c.bounded() {
		t.lo = 0
	}
	fused = fused && (e&amxHalf == 0 || t.flags&accumulate == 0 || t.flags&amxDirect != 0)
	if fused {
		end |= e
	}
	if t.flags&amxDirect != 0 && t.lo != 0 {
		t.flags |= amxStore
	}
	if end&amxResidual != 0 {
		t.residual(c, row, rows, n0, n1)
	}
	if end&amxHalf != 0 {
		t.into(c, row, rows, n0, n1)
	} else {
		t.result(c, row, rows, n0, n1, end == 0)
	}
	panel := c.B.PanelWidth()
	k.panels(t, min(rows, amxRows), ct, (n1-n0+panel-1)/panel, c.s1-c.s0, end)
	if !fused {
		k.finish(c.Block, row, rows, n0, n1)
	}
}

// fused is how kernels that compute several tiles side by side, or one, end the block, and
// whether they do all that it asks for.
func (b *Block) fused(several bool) (end amxKernel, all bool) {
	switch b.Act {
	case act.Identity, act.Relu:
	case act.Gelu:
		end = amxGelu
	case act.Silu:
		end = amxSilu
	case act.Relu6:
		end = amxRelu6
	case act.HardSwish:
		end = amxHardSwish
	default:
		return 0, false
	}
	plain := end == 0
	if b.A.run > 0 && b.Gates == nil && end&amxGelu == 0 {
		end |= amxPiped
	}
	switch {
	case b.adds() && (!plain || end&amxPiped == 0):
		return 0, false
	case b.adds():
		end |= amxResidual
	case end&(amxRelu6|amxHardSwish) != 0 && end&amxPiped == 0, end&(amxGelu|amxSilu) != 0 && end&amxPiped == 0 && !several:
		return 0, false
	}
	if b.Into.data != nil {
		if b.B.Precision == layout.I8 { // whose kernels end in f32
			return 0, false
		}
		end |= amxHalf
	}
	if b.Gates != nil && end&amxHalf != 0 {
		end |= amxGated
	}
	return end, b.Gates == nil || end&amxGated != 0
}

// zeros points at n minus zeros, which leave even the sign of zero as it is.
func (t *amxTile) zeros(n int) unsafe.Pointer {
	if len(t.none) < n {
		t.none = slices.Repeat([]float32{float32(math.Copysign(0, -1))}, n)
	}
	return unsafe.Pointer(&t.none[0])
}

// result points t at columns n0 to n1 of rows of C, for a kernel with an epilogue or a plain
// one.
func (t *amxTile) result(c *amxChunk, row, rows, n0, n1 int, plain bool) {
	n0, n1 = n0-c.N0, n1-c.N0
	if plain && t.flags&amxStore != 0 { // which goes by the first row and the stride
		first, last := c.C.At(row), c.C.At(row+rows-1)
		_ = c.C.Data[last+n0 : last+n1]
		t.start = unsafe.Pointer(&c.C.Data[first+n0 : first+n1][0])
		return
	}
	for i := range rows {
		t.c[i] = unsafe.Pointer(&c.row(row + i)[n0:n1][0])
	}
	t.start = t.c[0]
}

// residual points t at columns n0 to n1 of rows of the residual, or at zeros for none.
func (t *amxTile) residual(c *amxChunk, row, rows, n0, n1 int) {
	none := t.zeros(n1 - n0)
	n0, n1 = n0-c.N0, n1-c.N0
	h := &c.HalfResidual
	if h.data != nil {
		t.flags |= amxWiden
	}
	for i := range rows {
		r := row + i
		if c.C.Index != nil {
			r = int(c.C.Index[r])
		}
		switch {
		case r < 0 || !c.adds():
			t.r[i] = none
		case h.data != nil:
			t.r[i] = unsafe.Pointer(&h.data[r*h.words+n0/2 : r*h.words+(n1+1)/2][0])
		default:
			at := c.Residual.At(row + i)
			t.r[i] = unsafe.Pointer(&c.Residual.Data[at+n0 : at+n1][0])
		}
	}
}

// into points t at columns n0 to n1 of rows of the operand that takes the results, and at
// those of C, which is at one stride, for what sums start from.
func (t *amxTile) into(c *amxChunk, row, rows, n0, n1 int) {
	n0, n1 = n0-c.N0, n1-c.N0
	words := (n1 - n0 + 1) / 2
	for i := range rows {
		r := row + i
		if c.Gates != nil {
			t.gate[i] = c.Gates[r]
		}
		if c.C.Index != nil {
			if r = int(c.C.Index[r]); r < 0 {
				t.c[i] = unsafe.Pointer(&c.Spare[:words][0])
				continue
			}
		}
		at := r*c.Into.words + (c.IntoCol+n0)/2
		t.c[i] = unsafe.Pointer(&c.Into.data[at : at+words][0])
	}
	if t.flags&accumulate != 0 {
		first, last := c.C.At(row), c.C.At(row+rows-1)
		_ = c.C.Data[last+n0 : last+n1]
		t.start = unsafe.Pointer(&c.C.Data[first+n0 : first+n1][0])
	}
}

// operand points t at the rows of A, and takes their int8 scales.
func (t *amxTile) operand(c *amxChunk, row, rows int) {
	t.rows, t.blocks, t.cs = uintptr(min(rows, amxRows)), uintptr((rows+amxRows-1)/amxRows), uintptr(4*c.C.Stride)
	t.used = max(t.used, rows)
	o, steps := &c.A, c.s1-c.s0
	reach := steps // of a row, in words
	t.spans = 0
	if len(o.spans) > 0 {
		run := layout.BF16.Steps(o.run)
		reach = o.spans[len(o.spans)-1] + min(run, steps)
		t.jump = t.jump[:0]
		for i, at := range o.spans[1:] {
			t.jump = append(t.jump, int64(4*(at-o.spans[i]-run)))
		}
		t.spans, t.jumps = uintptr(len(t.jump)), unsafe.Pointer(unsafe.SliceData(t.jump))
	}
	// Rows that follow each other are read where they are.
	at := func(first, n int) unsafe.Pointer {
		if o.index != nil {
			first = int(o.index[first])
		}
		from := first * o.words
		_ = o.data[from+(n-1)*o.words+reach-1]
		return unsafe.Pointer(&o.data[from:][0])
	}
	if lower := min(rows, 16); rows > amxRows || o.index == nil || follow(o.index[row:row+lower]) && follow(o.index[row+lower:row+rows]) {
		t.as = uintptr(4 * o.words)
		for i := 0; i < rows; i += 16 {
			t.a[i/amxRows][i/16%2] = at(row+i, min(16, rows-i))
		}
	} else {
		words := t.copyRows(o, row, rows, steps)
		t.a[0], t.as = [2]unsafe.Pointer{unsafe.Pointer(&t.gather[0]), unsafe.Pointer(&t.gather[16*words])}, uintptr(4*words)
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

// follow reports whether each row of a list comes after the one before.
func follow(index []int32) bool {
	for i, r := range index {
		if r != index[0]+int32(i) {
			return false
		}
	}
	return true
}

// adjoining reports whether each sixteen rows follow each other.
func (o *Operand) adjoining() bool {
	for i := 0; i < len(o.index); i += 16 {
		if !follow(o.index[i:min(i+16, len(o.index))]) {
			return false
		}
	}
	return true
}

// copyRows gathers the rows that the operand's list picks, words apart.
func (t *amxTile) copyRows(o *Operand, row, rows, steps int) (words int) {
	words = amxWords(steps)
	if need := amxRows * words; len(t.gather) < need {
		t.gather = make([]uint32, need)
	}
	spans, run := o.spans, layout.BF16.Steps(o.run)
	if spans == nil {
		spans, run = []int{0}, steps
	}
	for i := range rows {
		dst, from := t.gather[i*words:(i+1)*words], int(o.index[row+i])*o.words
		for s, at := range spans {
			copy(dst[s*run:min((s+1)*run, steps)], o.data[from+at:])
		}
	}
	t.spans = 0
	return words
}

// amxWords is the distance in words of rows of that many steps: whole cache lines, and
// an odd number of them, so that the rows of a tile lie in different sets of L1.
func amxWords(steps int) int { return ((steps+amxKTile-1)/amxKTile | 1) * amxKTile }

// panels multiplies rows rows of t by panels of ct tiles, over steps steps, and ends as end
// says.
func (k *Kernels) panels(t *amxTile, rows, ct, panels, steps int, end amxKernel) {
	rt := (rows + 15) / 16
	steps /= int(t.spans) + 1 // each as long as the others
	group := 1
	if rt+ct < 4 && panels > 1 {
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
		var shape amxKernel
		switch {
		case rt == 2 && ct == 2:
			shape = amx2x2p1
		case rt == 2 && group == 2:
			shape = amx2x1p2
		case rt == 2:
			shape = amx2x1p1
		case ct == 2 && group == 2:
			shape = amx1x2p2
		case group == 2:
			shape = amx1x1p2
		case ct == 2:
			shape = amx1x2p1
		default:
			shape = amx1x1p1
		}
		k.runTiles(t, shape|end)
		group = 1
	}
}
