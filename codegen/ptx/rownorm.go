package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
)

// RowNorm is LayerNorm or RMSNorm of finished rows at the end of the kernel that computes them, so that the
// normalisation behind a residual sum needs no launch of its own: y = (v - mean) / sqrt(var + Eps) * gamma + beta.
// Rows are finished by several blocks; whoever comes last reads them back, from L2, and writes y. The numbers are
// those that the kernel of Norm makes of the same v as stored, whoever came last.
type RowNorm struct {
	Scale dtype // of gamma and beta
	RMS   bool  // no mean: y = v / sqrt(mean(v^2) + Eps) * gamma
	Beta  bool
	Eps   float32
}

// check refuses what the kernels do not have.
func (n *RowNorm) check() error {
	if k, err := kindOf(n.Scale); err != nil || k != floatKind {
		return fmt.Errorf("ptx: norm with a scale of %s", n.Scale)
	}
	return nil
}

// normSlots is about the number of registers per thread that hold rows being normalised: a warp takes as many rows at
// a time as fit, since their loads and shuffles wait for nothing but each other. At most normRows rows.
const (
	normSlots = 64
	normRows  = 4
)

// batch is the number of rows of d elements, a power of two, that a warp normalises at a time.
func (n *RowNorm) batch(d int) int {
	b := normRows
	for b > 1 && b*d > normSlots*asm.WarpSize {
		b /= 2
	}
	return b
}

// normTokens normalises, by one warp, those of the given rows that are live, if there are any. The others may be
// anything: a live row is read in their place.
func (b *builder) normTokens(n *RowNorm, d int, dt dtype, v asm.U64, p normBuffers, at []asm.U32, live []asm.Pred) {
	safe, any := at[len(at)-1], live[len(at)-1]
	for i := len(at) - 2; i >= 0; i-- {
		safe, any = live[i].SelU32(at[i], safe), any.Or(live[i])
	}
	b.If(any, func() {
		rows := make([]asm.U32, len(at))
		for i := range at {
			rows[i] = live[i].SelU32(at[i], safe)
		}
		b.normalise(n, d, dt, v, p, rows, live)
	})
}

// normBuffers are the pointers of a RowNorm.
type normBuffers struct{ gamma, beta, y asm.U64 }

// buffers are those that a norm of rows of d elements adds to an Op: its parameters and the rows before it, which
// the caller may keep.
func (n *RowNorm) buffers(count Expr, d int, dt dtype) []Buffer {
	if n == nil {
		return nil
	}
	out := []Buffer{{Name: "gamma", Role: Input, DType: n.Scale, Elems: N(d)}}
	if n.Beta {
		out = append(out, Buffer{Name: "beta", Role: Input, DType: n.Scale, Elems: N(d)})
	}
	return append(out, Buffer{Name: "sum", Role: Scratch, DType: dt, Elems: count.MulN(d)})
}

// normInputs declares what a norm reads; its output comes with the kernel's own.
func (b *builder) normInputs(n *RowNorm) normBuffers {
	var p normBuffers
	p.gamma = b.buffer("gamma", n.Scale, Read)
	if n.Beta {
		p.beta = b.buffer("beta", n.Scale, Read)
	}
	return p
}

// normalise writes the norms of some rows of d elements of v, by one warp. at are numbers of rows that exist; those
// that are not live are read and not written.
func (b *builder) normalise(n *RowNorm, d int, dt dtype, v asm.U64, p normBuffers, at []asm.U32, live []asm.Pred) {
	es := dt.Size()
	width := 1
	if d%4 == 0 {
		width = 4
	}
	slots := 0 // rows that do not fit are read again in each pass
	if d <= asm.WarpSize*maxRowSlots {
		slots = roundUp(d, asm.WarpSize*width) / asm.WarpSize
	}
	dim := b.Const(d)
	team := make([]pass, len(at))
	for i, row := range at {
		r := &rows{b: b, team: asm.WarpSize, lane: b.Lane(), row: row, d: N(d), dim: dim, width: width, slots: slots}
		team[i] = r.read(func(col asm.U32) []asm.F32 { return loadFloats(v.AtMul(row, dim, es).At(col, es), dt, width) })
	}
	// total adds, over each row, what of makes of its elements.
	total := func(of func(i int, x, acc asm.F32)) []asm.F32 {
		sums := make([]asm.F32, len(team))
		for i, p := range team {
			sums[i] = b.ConstF(0).Var("acc")
			p.each(func(_ asm.U32, e []asm.F32) {
				for _, x := range e {
					of(i, x, sums[i])
				}
			})
		}
		for k := asm.WarpSize / 2; k > 0; k /= 2 { // side by side: the rows' shuffles overlap
			for i := range sums {
				sums[i] = sums[i].Add(sums[i].ShflXor(k))
			}
		}
		return sums
	}
	count := b.ConstF(float32(d))
	means := make([]asm.F32, len(team))
	if !n.RMS {
		means = total(func(_ int, x, acc asm.F32) { acc.AddTo(x) })
		for i := range means {
			means[i] = means[i].Div(count)
		}
	}
	around := func(i int, x asm.F32) asm.F32 {
		if n.RMS {
			return x
		}
		return x.Sub(means[i])
	}
	scales := total(func(i int, x, acc asm.F32) {
		x = around(i, x)
		acc.FmaTo(x, x)
	})
	for i, s := range scales {
		scales[i] = b.ConstF(1).Div(s.Div(count).AddC(n.Eps).Sqrt())
	}
	for i, row := range team {
		b.If(live[i], func() {
			row.each(func(col asm.U32, e []asm.F32) {
				g := loadFloats(p.gamma.At(col, n.Scale.Size()), n.Scale, width)
				var beta []asm.F32
				if n.Beta {
					beta = loadFloats(p.beta.At(col, n.Scale.Size()), n.Scale, width)
				}
				out := make([]asm.F32, len(e))
				for q, x := range e {
					out[q] = around(i, x).Mul(scales[i])
					if n.Beta {
						out[q] = out[q].Fma(g[q], beta[q])
					} else {
						out[q] = out[q].Mul(g[q])
					}
				}
				storeFloats(b.Func, p.y.AtMul(at[i], dim, es).At(col, es), dt, out)
			})
		})
	}
}
