package passes

import (
	"context"
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Evaluator runs a graph on inputs in the order of g.Inputs. Passes never run graphs
// themselves: who asks for a check brings the interpreter.
type Evaluator func(ctx context.Context, g *ir.Graph, ins []*tensor.Tensor) ([]*tensor.Tensor, error)

// Check validates the translation of one model: it runs the graph before and after every
// pass on the same random inputs and holds the difference to what the pass declares.
type Check struct {
	Eval Evaluator
	Seed uint64
	// Sizes are the sizes of named dims; others get random ones.
	Sizes map[string]int
	// Inputs, when set, are used instead of random ones: sets of inputs in the order of
	// the graph's.
	Inputs [][]*tensor.Tensor

	outputs [][]*tensor.Tensor // of the graph as it is now, per set
	first   [][]*tensor.Tensor // of the graph as imported, or as the last approximate pass left it
}

// BrokenPromiseError says that a pass changed the outputs more than it declares.
type BrokenPromiseError struct {
	Effect Effect
	Output string
	Diff   Difference
}

// Error names the output and the difference.
func (e *BrokenPromiseError) Error() string {
	return fmt.Sprintf("the pass declares itself %s, but output %q changed: %s", e.Effect, e.Output, e.Diff)
}

// begin evaluates the graph as imported. Without inputs from the caller it takes random
// ones of several sizes, those that the model runs on: small sizes, size one, which hides
// in broadcasts, and only if neither runs, sizes that images have.
func (c *Check) begin(ctx context.Context, g *ir.Graph) error {
	if len(c.Inputs) > 0 {
		outs, err := c.run(ctx, g)
		c.outputs, c.first = outs, outs
		return err
	}
	err := c.try(ctx, g, sizeRange{2, 8}, sizeRange{1, 1})
	for _, r := range []sizeRange{{32, 32}, {64, 64}, {224, 224}} {
		if len(c.Inputs) == 0 && ctx.Err() == nil {
			err = c.try(ctx, g, r)
		}
	}
	c.first = c.outputs
	if len(c.Inputs) == 0 {
		return fmt.Errorf("the model runs on no random inputs tried: %w", err)
	}
	return nil
}

// try adds random inputs of each range of sizes that g runs on; the error is that of the
// last one that it does not run on.
func (c *Check) try(ctx context.Context, g *ir.Graph, ranges ...sizeRange) (failed error) {
	for i, r := range ranges {
		ins := randomInputs(g, c.Sizes, c.Seed+uint64(i), r)
		outs, err := c.Eval(ctx, g, ins)
		if err != nil {
			failed = err
			continue
		}
		c.Inputs, c.outputs = append(c.Inputs, ins), append(c.outputs, outs)
	}
	return failed
}

// Sample runs g on random inputs of a few small sizes, until it runs on some.
func Sample(ctx context.Context, g *ir.Graph, run Evaluator, seed uint64) (ins, outs []*tensor.Tensor, err error) {
	c := &Check{Eval: run, Seed: seed}
	for _, r := range []sizeRange{{2, 8}, {1, 1}, {32, 32}} {
		if err = c.try(ctx, g, r); err == nil {
			return c.Inputs[0], c.outputs[0], nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, err
}

func (c *Check) run(ctx context.Context, g *ir.Graph) ([][]*tensor.Tensor, error) {
	var all [][]*tensor.Tensor
	for _, ins := range c.Inputs {
		outs, err := c.Eval(ctx, g, ins)
		if err != nil {
			return nil, fmt.Errorf("evaluating the graph: %w", err)
		}
		all = append(all, outs)
	}
	return all, nil
}

func (c *Check) after(ctx context.Context, p Pass, g *ir.Graph) error {
	now, err := c.run(ctx, g)
	if err != nil {
		return err
	}
	for s := range now {
		for i, v := range g.Outputs {
			d := Compare(c.outputs[s][i], now[s][i])
			if !p.Effect.allows(d) {
				return &BrokenPromiseError{Effect: p.Effect, Output: v.Name, Diff: d}
			}
		}
	}
	c.outputs = now
	if p.Effect == Approximate {
		c.first = now
	}
	return nil
}

// Outputs compares the outputs of the compiled program, per set of c.Inputs, with those
// of the graph as it was imported, or as the last approximate pass left it.
func (c *Check) Outputs(g *ir.Graph, got [][]*tensor.Tensor) error {
	for s := range got {
		for i, v := range g.Outputs {
			if d := Compare(c.first[s][i], got[s][i]); !Rounding.allows(d) {
				return fmt.Errorf("output %q is not that of the imported model: %s", v.Name, d)
			}
		}
	}
	return nil
}
