package passes

// Pipeline is what every compilation runs, in order. Approximate passes are not in it:
// a recipe inserts them after Feedforward (see Before).
func Pipeline() []Pass {
	return []Pass{
		Dead(),      // exports carry unused heads: spare everybody the work
		Fold(),      // shapes and weights become constants that the rules below look for
		Canonical(), // one spelling per meaning
		CSE(),       // exporters repeat shape arithmetic per layer
	}
}

// constraint says that a pass runs before another, and why.
type constraint struct{ first, then, why string }

// order is what a change to the pipeline must keep; a test holds it.
func order() []constraint {
	return []constraint{
		{"fold", "canonical", "rules look for constants"},
		{"canonical", "cse", "two spellings of one computation are shared only when they look alike"},
	}
}

// Names lists the passes in order.
func Names(pipeline []Pass) []string {
	var out []string
	for _, p := range pipeline {
		out = append(out, p.Name)
	}
	return out
}

// Before inserts passes before the first one of the given name, or at the end when
// there is none: where a recipe's approximate passes go.
func Before(pipeline []Pass, name string, insert ...Pass) []Pass {
	var out []Pass
	done := false
	for _, p := range pipeline {
		if p.Name == name && !done {
			out, done = append(out, insert...), true
		}
		out = append(out, p)
	}
	if !done {
		out = append(out, insert...)
	}
	return out
}
