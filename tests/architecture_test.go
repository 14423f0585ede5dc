package tests

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/seed-c851cfd2/moec/"

// TestImportsPointLeft holds the picture of ARCHITECTURE.md: what each stop on the road
// may depend on, directly or not.
func TestImportsPointLeft(t *testing.T) {
	rules := []struct {
		pkg    string
		banned []string // prefixes; of this module, or whole paths of others
		why    string
	}{
		{"ir/tensor", []string{"ir", "passes", "codegen", "runtime", "cuda"}, "values know nothing of graphs"},
		{"ir", []string{"ir/ops", "ir/onnx", "passes", "codegen", "runtime", "cuda"}, "the graph knows no particular op"},
		{"ir/ops", []string{"ir/onnx", "passes", "codegen", "runtime", "cuda", "google.golang.org/protobuf"}, "ops are shared by both sides"},
		{"ir/onnx", []string{"passes", "codegen", "runtime", "cuda"}, "import comes first on the road"},
		{"passes", []string{"codegen", "runtime", "cuda", "ir/onnx"}, "passes see graphs, not files or programs"},
		{"codegen", []string{"runtime", "cuda", "ir/onnx"}, "codegen sees graphs; passes of a target's own are all that it runs on them"},
		{"codegen/cpu", []string{"passes", "runtime", "cuda", "ir/onnx", "ir/eval"}, "kernels are chosen for a finished graph"},
		{"codegen/cuda", []string{"passes", "runtime", "cuda", "ir/onnx", "ir/eval"}, "kernels are chosen for a finished graph"},
		{"codegen/plan", []string{"passes", "codegen/cpu", "codegen/ptx", "runtime", "ir/onnx", "ir/eval", "google.golang.org/protobuf"}, "the program is data"},
		{"runtime", []string{"passes", "codegen/cpu", "codegen/ptx", "ir/onnx", "ir/eval", "cuda", "google.golang.org/protobuf"}, "a program that only runs models links no compiler"},
		{"runtime/cpu", []string{"passes", "codegen/cpu", "codegen/ptx", "ir/onnx", "ir/eval", "cuda", "google.golang.org/protobuf"}, "kernels read packed weights only"},
		{"codegen/ptx", []string{"ir", "passes", "codegen/plan", "codegen/cpu", "runtime", "cuda"}, "kernels are functions of shapes, not of graphs"},
		{"cuda", []string{"ir", "passes", "codegen", "runtime"}, "the driver interface carries bytes and launches"},
		{"cuda/emu", []string{"ir", "passes", "codegen", "runtime"}, "the emulator is a package of its own"},
		{"cuda/session", []string{"passes", "codegen/cpu", "codegen/ptx", "codegen/cuda", "ir/onnx", "ir/eval", "google.golang.org/protobuf"}, "a program that only runs models links no compiler"},
		{"cmd/moec", []string{"github.com/owulveryck/onnx-go", "gorgonia.org/cu", "gorgonia.org/gorgonia"}, "the default binary is pure Go"},
	}
	for _, r := range rules {
		out, err := exec.Command("go", "list", "-deps", module+r.pkg).Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v", r.pkg, err)
		}
		for _, dep := range strings.Fields(string(out)) {
			local, isOurs := strings.CutPrefix(dep, module)
			if isOurs && local == r.pkg {
				continue
			}
			for _, b := range r.banned {
				if isOurs && (local == b || strings.HasPrefix(local, b+"/") && !allowedBelow(r.pkg, local)) || strings.HasPrefix(dep, b) && strings.Contains(b, ".") {
					t.Errorf("%s depends on %s: %s", r.pkg, dep, r.why)
				}
			}
		}
	}
}

// allowedBelow are leaves that lie below a banned folder: the tensors below ir, expressions
// over sizes and the packing of weights below codegen/plan.
func allowedBelow(pkg, dep string) bool {
	switch dep {
	case "ir/tensor":
		return pkg != "ir/tensor"
	case "codegen/plan/expr", "codegen/plan/layout":
		return true
	}
	return false
}
