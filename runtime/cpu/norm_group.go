package cpu

import (
	"math"

	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/rows"
)

// groupNormTask normalises groups of channels of images [n, positions, c]. A task is a chunk of
// positions: first its statistics, which are put together in the order of chunks whatever
// the threads, then its elements.
type groupNormTask struct {
	rows                    *rows.Kernels
	act                     *act.Kernels
	kind                    act.Kind
	n, positions, c, groups int
	chunk, chunks           int // positions of a chunk, chunks of an image
	epsilon                 float64
	apply                   bool // the second phase
	x, out                  []float32
	scale, bias             []float32 // [c]
	stats                   []moment  // [n, chunks, groups]
	mean, factor            []float32 // [n, c]
	columns                 []float32 // of each worker: c sums and c sums of squares
}

// moment is the mean of a number of elements, and their squared distances from it summed up.
type moment struct{ mean, squares float64 }

const (
	// groupNormRows positions of a chunk bound the error of [rows.Kernels.Moments], and share
	// the arithmetic of a chunk's groups, which is in float64 and one by one.
	groupNormRows = 64
	// groupNormPiece elements are written, then activated while in L1.
	groupNormPiece = 4 << 10
)

func (t *groupNormTask) Do(i, worker int) {
	image, first := i/t.chunks, i%t.chunks*t.chunk
	count := min(t.chunk, t.positions-first)
	at := (image*t.positions + first) * t.c
	x := t.x[at : at+count*t.c]
	if t.apply {
		y, piece := t.out[at:at+count*t.c], max(1, groupNormPiece/t.c)
		for r := 0; r < count; r += piece {
			n := min(piece, count-r)
			part := y[r*t.c:][:n*t.c]
			t.rows.AffineColumns(part, x[r*t.c:], t.mean[image*t.c:][:t.c], t.factor[image*t.c:][:t.c], t.bias, n)
			t.act.Apply(t.kind, part, 1)
		}
		return
	}
	w := t.columns[worker*2*t.c:][:2*t.c]
	sum, squares := w[:t.c], w[t.c:]
	t.rows.Moments(sum, squares, x[:t.c], x, count)
	k, inverse, per := float64(count), 1/float64(count), t.c/t.groups
	for g := range t.groups {
		var m moment
		for j := g * per; j < (g+1)*per; j++ {
			m.mean += float64(x[j]) + float64(sum[j])*inverse
		}
		m.mean /= float64(per)
		for j := g * per; j < (g+1)*per; j++ {
			d := float64(sum[j]) * inverse
			off := float64(x[j]) + d - m.mean
			m.squares += max(0, float64(squares[j])-k*d*d) + k*off*off
		}
		t.stats[i*t.groups+g] = m
	}
}

// combine makes of the chunks' statistics the mean and factor of each image's channels.
func (t *groupNormTask) combine() {
	per := t.c / t.groups
	for i := range t.n {
		for g := range t.groups {
			var mean, squares float64 // of the group
			for k := range t.chunks {
				mean += t.stats[(i*t.chunks+k)*t.groups+g].mean * float64(t.size(k))
			}
			mean /= float64(t.positions)
			for k := range t.chunks {
				m := t.stats[(i*t.chunks+k)*t.groups+g]
				off := m.mean - mean
				squares += m.squares + float64(t.size(k)*per)*off*off
			}
			factor := 1 / math.Sqrt(squares/float64(t.positions*per)+t.epsilon)
			for j := g * per; j < (g+1)*per; j++ {
				t.mean[i*t.c+j] = float32(mean)
				t.factor[i*t.c+j] = float32(factor * float64(t.scale[j]))
			}
		}
	}
}

// size is the number of positions of a chunk.
func (t *groupNormTask) size(chunk int) int { return min(t.chunk, t.positions-chunk*t.chunk) }

// bindGroupNorm is moec::GroupNorm in f32.
func bindGroupNorm(b *Binding) (Bound, error) {
	x, a := channelsFirst(shapeOf(b.Ins[0])), b.Step.Attrs.(*ops.FusedGroupNormAttrs)
	c := x[1]
	if a.NumGroups < 1 || c%int(a.NumGroups) != 0 || !equalShape(shapeOf(b.Ins[1]), []int{c}) || !equalShape(shapeOf(b.Ins[2]), []int{c}) {
		return bindRef(b) // which says what is wrong
	}
	kind, err := activation(a.Activation)
	if err != nil {
		return Bound{}, err
	}
	t := &groupNormTask{
		rows: b.Device.rows, act: b.Device.gemm.Act(), kind: kind,
		n: x[0], positions: tensor.NumElems(x[2:]), c: c, groups: int(a.NumGroups), epsilon: float64(a.Epsilon),
	}
	if t.n*t.positions*t.c == 0 {
		return Bound{Run: func(*Call) error { return nil }}, nil
	}
	t.chunk = groupNormRows
	t.chunks = (t.positions + t.chunk - 1) / t.chunk
	t.stats = make([]moment, t.n*t.chunks*t.groups)
	t.mean, t.factor = make([]float32, t.n*t.c), make([]float32, t.n*t.c)
	r := b.runner(t.n * t.positions * t.c)
	t.columns = make([]float32, r.Workers()*2*t.c)
	return Bound{Run: func(c *Call) error {
		t.x, t.out = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Outs[0])
		t.scale, t.bias = c.vector(1), c.vector(2)
		t.apply = false
		if err := r.Run(t.n*t.chunks, t); err != nil {
			return err
		}
		t.combine()
		t.apply = true
		return r.Run(t.n*t.chunks, t)
	}}, nil
}
