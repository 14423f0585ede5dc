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
	if os.Getenv("MOEC_PTX_CORPUS") != "" {
		t.Skip("the list of harmless mutants belongs to the bundled corpus")
	}
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
			// The five kernels whose every guard has been looked at; of the others,
			// what synchronises.
			var kinds []mutate.Kind
			if !guarded[filepath.Base(dir)] {
				kinds = []mutate.Kind{mutate.Barrier, mutate.WarpSync, mutate.Wait, mutate.Loosen, mutate.Fence, mutate.Order}
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
			}, kinds...)
		})
	}
}

var guarded = map[string]bool{
	"clang_gemm16": true, "nvcc_gemm16": true, "triton_layernorm": true, "triton_matmul": true, "triton_softmax_topk": true,
}

// What mutants of the corpus change nothing, and why.
const (
	notTaken   = "the launch never takes this branch, or takes it with every lane"
	twoTiles   = "protects a buffer's reuse by the third tile; this launch has two"
	elected    = "elects one of several lanes that hold the same value; the others would store it again"
	alwaysTrue = "the columns it guards lie inside the row for this launch"
	unusedRead = "the extra lanes read what nobody uses"
	fullTiles  = "the rows and columns it guards lie inside the matrix, or the tile is never multiplied"
	prologue   = "orders the second stage's copies after readers that do not exist before the loop"
	emptyGroup = "the last group holds a prefetch beyond K that nobody reads and no later store overlaps"
	repeated   = "the wait or barrier right before it, or right behind it, does the same"
	lastUse    = "nothing is written behind it that was read before it"
	noContest  = "orders the rounds of waiting for a lock; no block of this launch waits for it"
	endOrders  = "nobody reads what the atomics order: the launch ends"
	disjoint   = "the store behind it and the loads before it touch different bytes; a later barrier orders the next overlap"
)

var harmless = map[string]map[string]string{
	"clang_gemm16": {
		"skip#0": notTaken, "skip#4": notTaken, "skip#5": notTaken,
		"barrier#1": twoTiles,
	},
	"nvcc_gemm16": {
		"skip#0": notTaken, "skip#1": notTaken, "skip#3": notTaken, "skip#4": notTaken, "skip#8": notTaken,
		"skip#9": notTaken, "skip#10": notTaken, "skip#13": notTaken, "skip#14": notTaken, "skip#16": notTaken,
	},
	"triton_layernorm": {
		"guard#8": elected, "guard#9": unusedRead, "guard#10": elected,
		"guard#11": elected, "guard#12": unusedRead, "guard#13": elected,
		"guard#30": alwaysTrue, "guard#31": alwaysTrue, "guard#32": alwaysTrue,
	},
	"triton_matmul": {
		"zerofill#0": fullTiles, "zerofill#1": fullTiles, "zerofill#2": fullTiles, "zerofill#3": fullTiles,
		"zerofill#4": fullTiles, "zerofill#5": fullTiles, "zerofill#6": fullTiles, "zerofill#7": fullTiles,
		"zerofill#8": fullTiles, "barrier#0": prologue, "loosen#1": emptyGroup,
	},
	"triton_cumsum_histogram": {"barrier#4": lastUse, "barrier#5": lastUse, "order#0": endOrders},
	"triton_fp32_tf32": {
		"wait#1": repeated, "loosen#1": repeated, "barrier#1": repeated, "wait#2": repeated, "loosen#2": repeated,
		"wait#3": repeated, "loosen#3": repeated, "loosen#4": emptyGroup,
	},
	"triton_fp32_tf32x3": {"loosen#1": emptyGroup},
	"triton_spinlock":    {"barrier#0": noContest, "barrier#2": repeated, "barrier#3": repeated, "barrier#4": lastUse},
	"triton_softmax_topk": {
		"guard#1": elected, "guard#4": elected, "guard#7": elected, "guard#10": elected, "guard#11": elected,
		"guard#16": elected, "guard#17": elected, "guard#18": elected, "guard#21": elected, "guard#22": elected,
		"guard#27": elected, "guard#28": elected, "guard#29": elected, "guard#32": elected, "guard#33": elected,
		"guard#38": elected, "guard#39": elected, "guard#40": elected, "guard#43": elected, "guard#44": elected,
		"guard#49": elected, "guard#50": elected,
		"barrier#11": disjoint, "barrier#17": disjoint, "barrier#23": disjoint,
	},
}
