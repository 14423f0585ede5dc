package ops

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// CastAttrs say what Cast converts to; Saturate and RoundMode concern the 8-bit floats.
type CastAttrs struct {
	To        tensor.DType `attr:"to"`
	Saturate  bool         `attr:"saturate"`
	RoundMode string       `attr:"round_mode"`
}

type castLikeAttrs struct {
	Saturate  bool   `attr:"saturate"`
	RoundMode string `attr:"round_mode"`
}

func castOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "Cast", Since: 28, Doc: "The elements converted to another type.",
			Attrs: func() any { return &CastAttrs{Saturate: true, RoundMode: "up"} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { return inferCast(c, c.Attrs.(*CastAttrs).To) },
			Eval: func(c *ir.EvalCtx) error {
				a := c.Attrs.(*CastAttrs)
				return evalCast(c, a.To, a.Saturate, a.RoundMode)
			},
		}, anyType&^complexTypes),
		typed(&ir.Op{
			Name: "CastLike", Since: 25, Doc: "The elements of input 0 converted to the type of input 1.",
			Attrs: func() any { return &castLikeAttrs{Saturate: true, RoundMode: "up"} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { return inferCast(c, c.In(1).DType) },
			Eval: func(c *ir.EvalCtx) error {
				a := c.Attrs.(*castLikeAttrs)
				return evalCast(c, c.In(1).DType(), a.Saturate, a.RoundMode)
			},
		}, anyType&^complexTypes),
	}
}

func inferCast(c *ir.InferCtx, to tensor.DType) error {
	t := c.In(0)
	if complexTypes.has(to) {
		return fmt.Errorf("%w: cannot cast to %s", ir.ErrType, to)
	}
	t.DType = to
	c.SetOut(0, t)
	// Whole numbers stay as they are in types wide enough for sizes.
	if wide := wideInts | 1<<tensor.F32 | 1<<tensor.F64; wide.has(to) {
		passContents(c)
	}
	return nil
}

func evalCast(c *ir.EvalCtx, to tensor.DType, saturate bool, mode string) error {
	x := c.In(0)
	if to == tensor.Invalid || complexTypes.has(to) {
		return fmt.Errorf("%w: cannot cast to %s", ir.ErrType, to)
	}
	out, err := c.Out(0, to, x.Shape()...)
	if err != nil {
		return err
	}
	return CastInto(out, x, saturate, mode)
}

// CastInto converts x to the type of out, which has as many elements, by the rules of
// Cast: saturate and mode ("up", "down", "nearest") concern the 8-bit floats.
func CastInto(out, x *tensor.Tensor, saturate bool, mode string) error {
	from, to := x.DType(), out.DType()
	switch {
	case from == to:
		copyElems(out, x)
		return nil
	case from == tensor.String:
		return castFromStrings(out, x.Strings(), saturate, mode)
	case to == tensor.String:
		return castToStrings(out.Strings(), x)
	case from == tensor.Bool || from.IsInt():
		if to == tensor.Bool || to.IsInt() {
			v, err := intsOf(x)
			if err != nil {
				return err
			}
			return storeInts(out, v)
		}
		// 64-bit integers go to float64 exactly rounded, and from there on.
	}
	v, err := floatsOf(x)
	if err != nil {
		return err
	}
	return castFloats(out, v, saturate, mode)
}

func castFloats(out *tensor.Tensor, v []float64, saturate bool, mode string) error {
	if out.DType() == tensor.F8E8M0 {
		z := tensor.Data[uint8](out)
		for i, x := range v {
			b, ok := tensor.EncodeE8M0(float32(x), mode, saturate)
			if !ok {
				return fmt.Errorf("%w: round_mode %q, want up, down or nearest", ir.ErrAttr, mode)
			}
			z[i] = b
		}
		return nil
	}
	return storeFloats(out, v, saturate)
}

func castFromStrings(out *tensor.Tensor, s []string, saturate bool, mode string) error {
	dt := out.DType()
	if dt.IsInt() {
		if v, ok := parseInts(s, dt); ok {
			return storeInts(out, v)
		}
	}
	v := make([]float64, len(s))
	for i, x := range s {
		f, err := strconv.ParseFloat(strings.TrimSpace(x), 64)
		if err != nil && !isRange(err) {
			return fmt.Errorf("%w: %q is not a number", ir.ErrInput, x)
		}
		v[i] = f
	}
	return castFloats(out, v, saturate, mode)
}

// isRange reports that a number was too large and became infinite.
func isRange(err error) bool {
	e, ok := err.(*strconv.NumError)
	return ok && e.Err == strconv.ErrRange
}

func parseInts(s []string, dt tensor.DType) ([]int64, bool) {
	v := make([]int64, len(s))
	for i, x := range s {
		x = strings.TrimSpace(x)
		if dt == tensor.U64 {
			u, err := strconv.ParseUint(x, 10, 64)
			if err != nil {
				return nil, false
			}
			v[i] = int64(u)
			continue
		}
		n, err := strconv.ParseInt(x, 10, 64)
		if err != nil {
			return nil, false
		}
		v[i] = n
	}
	return v, true
}

// castToStrings prints numbers as NumPy does: the fewest digits that read back.
func castToStrings(z []string, x *tensor.Tensor) error {
	switch dt := x.DType(); {
	case dt == tensor.Bool:
		for i, b := range tensor.Data[bool](x) {
			z[i] = "False"
			if b {
				z[i] = "True"
			}
		}
	case dt == tensor.U64:
		for i, u := range tensor.Data[uint64](x) {
			z[i] = strconv.FormatUint(u, 10)
		}
	case dt.IsInt():
		v, err := intsOf(x)
		if err != nil {
			return err
		}
		for i, n := range v {
			z[i] = strconv.FormatInt(n, 10)
		}
	default:
		v, err := floatsOf(x)
		if err != nil {
			return err
		}
		bits := 32
		if dt == tensor.F64 {
			bits = 64
		}
		for i, f := range v {
			z[i] = formatFloat(f, bits)
		}
	}
	return nil
}

func formatFloat(f float64, bits int) string {
	switch a := math.Abs(f); {
	case f != f:
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case a != 0 && (a < 1e-4 || a >= 1e16):
		return strconv.FormatFloat(f, 'e', -1, bits)
	}
	s := strconv.FormatFloat(f, 'f', -1, bits)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
