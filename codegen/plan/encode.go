package plan

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// The JSON form of a program, program.json in the container. Constants are listed here
// and stored in weights.safetensors under the names c0, c1, ...

type jsonProgram struct {
	Consts []jsonConst `json:"consts"`
	Funcs  []jsonFunc  `json:"funcs"`
}

type jsonConst struct {
	Name   string `json:"name"`
	DType  string `json:"dtype"`
	Shape  []int  `json:"shape"`
	Layout string `json:"layout,omitempty"`
	// Strings holds the elements of a string constant, which safetensors cannot.
	Strings []string `json:"strings,omitempty"`
	// Stored is the element type as stored, where safetensors has no name for it.
	Stored      string `json:"stored,omitempty"`
	StoredShape []int  `json:"stored_shape,omitempty"`
}

type jsonFunc struct {
	Name    string      `json:"name"`
	Values  []jsonValue `json:"values"`
	Inputs  []int       `json:"inputs"`
	Outputs []int       `json:"outputs"`
	Steps   []jsonStep  `json:"steps"`
	Symbols []Symbol    `json:"symbols,omitempty"`
}

type jsonValue struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype,omitempty"`
	Dims  []string `json:"dims"` // null: rank unknown
	Const *int     `json:"const,omitempty"`
}

type jsonStep struct {
	Name     string     `json:"name"`
	Op       string     `json:"op"`
	Domain   string     `json:"domain,omitempty"`
	Attrs    []jsonAttr `json:"attrs,omitempty"`
	Kernel   string     `json:"kernel"`
	In       []int      `json:"in"`
	Out      []int      `json:"out"`
	Subs     []int      `json:"subs,omitempty"`
	Captures int        `json:"captures,omitempty"`
	Origin   []string   `json:"origin,omitempty"`
	Note     string     `json:"note,omitempty"`
	Launches []Launch   `json:"launches,omitempty"`
	Also     []int      `json:"also,omitempty"`
	Temps    []Temp     `json:"temps,omitempty"`
	Variants []Variant  `json:"variants,omitempty"`
}

// jsonAttr is an attribute with its type as the key of its value. Floats are text, so
// that NaN, infinities and every bit survive.
type jsonAttr struct {
	Name    string   `json:"n"`
	Int     *int64   `json:"i,omitempty"`
	Float   *string  `json:"f,omitempty"`
	Str     *string  `json:"s,omitempty"`
	Ints    []int64  `json:"is,omitempty"`
	Floats  []string `json:"fs,omitempty"`
	Strs    []string `json:"ss,omitempty"`
	DType   string   `json:"d,omitempty"`
	Bool    *bool    `json:"b,omitempty"`
	Const   *int     `json:"t,omitempty"`
	IsEmpty string   `json:"empty,omitempty"` // "is", "fs" or "ss" for an empty list
}

func encodeAttrs(p *Program, attrs any) ([]jsonAttr, []*Const, error) {
	var out []jsonAttr
	var extra []*Const
	for _, a := range ir.AttrsOf(attrs) {
		j := jsonAttr{Name: a.Name}
		switch x := a.Value.(type) {
		case int64:
			j.Int = &x
		case bool:
			j.Bool = &x
		case float32:
			s := floatText(x)
			j.Float = &s
		case string:
			j.Str = &x
		case []int64:
			j.Ints = x
			if len(x) == 0 {
				j.IsEmpty = "is"
			}
		case []float32:
			for _, f := range x {
				j.Floats = append(j.Floats, floatText(f))
			}
			if len(x) == 0 {
				j.IsEmpty = "fs"
			}
		case []string:
			j.Strs = x
			if len(x) == 0 {
				j.IsEmpty = "ss"
			}
		case tensor.DType:
			j.DType = x.String()
		case *tensor.Tensor:
			n := len(p.Consts) + len(extra)
			extra = append(extra, &Const{Name: a.Name, DType: x.DType(), Shape: x.Shape(), Data: x})
			j.Const = &n
		default:
			return nil, nil, fmt.Errorf("attribute %q has type %T", a.Name, a.Value)
		}
		out = append(out, j)
	}
	return out, extra, nil
}

func floatText(f float32) string { return strconv.FormatFloat(float64(f), 'g', -1, 32) }

func parseFloat(s string) (float32, error) {
	f, err := strconv.ParseFloat(s, 32)
	if err != nil && !math.IsInf(f, 0) {
		return 0, err
	}
	return float32(f), nil
}

func decodeAttrs(consts []*Const, op *ir.Op, in []jsonAttr) (any, error) {
	if op.Attrs == nil {
		if len(in) > 0 {
			return nil, fmt.Errorf("%w: %s takes no attributes", ErrFormat, op)
		}
		return nil, nil
	}
	attrs := op.Attrs()
	for _, j := range in {
		v, err := j.value(consts)
		if err == nil {
			err = ir.SetAttr(attrs, j.Name, v)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: attribute %q: %w", ErrFormat, op, j.Name, err)
		}
	}
	return attrs, nil
}

func (j jsonAttr) value(consts []*Const) (any, error) {
	switch {
	case j.Int != nil:
		return *j.Int, nil
	case j.Bool != nil:
		return *j.Bool, nil
	case j.Float != nil:
		return parseFloat(*j.Float)
	case j.Str != nil:
		return *j.Str, nil
	case j.Ints != nil || j.IsEmpty == "is":
		return append([]int64{}, j.Ints...), nil
	case j.Floats != nil || j.IsEmpty == "fs":
		fs := make([]float32, len(j.Floats))
		for i, s := range j.Floats {
			f, err := parseFloat(s)
			if err != nil {
				return nil, err
			}
			fs[i] = f
		}
		return fs, nil
	case j.Strs != nil || j.IsEmpty == "ss":
		return append([]string{}, j.Strs...), nil
	case j.DType != "":
		dt, ok := tensor.ParseDType(j.DType)
		if !ok {
			return nil, fmt.Errorf("no element type %q", j.DType)
		}
		return dt, nil
	case j.Const != nil:
		if *j.Const < 0 || *j.Const >= len(consts) {
			return nil, fmt.Errorf("constant %d does not exist", *j.Const)
		}
		return consts[*j.Const].Data, nil
	}
	return nil, fmt.Errorf("has no value")
}

func encodeProgram(p *Program) (_ []byte, consts []*Const, err error) {
	var jp jsonProgram
	consts = append(consts, p.Consts...)
	all := &Program{Consts: consts}
	for _, f := range p.Funcs {
		jf := jsonFunc{Name: f.Name, Inputs: nonNil(f.Inputs), Outputs: nonNil(f.Outputs), Symbols: f.Symbols}
		for _, v := range f.Values {
			jf.Values = append(jf.Values, encodeValue(v))
		}
		for _, s := range f.Steps {
			attrs, extra, err := encodeAttrs(all, s.Attrs)
			if err != nil {
				return nil, nil, fmt.Errorf("step %q: %w", s.Name, err)
			}
			all.Consts = append(all.Consts, extra...)
			jf.Steps = append(jf.Steps, jsonStep{
				Name: s.Name, Op: s.Op.Name, Domain: s.Op.Domain, Attrs: attrs, Kernel: s.Kernel,
				In: nonNil(s.In), Out: nonNil(s.Out), Subs: s.Subs, Captures: s.Captures,
				Origin: s.Origin, Note: s.Note, Launches: s.Launches, Also: s.Also, Temps: s.Temps, Variants: s.Variants,
			})
		}
		jp.Funcs = append(jp.Funcs, jf)
	}
	for _, c := range all.Consts {
		jc := jsonConst{Name: c.Name, DType: c.DType.String(), Shape: nonNil(c.Shape), Layout: c.Layout}
		if c.Data.DType() == tensor.String {
			jc.Strings = c.Data.Strings()
		} else {
			jc.Stored, jc.StoredShape = c.Data.DType().String(), nonNil(c.Data.Shape())
		}
		jp.Consts = append(jp.Consts, jc)
	}
	b, err := json.MarshalIndent(jp, "", " ")
	return b, all.Consts, err
}

func encodeValue(v Value) jsonValue {
	jv := jsonValue{Name: v.Name}
	if v.Type.DType != tensor.Invalid {
		jv.DType = v.Type.DType.String()
	}
	if v.Type.Ranked {
		jv.Dims = []string{}
		for _, d := range v.Type.Shape {
			jv.Dims = append(jv.Dims, d.String())
		}
	}
	if v.Const >= 0 {
		jv.Const = &v.Const
	}
	return jv
}

func decodeValue(jv jsonValue, consts int) (Value, error) {
	v := Value{Name: jv.Name, Const: -1}
	if jv.DType != "" {
		dt, ok := tensor.ParseDType(jv.DType)
		if !ok {
			return v, fmt.Errorf("%w: value %q: no element type %q", ErrFormat, jv.Name, jv.DType)
		}
		v.Type.DType = dt
	}
	if jv.Dims != nil {
		v.Type.Ranked = true
		v.Type.Shape = make([]ir.Dim, len(jv.Dims))
		for i, s := range jv.Dims {
			v.Type.Shape[i] = parseDim(s)
		}
	}
	if jv.Const != nil {
		if *jv.Const < 0 || *jv.Const >= consts {
			return v, fmt.Errorf("%w: value %q: constant %d does not exist", ErrFormat, jv.Name, *jv.Const)
		}
		v.Const = *jv.Const
	}
	return v, nil
}

func parseDim(s string) ir.Dim {
	if s == "?" {
		return ir.Unknown()
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return ir.Known(n)
	}
	return ir.Sym(s)
}

func nonNil(s []int) []int {
	if s == nil {
		return []int{}
	}
	return s
}
