package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/passes"
)

// export writes the optimised graph as ONNX.
func (a *app) export(ctx context.Context, c compileArgs, g *ir.Graph, imported int, start time.Time) error {
	if err := a.saveONNX(ctx, g, c.out, c.export); err != nil {
		return withFile(c.out, err)
	}
	fmt.Fprintf(a.out, "%s: %d nodes from %d, in %s\n", c.out, passes.CountNodes(g), imported, time.Since(start).Round(time.Millisecond))
	return nil
}
