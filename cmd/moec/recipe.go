package main

import (
	"fmt"
	"os"

	"github.com/BurntSushi/toml"

	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/passes/convert"
)

// recipe is what --recipe asks for: rewrites into sparse forms, in order; each takes the
// dense MLPs that those before it have left.
//
//	[[rewrite]]
//	to = "sigma-moe"        # sigma-moe, pkm or topk
//	keep = 0.25             # or k; and experts
//	exclude = ["/encoder/layer.0/fc1/MatMul"]
type recipe struct {
	text   string // the file, verbatim
	passes []passes.Pass
}

// rewrite is one table of a recipe; the keys mean what the flags of moec convert mean.
type rewrite struct {
	To      string   `toml:"to"`
	Experts int      `toml:"experts"`
	K       int      `toml:"k"`
	Keep    float64  `toml:"keep"`
	Seed    uint64   `toml:"seed"`
	Exclude []string `toml:"exclude"`
}

// readRecipe reads a recipe; no file is the empty recipe. Keys it does not know are an
// error: a misspelt one would change what the model computes.
func readRecipe(file string, run passes.Evaluator) (*recipe, error) {
	if file == "" {
		return &recipe{}, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Rewrite []rewrite `toml:"rewrite"`
	}
	md, err := toml.Decode(string(b), &doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: unknown key %q; a [[rewrite]] has to, experts, k, keep, seed and exclude", file, unknown[0].String())
	}
	if len(doc.Rewrite) == 0 {
		return nil, fmt.Errorf("%s: no [[rewrite]]", file)
	}
	r := &recipe{text: string(b)}
	for i, w := range doc.Rewrite {
		if w.Seed == 0 {
			w.Seed = 1
		}
		p, err := convert.Pass(convert.Options{To: w.To, Experts: w.Experts, K: w.K, Keep: w.Keep, Seed: w.Seed, Exclude: w.Exclude, Eval: run})
		if err != nil {
			return nil, fmt.Errorf("%s: [[rewrite]] %d: %w", file, i+1, err)
		}
		r.passes = append(r.passes, p)
	}
	return r, nil
}

// insert puts the recipe's passes where dense MLPs have been found and are not yet fused
// with their neighbours.
func (r *recipe) insert(pipeline []passes.Pass) []passes.Pass {
	return passes.Before(pipeline, "epilogue", r.passes...)
}
