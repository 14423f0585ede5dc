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
		if unexamined[filepath.Base(dir)] {
			continue
		}
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

// unexamined lists the kernels whose unnoticed mutants nobody has explained
// one by one: long sequences of barriers around uses of one scratch buffer, or
// around what a single thread does.
var unexamined = map[string]bool{
	"nvcc_cub": true, "triton_tensor_descriptor_sm90": true, "triton_tma_sm90": true, "triton_warp_specialized_sm90": true,
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
	commutes   = "the atomics only combine values; nobody relies on them to see anything else"
	aroundAtom = "stands beside an atomic that orders nothing here; other barriers separate the uses of shared memory"
	firstUse   = "the stage that it waits for has not been used before"
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
	"nvcc_atomics":       {"fence#0": commutes, "order#0": commutes, "order#1": commutes},
	"nvcc_pipeline":      {"wait#0": firstUse, "barrier#1": disjoint, "fence#0": commutes, "order#0": commutes},
	"nvcc_pipeline_sm90": {"wait#0": firstUse, "barrier#1": disjoint, "fence#0": commutes, "order#0": commutes},
	"triton_atomics": {
		"order#0": commutes, "order#1": commutes, "order#2": commutes, "order#3": commutes, "order#4": commutes, "order#5": commutes,
		"order#6": commutes, "order#7": commutes, "order#8": commutes, "order#9": commutes, "order#10": commutes, "order#11": commutes,
		"order#12": commutes, "order#13": commutes, "order#14": commutes, "order#15": commutes,
		"fence#0": commutes, "fence#1": commutes, "fence#2": commutes, "fence#3": commutes,
		"barrier#3": aroundAtom, "barrier#4": aroundAtom, "barrier#8": aroundAtom, "barrier#9": aroundAtom, "barrier#11": aroundAtom,
		"barrier#12": aroundAtom, "barrier#14": aroundAtom, "barrier#15": aroundAtom, "barrier#17": aroundAtom, "barrier#18": aroundAtom,
		"barrier#20": aroundAtom, "barrier#21": aroundAtom, "barrier#22": aroundAtom, "barrier#23": aroundAtom, "barrier#27": aroundAtom,
		"barrier#28": aroundAtom, "barrier#29": aroundAtom, "barrier#30": aroundAtom,
	},
	"triton_attention_backward": {
		"barrier#6": aroundAtom, "barrier#7": aroundAtom, "loosen#1": emptyGroup,
		"order#0": commutes, "order#1": commutes, "order#2": commutes, "order#3": commutes,
		"order#4": commutes, "order#5": commutes, "order#6": commutes, "order#7": commutes,
	},
	"triton_cluster_sm90":   {"barrier#5": lastUse},
	"triton_attention_sm90": {"loosen#3": emptyGroup},
	"triton_cvmm": {
		"wait#2": repeated, "loosen#2": repeated, "barrier#4": repeated, "wait#3": repeated, "loosen#3": repeated, "wait#4": repeated, "loosen#4": repeated,
	},
	"triton_fp8_matmul_sm89": {
		"wait#1": repeated, "loosen#1": repeated, "wait#2": repeated, "loosen#2": repeated, "wait#3": repeated, "loosen#3": repeated,
	},
	"triton_int4_matmul":      {"loosen#1": emptyGroup},
	"triton_int8_matmul_sm90": {"barrier#0": repeated, "barrier#2": disjoint},
	"triton_layernorm_backward": {
		"barrier#5": noContest, "order#1": "the release of the lock right behind it orders what it does", "barrier#8": repeated,
		"barrier#13": repeated, "barrier#14": repeated, "barrier#15": lastUse,
	},
	"triton_misc_sm90": {"barrier#16": disjoint},
	"triton_moe_align": {"barrier#2": repeated, "barrier#3": repeated, "order#0": commutes},
	"triton_split_k": {
		"wait#1": repeated, "loosen#1": repeated, "barrier#1": repeated, "wait#2": repeated, "loosen#2": repeated, "wait#3": repeated, "loosen#3": repeated,
		"loosen#4": emptyGroup, "barrier#4": repeated, "barrier#13": repeated, "barrier#14": repeated,
	},
	"triton_tf32_matmul_sm90": {"loosen#3": emptyGroup},
	"triton_spinlock":         {"barrier#0": noContest, "barrier#2": repeated, "barrier#3": repeated, "barrier#4": lastUse},
	"triton_softmax_topk": {
		"guard#1": elected, "guard#4": elected, "guard#7": elected, "guard#10": elected, "guard#11": elected,
		"guard#16": elected, "guard#17": elected, "guard#18": elected, "guard#21": elected, "guard#22": elected,
		"guard#27": elected, "guard#28": elected, "guard#29": elected, "guard#32": elected, "guard#33": elected,
		"guard#38": elected, "guard#39": elected, "guard#40": elected, "guard#43": elected, "guard#44": elected,
		"guard#49": elected, "guard#50": elected,
		"barrier#11": disjoint, "barrier#17": disjoint, "barrier#23": disjoint,
	},
}
