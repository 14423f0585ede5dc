package ops

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

type stringSplitAttrs struct {
	Delimiter string `attr:"delimiter"`
	MaxSplit  *int64 `attr:"maxsplit"`
}

type regexAttrs struct {
	Pattern string `attr:"pattern"`
}

type stringNormalizerAttrs struct {
	CaseChange    string   `attr:"case_change_action"`
	CaseSensitive bool     `attr:"is_case_sensitive"`
	Locale        string   `attr:"locale"`
	Stopwords     []string `attr:"stopwords"`
}

func stringOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "StringConcat", Since: 20, Doc: "Broadcast strings joined.",
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: inferBroadcast,
			Eval: func(c *ir.EvalCtx) error {
				a, b := c.In(0), c.In(1)
				shape, err := BroadcastShapes(a.Shape(), b.Shape())
				if err != nil {
					return err
				}
				out, err := c.Out(0, tensor.String, shape...)
				if err != nil {
					return err
				}
				zip(shape, a.Strings(), a.Shape(), b.Strings(), b.Shape(), out.Strings(), func(x, y string) string { return x + y })
				return nil
			},
		}, stringType),
		typed(&ir.Op{
			Name: "RegexFullMatch", Since: 20, Doc: "Which strings an RE2 pattern matches from end to end.",
			Attrs: func() any { return &regexAttrs{} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				if _, err := c.Attrs.(*regexAttrs).compile(); err != nil {
					return err
				}
				return inferBool(c)
			},
			Eval: func(c *ir.EvalCtx) error {
				re, err := c.Attrs.(*regexAttrs).compile()
				if err != nil {
					return err
				}
				out, err := c.Out(0, tensor.Bool, c.In(0).Shape()...)
				if err != nil {
					return err
				}
				z := tensor.Data[bool](out)
				for i, s := range c.In(0).Strings() {
					z[i] = re.MatchString(s)
				}
				return nil
			},
		}, stringType),
		typed(&ir.Op{
			Name: "StringSplit", Since: 20, Doc: "Strings cut at a delimiter, or at runs of space, padded with empty ones; and how many each gave.",
			Attrs: func() any { return &stringSplitAttrs{} },
			MinIn: 1, MaxIn: 1, MinOut: 2, MaxOut: 2,
			Infer: func(c *ir.InferCtx) error {
				x := c.In(0)
				if x.Ranked {
					c.SetOut(0, ir.MakeType(tensor.String, append(slices.Clone(x.Shape), ir.Unknown())...))
				} else {
					c.SetOut(0, ir.Unranked(tensor.String))
				}
				x.DType = tensor.I64
				c.SetOut(1, x)
				return nil
			},
			Eval: evalStringSplit,
		}, stringType),
		typed(&ir.Op{
			Name: "StringNormalizer", Since: 10, Doc: "A row of words less the stop words, in upper or lower case.",
			Attrs: func() any { return &stringNormalizerAttrs{CaseChange: "NONE"} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				x := c.In(0)
				switch x.Rank() {
				case 1:
					c.SetOut(0, ir.MakeType(tensor.String, ir.Unknown()))
				case 2:
					c.SetOut(0, ir.MakeType(tensor.String, ir.Known(1), ir.Unknown()))
				case -1:
					c.SetOut(0, ir.Unranked(tensor.String))
				default:
					return fmt.Errorf("%w: %s, want [C] or [1,C]", ir.ErrShape, x)
				}
				return nil
			},
			Eval: evalStringNormalizer,
		}, stringType),
	}
}

func (a *regexAttrs) compile() (*regexp.Regexp, error) {
	re, err := regexp.Compile(`^(?:` + a.Pattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("%w: pattern %q: %v", ir.ErrAttr, a.Pattern, err)
	}
	return re, nil
}

func evalStringSplit(c *ir.EvalCtx) error {
	x, a := c.In(0), c.Attrs.(*stringSplitAttrs)
	limit := -1
	if a.MaxSplit != nil && *a.MaxSplit >= 0 && *a.MaxSplit < 1<<31 {
		limit = int(*a.MaxSplit)
	}
	parts, longest := make([][]string, x.Len()), 0
	for i, s := range x.Strings() {
		switch {
		case a.Delimiter == "":
			parts[i] = splitSpace(s, limit)
		case limit < 0:
			parts[i] = strings.Split(s, a.Delimiter)
		default:
			parts[i] = strings.SplitN(s, a.Delimiter, limit+1)
		}
		longest = max(longest, len(parts[i]))
	}
	out, err := c.Out(0, tensor.String, append(slices.Clone(x.Shape()), longest)...)
	if err != nil {
		return err
	}
	counts, err := c.Out(1, tensor.I64, x.Shape()...)
	if err != nil {
		return err
	}
	z, n := out.Strings(), tensor.Data[int64](counts)
	for i, p := range parts {
		copy(z[i*longest:], p)
		n[i] = int64(len(p))
	}
	return nil
}

// splitSpace cuts at runs of white space, at most limit times; what is left then keeps
// its inner and trailing space, as Python's split leaves it.
func splitSpace(s string, limit int) []string {
	if limit < 0 {
		return strings.Fields(s)
	}
	out := []string{}
	for s = strings.TrimLeftFunc(s, unicode.IsSpace); s != ""; s = strings.TrimLeftFunc(s, unicode.IsSpace) {
		i := strings.IndexFunc(s, unicode.IsSpace)
		if i < 0 || len(out) == limit {
			return append(out, s)
		}
		out, s = append(out, s[:i]), s[i:]
	}
	return out
}

func evalStringNormalizer(c *ir.EvalCtx) error {
	x, a := c.In(0), c.Attrs.(*stringNormalizerAttrs)
	if x.Rank() != 1 && (x.Rank() != 2 || x.Shape()[0] != 1) {
		return fmt.Errorf("%w: %s, want [C] or [1,C]", ir.ErrShape, x)
	}
	change := func(s string) string { return s }
	switch a.CaseChange {
	case "LOWER":
		change = strings.ToLower
	case "UPPER":
		change = strings.ToUpper
	case "NONE":
	default:
		return fmt.Errorf("%w: case_change_action %q, want LOWER, UPPER or NONE", ir.ErrAttr, a.CaseChange)
	}
	// Without case sensitivity stop words match in any case.
	fold := strings.ToLower
	if a.CaseSensitive {
		fold = func(s string) string { return s }
	}
	stop := map[string]bool{}
	for _, w := range a.Stopwords {
		stop[fold(w)] = true
	}
	var kept []string
	for _, s := range x.Strings() {
		if !stop[fold(s)] {
			kept = append(kept, change(s))
		}
	}
	if len(kept) == 0 {
		kept = []string{""}
	}
	shape := []int{len(kept)}
	if x.Rank() == 2 {
		shape = []int{1, len(kept)}
	}
	out, err := c.Out(0, tensor.String, shape...)
	if err != nil {
		return err
	}
	copy(out.Strings(), kept)
	return nil
}
