package cpu

import (
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/rows"
)

// bindResize is Resize of f32 whose sizes are known before the run: one pass per axis that
// changes, in the order of Eval, which holds float64 between them.
func bindResize(b *Binding) (Bound, error) {
	var more [3]*tensor.Tensor
	for i := range more {
		if i+1 >= len(b.Ins) || b.Ins[i+1].DType == tensor.Invalid {
			continue
		}
		if more[i] = b.Consts[i+1]; more[i] == nil {
			return bindRef(b) // only the run will know
		}
	}
	shape := append([]int(nil), shapeOf(b.Ins[0])...)
	lines, err := ops.ResizeLines(b.Step.Attrs.(*ops.ResizeAttrs), shape, more[0], more[1], more[2])
	if err != nil || tensor.NumElems(shape) == 0 || tensor.NumElems(shapeOf(b.Outs[0])) == 0 {
		return bindRef(b) // which reports the error
	}
	var passes []*resizeTask
	need := 0
	for axis, l := range lines {
		if l == nil {
			continue
		}
		p := newResizeTask(b.Device, shape, axis, l)
		shape[axis] = len(l)
		passes = append(passes, p)
		need += tensor.NumElems(shape)
	}
	if len(passes) == 0 {
		return bindCopy(b)
	}
	need -= tensor.NumElems(shape) // the last pass writes the output
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		x, scratch := tensor.Data[float32](c.Ins[0]), c.f32(need)
		for i, p := range passes {
			n := p.outer * p.count * p.inner
			if p.x = x; i == len(passes)-1 {
				p.out = tensor.Data[float32](c.Outs[0])
			} else {
				p.out, scratch = scratch[:n], scratch[n:]
			}
			x = p.out
			if err := b.Device.pool.Run((p.outer*p.count+p.per-1)/p.per, p); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

// resizeTask resamples one axis of x [outer, n, inner] to [outer, count, inner].
type resizeTask struct {
	rows            *rows.Kernels
	outer, n, inner int
	count, per      int // output positions; of a task, counted over outer
	first           []int
	at              []int     // positions from first[j] to first[j+1] are those that j reads
	weight          []float32 // of them
	picks, pairs    bool      // every output position shows one of the input, or weighs two
	outside         []bool
	value           []float32
	x, out          []float32
	term            [][]float32 // of each worker: one weighted row
}

func newResizeTask(d *Device, shape []int, axis int, lines []ops.ResizeLine) *resizeTask {
	t := &resizeTask{
		rows: d.rows, outer: tensor.NumElems(shape[:axis]), n: shape[axis], inner: tensor.NumElems(shape[axis+1:]), count: len(lines),
		first: make([]int, 1, len(lines)+1), outside: make([]bool, len(lines)), value: make([]float32, len(lines)),
	}
	t.picks = true
	for j, l := range lines {
		t.outside[j], t.value[j] = l.Outside, float32(l.Value)
		for k, p := range l.At {
			if w := float32(l.Weight[k]); l.Weight[k] != 0 { // 0 of infinity is not read
				t.at, t.weight = append(t.at, p), append(t.weight, w)
			}
		}
		t.first = append(t.first, len(t.at))
		t.picks = t.picks && !l.Outside && len(t.at) == j+1 && t.weight[j] == 1
	}
	t.pairs = t.inner == 1 && !t.picks && t.pair()
	t.per = max(1, elementsPerTask/t.inner)
	for range d.pool.Workers() {
		t.term = append(t.term, make([]float32, t.inner))
	}
	return t
}

// pair makes every output position weigh two of the input, as linear interpolation does, where it shows one
// as it is two halves of that; false if some weigh more.
func (t *resizeTask) pair() bool {
	at, weight := make([]int, 0, 2*t.count), make([]float32, 0, 2*t.count)
	for j := range t.count {
		switch a, w := t.at[t.first[j]:t.first[j+1]], t.weight[t.first[j]:t.first[j+1]]; {
		case t.outside[j] || len(a) > 2 || len(a) == 0 || len(a) == 1 && w[0] != 1:
			return false
		case len(a) == 1:
			at, weight = append(at, a[0], a[0]), append(weight, 0.5, 0.5) // halves are exact
		default:
			at, weight = append(at, a...), append(weight, w...)
		}
	}
	for j := range t.first {
		t.first[j] = 2 * j
	}
	t.at, t.weight = at, weight
	return true
}

// Do fills output positions; it is for the pool.
func (t *resizeTask) Do(i, worker int) {
	if t.inner == 1 {
		t.single(i*t.per, min((i+1)*t.per, t.outer*t.count))
		return
	}
	for r := i * t.per; r < min((i+1)*t.per, t.outer*t.count); r++ {
		j := r % t.count
		x := t.x[r/t.count*t.n*t.inner:]
		at, weight := t.at[t.first[j]:t.first[j+1]], t.weight[t.first[j]:t.first[j+1]]
		dst := t.out[r*t.inner : (r+1)*t.inner]
		switch {
		case t.outside[j]:
			fill(dst, t.value[j])
		case len(at) == 1 && weight[0] == 1:
			copy(dst, x[at[0]*t.inner:])
		case t.inner < 8:
			clear(dst)
			for k, p := range at {
				for c, v := range x[p*t.inner : (p+1)*t.inner] {
					dst[c] += weight[k] * v
				}
			}
		default:
			clear(dst)
			for k, p := range at {
				term := t.term[worker]
				t.rows.Scale(term, x[p*t.inner:(p+1)*t.inner], weight[k])
				t.rows.Add(dst, dst, term)
			}
		}
	}
}

// single fills output positions r to end where what lies inside the axis is one element.
func (t *resizeTask) single(r, end int) {
	for r < end {
		j := r % t.count
		n := min(end-r, t.count-j)
		x, dst := t.x[r/t.count*t.n:][:t.n], t.out[r:r+n]
		r += n
		if t.picks {
			for i, p := range t.at[j : j+n] {
				dst[i] = x[p]
			}
			continue
		}
		if t.pairs {
			at, weight := t.at[2*j:2*(j+n)], t.weight[2*j:2*(j+n)]
			for i := range dst {
				dst[i] = weight[2*i]*x[at[2*i]] + weight[2*i+1]*x[at[2*i+1]]
			}
			continue
		}
		for i := range dst {
			if t.outside[j+i] {
				dst[i] = t.value[j+i]
				continue
			}
			var sum float32
			for k := t.first[j+i]; k < t.first[j+i+1]; k++ {
				sum += t.weight[k] * x[t.at[k]]
			}
			dst[i] = sum
		}
	}
}
