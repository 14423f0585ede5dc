package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// windowSpec is what convolutions and pools say about their window; empty lists stand
// for ones (zeros for pads).
type windowSpec struct {
	AutoPad                          string
	Kernel, Strides, Dilations, Pads []int64
	Ceil                             bool // a last window may hang over the end
}

// windowLimit bounds kernel sizes, strides, dilations and pads, so that positions
// computed from them cannot overflow, in 32 bits either.
const windowLimit = min(1<<30, math.MaxInt/8)

// check completes the defaults for n spatial axes and refuses impossible values.
func (s windowSpec) check(n int) (windowSpec, error) {
	fill := func(name string, v []int64, want int, def, least int64) ([]int64, error) {
		if len(v) == 0 {
			v = make([]int64, want)
			for i := range v {
				v[i] = def
			}
		}
		if len(v) != want {
			return nil, fmt.Errorf("%w: %s has %d entries, want %d", ir.ErrAttr, name, len(v), want)
		}
		for _, x := range v {
			if x < least || x > windowLimit {
				return nil, fmt.Errorf("%w: %s %v", ir.ErrAttr, name, v)
			}
		}
		return v, nil
	}
	var err error
	if s.Kernel, err = fill("kernel_shape", s.Kernel, n, 1, 1); err != nil {
		return s, err
	}
	if s.Strides, err = fill("strides", s.Strides, n, 1, 1); err != nil {
		return s, err
	}
	if s.Dilations, err = fill("dilations", s.Dilations, n, 1, 1); err != nil {
		return s, err
	}
	for i, k := range s.Kernel {
		if (k-1)*s.Dilations[i] > windowLimit {
			return s, fmt.Errorf("%w: kernel_shape %v with dilations %v", ir.ErrAttr, s.Kernel, s.Dilations)
		}
	}
	switch s.AutoPad {
	case "", "NOTSET":
	case "VALID", "SAME_UPPER", "SAME_LOWER":
		s.Pads = nil
	default:
		return s, fmt.Errorf("%w: auto_pad %q", ir.ErrAttr, s.AutoPad)
	}
	s.Pads, err = fill("pads", s.Pads, 2*n, 0, -windowLimit)
	return s, err
}

// extent is the input length a window spans on axis i.
func (s windowSpec) extent(i int) int64 { return (s.Kernel[i]-1)*s.Dilations[i] + 1 }

// axis gives the pads and the number of windows on axis i of an input of length in.
func (s windowSpec) axis(i int, in int64) (lo, hi, out int64, err error) {
	stride, ext := s.Strides[i], s.extent(i)
	if in > windowLimit<<10 {
		return 0, 0, 0, fmt.Errorf("%w: axis of length %d", ir.ErrShape, in)
	}
	if s.AutoPad == "SAME_UPPER" || s.AutoPad == "SAME_LOWER" {
		out = (in + stride - 1) / stride
		total := max((out-1)*stride+ext-in, 0)
		lo, hi = total/2, total-total/2
		if s.AutoPad == "SAME_LOWER" {
			lo, hi = hi, lo
		}
		return lo, hi, out, nil
	}
	n := len(s.Kernel)
	lo, hi = s.Pads[i], s.Pads[i+n]
	room := in + lo + hi - ext
	if room < 0 && s.Ceil && room > -stride && in > 0 {
		return lo, hi, 1, nil
	}
	if room < 0 {
		if in == 0 || in+lo+hi <= 0 {
			return lo, hi, 0, nil
		}
		return 0, 0, 0, fmt.Errorf("%w: a window of length %d on an axis of length %d padded by %d and %d", ir.ErrShape, ext, in, lo, hi)
	}
	out = room/stride + 1
	if s.Ceil {
		out = (room+stride-1)/stride + 1
		if (out-1)*stride >= in+lo { // the last window would begin past the input
			out--
		}
	}
	return lo, hi, out, nil
}

// dims are the output lengths of a symbolic input.
func (s windowSpec) dims(in []ir.Dim) ([]ir.Dim, error) {
	out := make([]ir.Dim, len(in))
	for i, d := range in {
		switch {
		case d.IsKnown():
			_, _, n, err := s.axis(i, d.Size)
			if err != nil {
				return nil, err
			}
			out[i] = ir.Known(n)
		case s.Strides[i] != 1:
			out[i] = ir.Unknown()
		case s.AutoPad == "SAME_UPPER" || s.AutoPad == "SAME_LOWER":
			out[i] = d
		default:
			grow := s.Pads[i] + s.Pads[i+len(in)] - s.extent(i) + 1
			out[i] = ir.AddDim(d, ir.Dim{Size: grow})
			if grow < 0 {
				out[i] = ir.Unknown()
			}
		}
	}
	return out, nil
}

// window is a windowSpec laid over an input of known size: it pairs positions of the
// grid of windows ("small") with positions of the padded input ("big").
type window struct {
	windowSpec
	big, small   []int
	padLo, padHi []int
	taps         int // kernel positions
	bigStride    []int
	smallStride  []int
}

func newWindow(s windowSpec, big []int) (*window, error) {
	s, err := s.check(len(big))
	if err != nil {
		return nil, err
	}
	w := &window{windowSpec: s, big: big, bigStride: tensor.Strides(big)}
	taps, ok := tensor.CheckedElems(toInts(s.Kernel))
	if !ok || taps > 1<<24 {
		return nil, fmt.Errorf("%w: kernel_shape %v", ir.ErrAttr, s.Kernel)
	}
	w.taps = taps
	for i, d := range big {
		lo, hi, out, err := s.axis(i, int64(d))
		if err != nil {
			return nil, err
		}
		w.padLo, w.padHi, w.small = append(w.padLo, int(lo)), append(w.padHi, int(hi)), append(w.small, int(out))
	}
	if _, ok := tensor.CheckedElems(w.small); !ok {
		return nil, fmt.Errorf("%w: output of size %v", ir.ErrShape, w.small)
	}
	w.smallStride = tensor.Strides(w.small)
	return w, nil
}

// sizeInt is a size as an int: one that an int cannot hold becomes the greatest, which
// the bounds on elements refuse.
func sizeInt(n int64) int { return int(min(n, math.MaxInt)) }

func toInts(v []int64) []int { return mapTo(v, sizeInt) }

// tap splits a kernel position into one offset per axis, in input elements.
func (w *window) tap(t int) []int {
	k := make([]int, len(w.Kernel))
	for i := len(k) - 1; i >= 0; i-- {
		k[i] = t % int(w.Kernel[i]) * int(w.Dilations[i])
		t /= int(w.Kernel[i])
	}
	return k
}

// run is one stretch along the last axis in which a kernel position stays inside the
// input: n window positions from offset small, reading the input from offset big on
// in steps of the last stride.
type run struct{ small, big, n int }

// runs lists the stretches of kernel position t in order.
func (w *window) runs(t int) []run {
	k := w.tap(t)
	out := []run{{0, 0, 1}}
	last := len(w.big) - 1
	for i := range w.big {
		stride := int(w.Strides[i])
		base := k[i] - w.padLo[i] // big = small*stride + base
		lo := 0
		if base < 0 {
			lo = (-base + stride - 1) / stride
		}
		hi := w.small[i] // first position past the end
		if top := w.big[i] - 1 - base; top < 0 {
			hi = 0
		} else {
			hi = min(hi, top/stride+1)
		}
		if lo >= hi {
			return nil
		}
		if i == last {
			for j := range out {
				out[j].small += lo * w.smallStride[i]
				out[j].big += (lo*stride + base) * w.bigStride[i]
				out[j].n = hi - lo
			}
			return out
		}
		next := make([]run, 0, len(out)*(hi-lo))
		for _, r := range out {
			for p := lo; p < hi; p++ {
				next = append(next, run{r.small + p*w.smallStride[i], r.big + (p*stride+base)*w.bigStride[i], 1})
			}
		}
		out = next
	}
	return out
}

// step is the distance of neighbouring window positions in the input.
func (w *window) step() int { return int(w.Strides[len(w.Strides)-1]) }
