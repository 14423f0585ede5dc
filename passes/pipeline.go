package passes

// Pipeline is what every compilation runs, in order. Approximate passes are not in it:
// a recipe inserts them before Epilogues (see Before).
func Pipeline() []Pass {
	return []Pass{
		Dead(),        // exports carry unused heads: spare everybody the work
		Fold(),        // shapes and weights become constants that the rules below look for
		Branches(),    // conditions that folding has decided
		Fold(),        // what the branches brought in
		Dims(),        // so that layers do not ask their activations for sizes
		Canonical(),   // one spelling per meaning
		CSE(),         // exporters repeat shape arithmetic per layer
		Respell(),     // what others have fused, before anything looks for its parts
		Fold(),        // what canonical spellings made constant
		Norms(),       // before activations and linears take their Mul and Add
		Activations(), // before linears take their constants
		Softmaxes(),   // before attention, which starts at a Softmax
		ConvNorms(),   // batch normalisation costs nothing inside a Conv
		Linears(),     // products with weights, on any rank
		Canonical(),   // the Reshapes around Gemm have met and go
		CSE(),         // twins that became alike
		Rotaries(),    // with the head splitting that attention would take
		Attentions(),  // between Linears; takes the head splitting with it
		Canonical(),   // a Gemm behind the merged heads
		QKV(),         // needs Attention's layouts
		Mixtures(),    // between Linears, of which it takes the router's
		Densify(),     // a mixture that is none runs as the dense MLP it is
		Feedforward(), // needs Linears whose activation is still a node
		Epilogues(),   // after whoever looks for plain Linears: feedforward, QKV
		Strength(),    // after every pass that knows quotients and powers by sight
		SkipNorms(),   // the residual sums that no Linear could take
		Canonical(),   // broadcasts and reshapes around what was fused
		CSE(),         // what is left, shared
	}
}

// constraint says that a pass runs before another, and why.
type constraint struct{ first, then, why string }

// order is what a change to the pipeline must keep; a test holds it.
func order() []constraint {
	return []constraint{
		{"fold", "canonical", "rules look for constants"},
		{"respell", "linear", "a FusedMatMul by a weight is a Linear"},
		{"fold", "branch", "a branch is taken when its condition is a constant"},
		{"attention", "strength", "patterns hold quotients and powers as exporters write them"},
		{"fold", "dims", "sizes that are known need not be read"},
		{"norm", "linear", "a scale is a Mul by a constant, which a Linear before it would take"},
		{"activation", "linear", "so is the 0.5 of Gelu"},
		{"softmax", "attention", "attention starts at a Softmax"},
		{"linear", "attention", "a constant factor of q moves into its weights first"},
		{"cse", "rotary", "the parts of x are parts of one value"},
		{"rotary", "attention", "attention reads what is rotated"},
		{"attention", "qkv", "QKV starts at an Attention"},
		{"feedforward", "epilogue", "a match starts at plain Linears and the activation between them"},
		{"attention", "feedforward", "products of activations are gone by then"},
		{"linear", "mixture", "a router is a Linear"},
		{"mixture", "epilogue", "it takes plain Linears"},
		{"qkv", "epilogue", "QKV joins plain Linears"},
		{"epilogue", "skipnorm", "a sum is cheaper in the Linear before it than in the norm behind it"},
		{"convbn", "epilogue", "an activation ends a Conv"},
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

// UpTo is the pipeline up to the last pass of the given name, that one included.
func UpTo(name string) []Pass {
	p := Pipeline()
	for i := len(p) - 1; i >= 0; i-- {
		if p[i].Name == name {
			return p[:i+1]
		}
	}
	return p
}
