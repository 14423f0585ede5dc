package runtime

import (
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// slot says where a value lives during a run.
type slot struct {
	kind   slotKind
	offset int // in the arena, for slotArena
	root   int // the value whose memory this one is a view of, for slotView
}

type slotKind uint8

const (
	slotHeap   slotKind = iota // made anew by the step, shapes depend on data
	slotKnown                  // constant of the instance
	slotInput                  // the caller's
	slotOutput                 // the caller's, or made for the caller
	slotArena
	slotView // shares the memory of another value
)

const arenaAlign = 64

// maxArena bounds the bytes of an arena and of one value in it: no system has more
// addresses, and sums of two do not overflow.
const maxArena = min(1<<46, math.MaxInt/2)

// checkSizes holds the values that steps of known shapes make to a bound on elements, 0 for
// none but what memory has addresses for.
func (in *Instance) checkSizes(limit int) error {
	if limit <= 0 {
		limit = maxArena
	}
	for pos, si := range in.Steps {
		if in.Dynamic[pos] {
			continue // when it runs
		}
		st := in.Fn.Steps[si]
		for i, v := range st.Out {
			if v < 0 {
				continue
			}
			t := in.Types[v]
			shape, _ := t.Static()
			if n, ok := tensor.CheckedElems(shape); !ok || n > limit || n > maxArena/max(1, t.DType.Size()) {
				return StepError(st, fmt.Errorf("%w: output %d would be %s (raise the bound with --max-elems)", ir.ErrLimit, i, t))
			}
		}
	}
	return nil
}

// layout gives every value its place. Arena values share memory when their lives do
// not overlap: each takes the lowest gap that fits, in order of the steps. A size beyond
// maxArena is more than that.
func (in *Instance) layout() (slots []slot, size int) {
	fn := in.Fn
	slots = make([]slot, len(fn.Values))
	for i := range slots {
		slots[i].root = i
		if in.Known[i] != nil || fn.Values[i].Const >= 0 {
			slots[i].kind = slotKnown
		}
	}
	for _, v := range fn.Inputs {
		slots[v].kind = slotInput
	}
	isOut := make([]bool, len(fn.Values))
	for _, v := range fn.Outputs {
		isOut[v] = true
	}
	// first and last are positions in in.Steps.
	first := make([]int, len(fn.Values))
	last := make([]int, len(fn.Values))
	var placed []int
	for pos, si := range in.Steps {
		st := fn.Steps[si]
		for _, v := range st.In {
			if v >= 0 {
				last[slots[v].root] = pos
			}
		}
		for _, v := range st.Out {
			if v < 0 {
				continue
			}
			first[v], last[v] = pos, pos
			switch {
			case in.Dynamic[pos]:
				slots[v].kind = slotHeap
			case st.Kernel == plan.KernelView && !isOut[v] && slots[st.In[0]].kind != slotHeap:
				slots[v].kind, slots[v].root = slotView, slots[st.In[0]].root
			case isOut[v]:
				slots[v].kind = slotOutput
			default:
				slots[v].kind = slotArena
				placed = append(placed, v)
			}
		}
	}
	type block struct{ off, size, last int }
	var live []block
	for _, v := range placed {
		shape, _ := in.Types[v].Static()
		n := (tensor.NumElems(shape)*in.Types[v].DType.Size() + arenaAlign - 1) &^ (arenaAlign - 1)
		if n == 0 {
			n = arenaAlign
		}
		live = slices.DeleteFunc(live, func(b block) bool { return b.last < first[v] })
		off := 0
		at := len(live)
		for i, b := range live {
			if b.off-off >= n {
				at = i
				break
			}
			off = min(b.off+b.size, maxArena)
		}
		live = slices.Insert(live, at, block{off, n, last[v]})
		slots[v].offset = off
		size = max(size, off+n)
	}
	return slots, size
}
