package passes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/irtext"
)

// Options say what to run and what to watch. The zero value runs nothing; Default runs
// the pipeline.
type Options struct {
	Pipeline []Pass
	// Verify checks the graph, and that a pass which reports no change made none,
	// after every pass.
	Verify bool
	// Shuffle reorders the nodes within their topological freedom after every pass,
	// so that no pass comes to rely on their order. The seed is made of the graph's name.
	Shuffle bool
	// Check, when set, runs the graph before and after every pass and compares.
	Check *Check
	// Observe sees the graph as imported (the zero Step, named "import") and after
	// every pass; it must not change it. It also sees the graph a failing pass left.
	Observe func(Step, *ir.Graph) error
}

// Default is the pipeline that every compilation runs.
func Default() Options { return Options{Pipeline: Pipeline()} }

// PanicError is a panic inside a pass: a bug in moec.
type PanicError struct {
	Value any
	Stack []byte
}

// Error names the panic; the stack is in Stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("internal error (a bug in moec, please report it): %v", e.Value)
}

// Run rewrites g by the pipeline. The graph comes out sorted and with types inferred. On
// an error the report tells what ran until then, and g is in the state the pass left it.
func Run(ctx context.Context, g *ir.Graph, opts Options) (*Report, error) {
	r := &runner{opts: opts, report: &Report{}}
	if err := settle(g); err != nil {
		return r.report, err
	}
	if opts.Verify {
		if err := ir.Verify(g); err != nil {
			return r.report, err
		}
	}
	n := CountNodes(g)
	if err := r.observe(Step{Pass: "import", Doc: "The model as imported.", Before: n, After: n}, g); err != nil {
		return r.report, err
	}
	if opts.Check != nil {
		if err := opts.Check.begin(ctx, g); err != nil {
			return r.report, fmt.Errorf("check: %w", err)
		}
	}
	for _, p := range opts.Pipeline {
		if err := ctx.Err(); err != nil {
			return r.report, err
		}
		if err := r.pass(ctx, p, g); err != nil {
			return r.report, inPass(p, err)
		}
	}
	return r.report, nil
}

type runner struct {
	opts   Options
	report *Report
	text   irtext.Printer // remembers the hashes of weights from pass to pass
}

func (r *runner) pass(ctx context.Context, p Pass, g *ir.Graph) error {
	before := ""
	if r.opts.Verify {
		before = r.print(g)
	}
	step := Step{Pass: p.Name, Doc: p.Doc, Effect: p.Effect, Before: CountNodes(g)}
	ctx = context.WithValue(ctx, receiptsKey{}, &r.report.Receipts)
	start := time.Now()
	changed, err := runGuarded(ctx, p, g)
	step.Time, step.Changed, step.After = time.Since(start), changed, CountNodes(g)
	if err == nil && changed {
		err = settle(g)
	}
	r.report.Steps = append(r.report.Steps, step)
	if err == nil && r.opts.Verify {
		err = r.verify(g, before, changed)
	}
	err = errors.Join(err, r.observe(step, g))
	if err != nil || !changed {
		return err
	}
	if r.opts.Shuffle {
		shuffle(g)
	}
	if r.opts.Check != nil {
		return r.opts.Check.after(ctx, p, g)
	}
	return nil
}

func (r *runner) observe(s Step, g *ir.Graph) error {
	if r.opts.Observe == nil {
		return nil
	}
	return r.opts.Observe(s, g)
}

func (r *runner) print(g *ir.Graph) string {
	var b strings.Builder
	if err := r.text.Print(&b, g); err != nil {
		panic(err) // a strings.Builder does not fail
	}
	return b.String()
}

func (r *runner) verify(g *ir.Graph, before string, changed bool) error {
	if err := ir.Verify(g); err != nil {
		return err
	}
	if same := r.print(g) == before; same == changed {
		return fmt.Errorf("%w: the pass reports changed=%v, which is not so", ir.ErrGraph, changed)
	}
	return nil
}

// runGuarded runs a pass on g and all subgraphs, inner ones first, and turns a panic
// into an error. It is the one place of the compiler that recovers.
func runGuarded(ctx context.Context, p Pass, g *ir.Graph) (changed bool, err error) {
	defer func() {
		if v := recover(); v != nil {
			changed, err = true, &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return runAll(ctx, p, g)
}

func runAll(ctx context.Context, p Pass, g *ir.Graph) (bool, error) {
	changed := false
	for _, n := range g.Nodes {
		for _, s := range n.Subgraphs {
			c, err := runAll(ctx, p, s)
			changed = changed || c
			if err != nil {
				return changed, ir.NodeError(n, err)
			}
		}
	}
	c, err := p.Run(ctx, g)
	return changed || c, err
}

// settle brings the nodes of g and its subgraphs into order and infers all types.
func settle(g *ir.Graph) error {
	if err := sortAll(g); err != nil {
		return err
	}
	return ir.Infer(g)
}

func sortAll(g *ir.Graph) error {
	if err := g.Sort(); err != nil {
		return err
	}
	for _, n := range g.Nodes {
		for _, s := range n.Subgraphs {
			if err := sortAll(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// inPass adds the pass's name to an error.
func inPass(p Pass, err error) error {
	var e *ir.Error
	if errors.As(err, &e) {
		c := *e
		if c.Pass == "" {
			c.Pass = p.Name
		}
		return &c
	}
	return &ir.Error{Pass: p.Name, Err: err}
}

// shuffle puts the nodes into a random order in which producers still come first. Nodes
// of random ops keep their order among themselves.
func shuffle(g *ir.Graph) {
	h := uint64(14695981039346656037)
	for _, c := range []byte(g.Name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	rng := rand.New(rand.NewPCG(h, uint64(len(g.Nodes))))
	waits := make(map[*ir.Node]int, len(g.Nodes))
	readers := map[*ir.Node][]*ir.Node{}
	after := func(a, b *ir.Node) {
		waits[b]++
		readers[a] = append(readers[a], b)
	}
	var random *ir.Node
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			if v != nil && v.Def != nil {
				after(v.Def, n)
			}
		}
		if n.Op.Random {
			if random != nil {
				after(random, n)
			}
			random = n
		}
		for _, s := range n.Subgraphs {
			shuffle(s)
		}
	}
	var ready, order []*ir.Node
	for _, n := range g.Nodes {
		if waits[n] == 0 {
			ready = append(ready, n)
		}
	}
	for len(ready) > 0 {
		i := rng.IntN(len(ready))
		n := ready[i]
		ready[i] = ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		order = append(order, n)
		for _, m := range readers[n] {
			if waits[m]--; waits[m] == 0 {
				ready = append(ready, m)
			}
		}
	}
	if len(order) == len(g.Nodes) {
		g.Nodes = order
	}
}
