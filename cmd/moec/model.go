package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/runtime"
)

// addLimits gives a command the flags that bound what a model file may ask for; every
// command that reads one has them. 0 takes the importer's default.
func (a *app) addLimits(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&a.limits.Nodes, "max-nodes", 0, "most nodes a model may have (0: 4 million)")
	f.IntVar(&a.limits.Depth, "max-depth", 0, "deepest nesting of subgraphs and function calls (0: 64)")
	f.IntVar(&a.limits.Bytes, "max-bytes", 0, "most bytes that a model's structure may take (0: 4 GiB)")
	f.IntVar(&a.limits.Elems, "max-elems", 0, "most elements of one value, in the model or made by a run (0: 2^31)")
}

// maxElems bounds the values that a run makes.
func (a *app) maxElems() int {
	if a.limits.Elems > 0 {
		return a.limits.Elems
	}
	return onnx.DefaultElems
}

// loadGraph imports an ONNX file.
func (a *app) loadGraph(ctx context.Context, path string) (*ir.Graph, error) {
	if strings.HasSuffix(path, ".moec") {
		return nil, fmt.Errorf("%s is a compiled program; this needs the .onnx model", path)
	}
	return onnx.LoadFile(ctx, path, onnx.Options{Limits: a.limits, Ops: a.ops, Inputs: a.overrides})
}

// program opens a .moec or compiles a .onnx with the default passes.
func (a *app) program(ctx context.Context, path string, t codegen.Target) (*plan.Program, error) {
	if strings.HasSuffix(path, ".moec") {
		return plan.Open(path, a.ops)
	}
	g, err := a.loadGraph(ctx, path)
	if err != nil {
		return nil, err
	}
	if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
		return nil, withFile(path, err)
	}
	p, err := codegen.Compile(ctx, g, t)
	if err != nil {
		return nil, withFile(path, err)
	}
	if p.Source, err = sourceOf(path); err != nil {
		return nil, err
	}
	return p, nil
}

// session opens a model for running on the host.
func (a *app) session(ctx context.Context, path string, threads int) (*runtime.Session, func(), error) {
	p, err := a.program(ctx, path, codegen.Target{})
	if err != nil {
		return nil, nil, err
	}
	huge, err := parseHugePages(a.hugePages)
	if err != nil {
		p.Close()
		return nil, nil, err
	}
	s, err := runtime.New(p, runtime.Options{Threads: threads, MaxElems: a.maxElems(), HugePages: huge})
	if err != nil {
		p.Close()
		return nil, nil, withFile(path, err)
	}
	return s, func() { s.Close(); p.Close() }, nil
}

// addHugePages adds the flag to a command that runs models; def is its default.
func (a *app) addHugePages(cmd *cobra.Command, def string) {
	cmd.Flags().StringVar(&a.hugePages, "huge-pages", def, "copy packed weights into huge pages: auto, on or off")
}

// parseHugePages reads the flag; commands without it leave the choice to the session.
func parseHugePages(s string) (runtime.HugePages, error) {
	switch s {
	case "", "auto":
		return runtime.HugePagesAuto, nil
	case "on":
		return runtime.HugePagesOn, nil
	case "off":
		return runtime.HugePagesOff, nil
	}
	return 0, fmt.Errorf("--huge-pages %q: choose auto, on or off", s)
}

func sourceOf(path string) (plan.Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return plan.Source{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return plan.Source{}, err
	}
	return plan.Source{File: filepath.Base(path), SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// withFile puts the file's name in front of an error that lacks it.
func withFile(path string, err error) error {
	if err == nil || strings.Contains(err.Error(), path) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}
