package session

import (
	"errors"
	"fmt"

	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/runtime"
)

// span is a run of launches with nothing between them that the host must do. The first run of an instance launches
// them one by one, which also makes the driver load each kernel; the second captures them into a graph, which it and
// later runs replay by a single call.
type span struct {
	end      int // past its last operation
	launches int
	graph    cuda.Graph
	plain    bool // the driver cannot capture it
}

// spans finds the runs of launches.
func (in *instance) spans() {
	for i := 0; i < len(in.ops); i++ {
		if in.ops[i].kind != opLaunch {
			continue
		}
		sp := &span{end: i}
		for sp.end < len(in.ops) && in.ops[sp.end].kind == opLaunch {
			sp.launches += len(in.ops[sp.end].calls)
			sp.end++
		}
		in.ops[i].span = sp
		i = sp.end - 1
	}
}

// play runs the span that begins at operation i.
func (in *instance) play(i int) error {
	sp := in.ops[i].span
	if sp.graph == nil && !sp.plain && sp.launches > 1 && in.runs > 0 {
		g, err := in.s.stream.Capture(func() error { return in.launch(i, sp.end) })
		if err != nil {
			sp.plain = true   // if a launch is at fault, launching it by itself will say so
			in.broken = false // nothing ran
		}
		sp.graph = g
	}
	if sp.graph == nil {
		return in.launch(i, sp.end)
	}
	if err := sp.graph.Launch(in.s.stream); err != nil {
		return in.blame(i, sp.end, err)
	}
	return nil
}

// launch queues the launches of operations one by one.
func (in *instance) launch(first, end int) error {
	for i := first; i < end; i++ {
		for _, c := range in.ops[i].calls {
			if err := in.s.stream.Launch(c); err != nil {
				in.broken = true
				return runtime.StepError(in.ops[i].step, err)
			}
		}
	}
	return nil
}

// wait waits for the device; all operations before end have been queued. What was staged is free again.
func (in *instance) wait(end int) error {
	if err := in.s.stream.Synchronize(); err != nil {
		return in.blame(in.unsure, end, err)
	}
	in.unsure = end
	in.s.staging.used = 0
	return nil
}

// blame names the launch that an error of the device comes from, or, where the device reports it late, the launches
// among which it is.
func (in *instance) blame(first, end int, err error) error {
	in.broken = true
	var le *cuda.LaunchError
	named := errors.As(err, &le)
	var calls []cuda.Launch
	for _, op := range in.ops[first:end] {
		for _, c := range op.calls {
			if named && c.Kernel.Name() == le.Kernel && c.Node == le.Node && c.Index == le.Index {
				return runtime.StepError(op.step, err)
			}
			calls = append(calls, c)
		}
	}
	switch {
	case named || len(calls) == 0:
		return err
	case len(calls) == 1:
		return calls[0].Fail(err)
	}
	a, b := calls[0], calls[len(calls)-1]
	return fmt.Errorf("one of %d launches, from kernel %s (node %s, launch %d) to kernel %s (node %s, launch %d): %w; "+
		"the device reports it late: a run with an observer, such as moec profile, waits after each launch and names it",
		len(calls), a.Kernel.Name(), a.Node, a.Index, b.Kernel.Name(), b.Node, b.Index, err)
}
