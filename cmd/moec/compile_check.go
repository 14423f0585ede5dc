package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/passes/dump"
	"github.com/seed-c851cfd2/moec/runtime"
)

// checkProgram runs the artifact on the inputs that the passes were checked on and holds
// its outputs to those of the model as imported. Programs of reduced precision are
// rounded on purpose; for them the closing comparison tells how much.
func (a *app) checkProgram(ctx context.Context, c compileArgs, g *ir.Graph, check *passes.Check) error {
	if c.target.Device != "cpu" || c.target.Precision != "f32" {
		a.logf("check: every pass kept its promise; the program is for %s in %s and was not held to it", c.target.Device, c.target.Precision)
		return nil
	}
	p, err := plan.Open(c.out, a.ops)
	if err != nil {
		return err
	}
	defer p.Close()
	s, err := runtime.New(p, runtime.Options{MaxElems: a.maxElems()})
	if err != nil {
		return err
	}
	defer s.Close()
	var got [][]*tensor.Tensor
	for _, ins := range check.Inputs {
		outs := make([]*tensor.Tensor, len(g.Outputs))
		if err := s.RunTo(ctx, ins, outs, nil); err != nil {
			return err
		}
		got = append(got, outs)
	}
	if err := check.Outputs(g, got); err != nil {
		return fmt.Errorf("check: the final program: %w", err)
	}
	a.logf("check: every pass kept its promise, and so did the program")
	return nil
}

// dumper writes --dump's folder; a nil one does nothing.
type dumper struct {
	*dump.Dumper
	dir string
}

func newDumper(dir string) (*dumper, error) {
	if dir == "" {
		return nil, nil
	}
	d, err := dump.New(dir)
	return &dumper{d, dir}, err
}

func (d *dumper) observe() func(passes.Step, *ir.Graph) error {
	if d == nil {
		return nil
	}
	return d.Observe
}

// program adds the column of the program that codegen made.
func (d *dumper) program(p *plan.Program) error {
	if d == nil {
		return nil
	}
	var b strings.Builder
	if err := plan.Print(&b, p); err != nil {
		return err
	}
	return d.Text("plan", "The program: a kernel per step.", b.String())
}

func (d *dumper) close(a *app) {
	if d == nil {
		return
	}
	if err := d.Close(); err != nil {
		a.logf("dump: %v", err)
		return
	}
	a.logf("dump: %s", filepath.Join(d.dir, "index.html"))
}
