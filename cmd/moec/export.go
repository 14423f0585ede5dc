package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-c851cfd2/moec/ir"
)

// export writes the optimised graph as ONNX.
func (a *app) export(context.Context, compileArgs, *ir.Graph, int, time.Time) error {
	return fmt.Errorf("export to ONNX is being built")
}
