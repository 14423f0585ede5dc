package emu_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/emu/launchfile"
)

// corpusFolders lists the launches to run: kernels compiled by nvcc, clang and
// Triton with their inputs and expected outputs. MOEC_PTX_CORPUS names another
// folder of the same form.
func corpusFolders(t testing.TB) []string {
	root := os.Getenv("MOEC_PTX_CORPUS")
	if root == "" {
		root = "testdata/ptx-corpus"
	}
	files, err := filepath.Glob(filepath.Join(root, "*", "launch.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no launches under %s (%v)", root, err)
	}
	for i, f := range files {
		files[i] = filepath.Dir(f)
	}
	return files
}

func TestCorpus(t *testing.T) {
	for _, dir := range corpusFolders(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			for seed := range uint64(3) {
				res, err := launchfile.Run(t.Context(), filepath.Join(dir, "kernel.ptx"), filepath.Join(dir, "launch.json"),
					emu.Options{Seed: seed, Checks: emu.AllChecks})
				if err != nil {
					t.Fatal(err)
				}
				if err := res.Err(); err != nil {
					t.Error(err)
				}
				if len(res.Outputs) == 0 {
					t.Error("the launch compares no output")
				}
				for _, o := range res.Outputs {
					t.Logf("seed %d: %s relative error %.2g (tolerance %.2g)", seed, o.Name, o.Error, o.Tolerance)
				}
			}
		})
	}
}
