package session

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/plan/expr"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// eval computes an expression over the dimensions; the result fits 31 bits.
func (in *instance) eval(text string) (int64, error) {
	e, err := expr.Parse(text)
	if err != nil {
		return 0, err
	}
	n, err := e.Eval(in.dims)
	if err == nil && (n > math.MaxInt32 || n < math.MinInt32) {
		err = fmt.Errorf("%w: %s is %d: more than a launch can count", ir.ErrLimit, text, n)
	}
	return n, err
}

// bytes is the size of a value on the device.
func (in *instance) bytes(v int) (int64, error) {
	t := in.rt.Types[v]
	shape, ok := t.Static()
	if !ok {
		return 0, fmt.Errorf("%w: the shape of %q stays open: %s", ir.ErrShape, in.fn.Values[v].Name, t)
	}
	n, ok := tensor.CheckedElems(shape)
	if !ok || int64(n) > 1<<40 {
		return 0, fmt.Errorf("%w: %q would be %s", ir.ErrLimit, in.fn.Values[v].Name, t)
	}
	return int64(n) * int64(in.s.program.Target.Stored(t.DType).Size()), nil
}

// bind lays out device memory, in the order of operations, and binds the launches.
func (in *instance) bind() error {
	last := map[int]int{} // root -> last operation that uses it
	uses := make([][]int, len(in.ops))
	for i, op := range in.ops {
		use := func(v int) {
			r := in.root[v]
			last[r] = i
			uses[i] = append(uses[i], r)
		}
		switch op.kind {
		case opUpload, opDownload:
			use(op.v)
		case opLaunch:
			for _, l := range op.how.Launches {
				for _, text := range l.Args {
					if a, err := plan.ParseArg(text); err == nil && a.Value >= 0 {
						use(a.Value)
					}
				}
			}
			for _, v := range op.step.Out {
				if v >= 0 {
					use(v)
				}
			}
		}
	}
	pool := &layout{in: in, idle: map[int64][]cuda.Ptr{}}
	moved := int64(0) // in the segment
	for i := range in.ops {
		op := &in.ops[i]
		switch op.kind {
		case opUpload, opDownload:
			n, err := in.bytes(op.v)
			if err != nil {
				return err
			}
			moved += staged(n)
			in.stage = max(in.stage, moved)
		case opHost, opHostView:
			moved = 0
		}
		for _, r := range uses[i] {
			if in.memory[r] != 0 {
				continue
			}
			n, err := in.bytes(r)
			if err == nil {
				in.memory[r], err = pool.get(n)
			}
			if err != nil {
				return err
			}
		}
		if op.kind == opLaunch {
			if err := in.bindLaunches(op, pool); err != nil {
				return runtime.StepError(op.step, err)
			}
		}
		done := map[int]bool{}
		for _, r := range uses[i] {
			if last[r] == i && !in.fixed[r] && !done[r] {
				done[r] = true
				n, _ := in.bytes(r)
				pool.put(in.memory[r], n)
			}
		}
	}
	return nil
}

// layout hands out memory that values of disjoint lives share.
type layout struct {
	in   *instance
	idle map[int64][]cuda.Ptr
}

func (l *layout) get(n int64) (cuda.Ptr, error) {
	n = max(n, 1)
	if !l.in.s.opt.Separate {
		n = cuda.SizeClass(n)
		if free := l.idle[n]; len(free) > 0 {
			l.idle[n] = free[:len(free)-1]
			return free[len(free)-1], nil
		}
	}
	p, err := l.in.s.alloc(n)
	if err == nil {
		l.in.owned = append(l.in.owned, p)
		l.in.held += n
	}
	return p, err
}

func (l *layout) put(p cuda.Ptr, n int64) {
	if !l.in.s.opt.Separate {
		n = cuda.SizeClass(max(n, 1))
		l.idle[n] = append(l.idle[n], p)
	}
}

// bindLaunches gives a step's launches their grids and arguments.
func (in *instance) bindLaunches(op *operation, pool *layout) error {
	temps := make([]cuda.Ptr, len(op.how.Temps))
	sizes := make([]int64, len(temps))
	for i, t := range op.how.Temps {
		n, err := in.eval(t.Bytes)
		if err != nil {
			return err
		}
		sizes[i] = n
		if !t.Zero {
			if temps[i], err = pool.get(n); err != nil {
				return err
			}
			continue
		}
		if temps[i], err = in.s.alloc(max(n, 1)); err != nil {
			return err
		}
		in.owned = append(in.owned, temps[i])
		if err := in.s.stream.Fill(temps[i], 0, max(n, 1)); err != nil {
			return err
		}
	}
	for li := range op.how.Launches {
		l := &op.how.Launches[li]
		k, err := in.s.kernel(l)
		if err != nil {
			return err
		}
		call := cuda.Launch{Kernel: k.Kernel, Block: [3]int{l.Block, 1, 1}, SharedBytes: l.Shared, Node: op.step.Name, Index: li}
		if len(op.step.Origin) > 0 {
			call.Node = op.step.Origin[0]
		}
		empty := false
		for i, g := range l.Grid {
			n, err := in.eval(g)
			if err != nil {
				return call.Fail(err)
			}
			empty = empty || n < 1
			call.Grid[i] = int(n)
		}
		if empty {
			continue
		}
		for _, text := range l.Args {
			a, err := plan.ParseArg(text)
			if err != nil {
				return call.Fail(err)
			}
			switch {
			case a.Value >= 0:
				call.Args = append(call.Args, in.memory[in.root[a.Value]])
			case a.Temp >= 0:
				call.Args = append(call.Args, temps[a.Temp])
			default:
				n, err := a.Expr.Eval(in.dims)
				if err == nil && (n > math.MaxInt32 || n < math.MinInt32) {
					err = fmt.Errorf("%w: %s is %d: more than a launch can count", ir.ErrLimit, text, n)
				}
				if err != nil {
					return call.Fail(err)
				}
				call.Args = append(call.Args, uint32(n))
			}
		}
		if err := k.takes(call.Args); err != nil {
			return call.Fail(err)
		}
		op.calls = append(op.calls, call)
	}
	for i, t := range op.how.Temps {
		if !t.Zero {
			pool.put(temps[i], sizes[i])
		}
	}
	return nil
}

// free gives back the instance's memory and graphs.
func (in *instance) free() {
	for _, op := range in.ops {
		if op.span != nil && op.span.graph != nil {
			op.span.graph.Close()
			op.span.graph = nil
		}
	}
	for _, p := range in.owned {
		in.s.release(p)
	}
	in.owned = nil
}
