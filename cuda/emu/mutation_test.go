package emu_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/emu/launchfile"
	"github.com/seed-c851cfd2/moec/cuda/emu/mutate"
)

func TestMutants(t *testing.T) {
	for _, dir := range corpusFolders(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			src, err := os.ReadFile(filepath.Join(dir, "kernel.ptx"))
			if err != nil {
				t.Fatal(err)
			}
			file, err := launchfile.Load(filepath.Join(dir, "launch.json"))
			if err != nil {
				t.Fatal(err)
			}
			mutate.Check(t, string(src), harmless[filepath.Base(dir)], func(src string) error {
				mod, err := emu.Parse(src)
				if err != nil {
					return err
				}
				res, err := launchfile.RunModule(t.Context(), mod, file, dir, emu.Options{Seed: 1, Checks: emu.AllChecks, MaxSteps: 1 << 19})
				if err != nil {
					return err
				}
				return res.Err()
			})
		})
	}
}

var harmless = map[string]map[string]string{}
