package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// RecurrentAttrs are the attributes of RNN, LSTM and GRU. Those an op does not have are
// never set by import and stay at their zero.
type RecurrentAttrs struct {
	ActivationAlpha   []float32 `attr:"activation_alpha"`
	ActivationBeta    []float32 `attr:"activation_beta"`
	Activations       []string  `attr:"activations"`
	Clip              *float32  `attr:"clip"`
	Direction         string    `attr:"direction"`
	HiddenSize        *int64    `attr:"hidden_size"`
	Layout            int64     `attr:"layout"`
	InputForget       *int64    `attr:"input_forget"`        // LSTM
	LinearBeforeReset *int64    `attr:"linear_before_reset"` // GRU
}

func newRecurrentAttrs() any { return &RecurrentAttrs{Direction: "forward"} }

// inferRecurrent sets Y [seq,dirs,batch,hidden], Y_h and (LSTM) Y_c [dirs,batch,hidden],
// batch first under layout 1.
func inferRecurrent(c *ir.InferCtx) error {
	a := c.Attrs.(*RecurrentAttrs)
	if err := wantFloat(c, 0, 1, 2, 3, 5, 6, 7); err != nil {
		return err
	}
	dirs, err := a.dirs()
	if err != nil {
		return err
	}
	x, r := c.In(0), c.In(2)
	for i := range 3 {
		if err := wantRank(fmt.Sprintf("input %d", i), c.In(i), 3, 3); err != nil {
			return err
		}
	}
	hidden, seq, batch := ir.Unknown(), ir.Unknown(), ir.Unknown()
	switch {
	case r.Ranked:
		hidden = r.Shape[2]
	case a.HiddenSize != nil && *a.HiddenSize > 0:
		hidden = ir.Known(*a.HiddenSize)
	}
	if x.Ranked {
		seq, batch = x.Shape[0], x.Shape[1]
		if a.Layout != 0 {
			seq, batch = batch, seq
		}
	}
	d := ir.Known(int64(dirs))
	y, h := []ir.Dim{seq, d, batch, hidden}, []ir.Dim{d, batch, hidden}
	if a.Layout != 0 {
		y, h = []ir.Dim{batch, seq, d, hidden}, []ir.Dim{batch, d, hidden}
	}
	c.SetOut(0, ir.MakeType(x.DType, y...))
	c.SetOut(1, ir.MakeType(x.DType, h...))
	c.SetOut(2, ir.MakeType(x.DType, h...))
	return nil
}

func recurrentCost(c *ir.CostCtx) ir.Cost {
	var seqBatch int64
	if x := c.Ins[0]; x.Rank() == 3 {
		seqBatch = max(x.Shape[0].Size, 0) * max(x.Shape[1].Size, 0)
	}
	return ir.Cost{
		FLOPs: 2 * seqBatch * (knownElems(c.Ins[1]) + knownElems(c.Ins[2])),
		Bytes: movedBytes(c.Ins, c.Outs),
	}
}

func (a *RecurrentAttrs) dirs() (int, error) {
	switch a.Direction {
	case "forward", "reverse", "":
		return 1, nil
	case "bidirectional":
		return 2, nil
	}
	return 0, fmt.Errorf("%w: direction %q", ir.ErrAttr, a.Direction)
}

// recurrence is a recurrent op with its operands checked and widened. Sizes: seq steps,
// batch rows, in features, hid hidden units, gates matrices per direction.
type recurrence[T realElem] struct {
	a                                 *RecurrentAttrs
	dirs, seq, batch, in, hid, gates  int
	x, w, r, b                        []T
	lens                              []int
	act                               [][]activation
	clip                              float64
	hState, cState, y, peep, proj, pr []T
}

// newRecurrence reads the operands that RNN, GRU and LSTM share.
func newRecurrence[T realElem](c *ir.EvalCtx, gates int, defaults ...string) (*recurrence[T], error) {
	if err := need(c, 0, 1, 2); err != nil {
		return nil, err
	}
	a := c.Attrs.(*RecurrentAttrs)
	q := &recurrence[T]{a: a, gates: gates, clip: math.Inf(1)}
	var err error
	if q.dirs, err = a.dirs(); err != nil {
		return nil, err
	}
	if q.act, err = a.bind(q.dirs, defaults...); err != nil {
		return nil, err
	}
	if a.Clip != nil {
		if q.clip = float64(*a.Clip); q.clip < 0 || q.clip != q.clip {
			return nil, fmt.Errorf("%w: clip %v", ir.ErrAttr, *a.Clip)
		}
		if q.clip == 0 { // exporters write 0 for none
			q.clip = math.Inf(1)
		}
	}
	x, w, r := c.In(0), c.In(1), c.In(2)
	for i := range 3 {
		if err := tensorRank(fmt.Sprintf("input %d", i), c.In(i), 3, 3); err != nil {
			return nil, err
		}
	}
	q.seq, q.batch, q.in, q.hid = x.Shape()[0], x.Shape()[1], x.Shape()[2], r.Shape()[2]
	if a.Layout != 0 {
		q.seq, q.batch = q.batch, q.seq
	}
	if a.HiddenSize != nil && int(*a.HiddenSize) != q.hid {
		return nil, fmt.Errorf("%w: hidden_size %d, but R is %s", ir.ErrAttr, *a.HiddenSize, r)
	}
	if err := wantShape("W", w, q.dirs, gates*q.hid, q.in); err != nil {
		return nil, err
	}
	if err := wantShape("R", r, q.dirs, gates*q.hid, q.hid); err != nil {
		return nil, err
	}
	if err := wantShape("B", c.In(3), q.dirs, 2*gates*q.hid); err != nil {
		return nil, err
	}
	if err := q.readLens(c.In(4)); err != nil {
		return nil, err
	}
	v, err := allReals[T](x, w, r, c.In(3))
	if err != nil {
		return nil, err
	}
	q.x, q.w, q.r, q.b = v[0], v[1], v[2], v[3]
	if q.b == nil {
		q.b = make([]T, q.dirs*2*gates*q.hid)
	}
	if q.hState, err = q.state("initial_h", c.In(5)); err != nil {
		return nil, err
	}
	if n, ok := tensor.CheckedElems([]int{q.seq, q.dirs, q.batch, q.hid}); !ok || c.MaxElems > 0 && n > c.MaxElems {
		return nil, fmt.Errorf("%w: an output of %d steps, %d rows and %d units", ir.ErrLimit, q.seq, q.batch, q.hid)
	}
	q.y = make([]T, q.seq*q.dirs*q.batch*q.hid)
	q.proj, q.pr = make([]T, gates*q.hid), make([]T, gates*q.hid)
	return q, nil
}

func (q *recurrence[T]) readLens(t *tensor.Tensor) error {
	q.lens = make([]int, q.batch)
	for i := range q.lens {
		q.lens[i] = q.seq
	}
	if t == nil {
		return nil
	}
	if err := wantShape("sequence_lens", t, q.batch); err != nil {
		return err
	}
	v, err := t.Int64s()
	if err != nil {
		return fmt.Errorf("%w: sequence_lens: %w", ir.ErrType, err)
	}
	for i, n := range v {
		if n < 0 || n > int64(q.seq) {
			return fmt.Errorf("%w: sequence_lens %v with %d steps", ir.ErrInput, v, q.seq)
		}
		q.lens[i] = int(n)
	}
	return nil
}

// state reads an initial state as [dirs,batch,hidden], zeros when absent.
func (q *recurrence[T]) state(name string, t *tensor.Tensor) ([]T, error) {
	out := make([]T, q.dirs*q.batch*q.hid)
	if t == nil {
		return out, nil
	}
	shape := []int{q.dirs, q.batch, q.hid}
	if q.a.Layout != 0 {
		shape = []int{q.batch, q.dirs, q.hid}
	}
	if err := wantShape(name, t, shape...); err != nil {
		return nil, err
	}
	v, err := reals[T](t)
	if err != nil {
		return nil, err
	}
	if q.a.Layout == 0 {
		copy(out, v)
		return out, nil
	}
	swapOuter(out, v, q.batch, q.dirs, q.hid)
	return out, nil
}

// swapOuter copies [a,b,n] to [b,a,n].
func swapOuter[T any](dst, src []T, a, b, n int) {
	for i := range a {
		for j := range b {
			copy(dst[(j*a+i)*n:(j*a+i+1)*n], src[(i*b+j)*n:(i*b+j+1)*n])
		}
	}
}

// run calls step for every direction, row and time in order. The step reads the gates'
// input projections in q.proj (bias Wb added) and its own state rows h (and c) and must
// update them; run records h as that time's output. Steps past a row's length output 0.
func (q *recurrence[T]) run(c *ir.EvalCtx, step func(d int, h, cell []T)) error {
	g := q.gates * q.hid
	for d := range q.dirs {
		backward := d == 1 || q.a.Direction == "reverse"
		w := q.w[d*g*q.in : (d+1)*g*q.in]
		wb := q.b[d*2*g : d*2*g+g]
		for row := range q.batch {
			if err := c.Context.Err(); err != nil {
				return err
			}
			at := (d*q.batch + row) * q.hid
			h := q.hState[at : at+q.hid]
			var cell []T
			if q.cState != nil {
				cell = q.cState[at : at+q.hid]
			}
			if q.lens[row] == 0 { // a row without steps ends at 0, as in onnxruntime
				clear(h)
				clear(cell)
			}
			for i := range q.lens[row] {
				t := i
				if backward {
					t = q.lens[row] - 1 - i
				}
				xo := (t*q.batch + row) * q.in
				if q.a.Layout != 0 {
					xo = (row*q.seq + t) * q.in
				}
				matVec(q.proj, w, q.x[xo:xo+q.in], wb)
				step(d, h, cell)
				yo := ((t*q.dirs+d)*q.batch + row) * q.hid
				copy(q.y[yo:yo+q.hid], h)
			}
		}
	}
	return nil
}

// recur puts R*h + Rb of rows [lo,hi) of direction d's recurrent matrix into q.pr.
func (q *recurrence[T]) recur(d int, h []T, lo, hi int) {
	g := q.gates * q.hid
	r := q.r[(d*g+lo)*q.hid : (d*g+hi)*q.hid]
	matVec(q.pr[lo:hi], r, h, q.b[d*2*g+g+lo:d*2*g+g+hi])
}

// clamp limits a gate's input to the clip range.
func (q *recurrence[T]) clamp(x T) float64 {
	return math.Max(-q.clip, math.Min(q.clip, float64(x)))
}

// matVec is y = m*x + b with m of len(y) rows.
func matVec[T realElem](y, m, x, b []T) {
	n := len(x)
	for i := range y {
		row := m[i*n : (i+1)*n]
		s := b[i]
		for j, e := range row {
			s += e * x[j]
		}
		y[i] = s
	}
}

// emit writes Y, Y_h and, when cells is set, Y_c.
func (q *recurrence[T]) emit(c *ir.EvalCtx, cells []T) error {
	dt := c.In(0).DType()
	put := func(i int, v []T, shape ...int) error {
		if i >= len(c.Outs) || i < len(c.Want) && !c.Want[i] {
			return nil
		}
		out, err := outReals[T](c, i, dt, shape...)
		if err != nil {
			return err
		}
		copy(out.V, v)
		out.Store()
		return nil
	}
	states := [][]T{q.hState, cells}
	if q.a.Layout == 0 {
		if err := put(0, q.y, q.seq, q.dirs, q.batch, q.hid); err != nil {
			return err
		}
		for i, s := range states {
			if s == nil {
				continue
			}
			if err := put(i+1, s, q.dirs, q.batch, q.hid); err != nil {
				return err
			}
		}
		return nil
	}
	y := make([]T, len(q.y)) // [seq,dirs,batch,hid] to [batch,seq,dirs,hid]
	swapOuter(y, q.y, q.seq*q.dirs, q.batch, q.hid)
	if err := put(0, y, q.batch, q.seq, q.dirs, q.hid); err != nil {
		return err
	}
	for i, s := range states {
		if s == nil {
			continue
		}
		v := make([]T, len(s))
		swapOuter(v, s, q.dirs, q.batch, q.hid)
		if err := put(i+1, v, q.batch, q.dirs, q.hid); err != nil {
			return err
		}
	}
	return nil
}
