package runtime_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/runtime"
)

// Compile an ONNX model and run it: four calls along the road.
func Example() {
	ctx := context.Background()
	g, err := onnx.Load(ctx, os.DirFS("../tests/testdata/models/zoo"), "lstm_ts17.onnx")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
		log.Fatal(err)
	}
	p, err := codegen.Compile(ctx, g, codegen.Target{Device: "cpu"})
	if err != nil {
		log.Fatal(err)
	}
	s, err := runtime.New(p, runtime.Options{Threads: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(ctx, map[string]*tensor.Tensor{"input_ids": tensor.Of([]int64{5, 7, 11, 2}, 1, 4)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out["logits"])
	// Output: f32[1,6]
}

// A service that only runs compiled models links neither the compiler nor protobuf.
func ExampleNew() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "moec")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "m.moec") // as moec compile writes it
	if err := compileTo(ctx, path); err != nil {
		log.Fatal(err)
	}

	p, err := plan.Open(path, ops.NewTable())
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	s, err := runtime.New(p, runtime.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for _, port := range s.Inputs() {
		fmt.Println(port.Name, port.Type)
	}
	// Output: input_ids i64[batch,seq]
}

func compileTo(ctx context.Context, path string) error {
	g, err := onnx.Load(ctx, os.DirFS("../tests/testdata/models/zoo"), "lstm_ts17.onnx")
	if err != nil {
		return err
	}
	if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
		return err
	}
	p, err := codegen.Compile(ctx, g, codegen.Target{})
	if err != nil {
		return err
	}
	return plan.Save(path, p)
}
