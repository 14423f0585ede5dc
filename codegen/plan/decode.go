package plan

import (
	"encoding/json"
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// decodeProgram fills p from program.json and the weights, checking every index.
func decodeProgram(p *Program, prog, weights []byte, ops ir.OpSet) error {
	var jp jsonProgram
	if err := json.Unmarshal(prog, &jp); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, entryProgram, err)
	}
	data, err := readWeights(weights)
	if err != nil {
		return err
	}
	for i, jc := range jp.Consts {
		c, err := decodeConst(jc, data[fmt.Sprintf("c%d", i)])
		if err != nil {
			return fmt.Errorf("constant %d (%q): %w", i, jc.Name, err)
		}
		p.Consts = append(p.Consts, c)
	}
	if len(jp.Funcs) == 0 {
		return fmt.Errorf("%w: %s has no functions", ErrFormat, entryProgram)
	}
	for fi, jf := range jp.Funcs {
		f, err := decodeFunc(p, jf, fi, len(jp.Funcs), ops)
		if err != nil {
			return fmt.Errorf("func %d (%q): %w", fi, jf.Name, err)
		}
		p.Funcs = append(p.Funcs, f)
	}
	return nil
}

func decodeConst(jc jsonConst, data []byte) (*Const, error) {
	c := &Const{Name: jc.Name, Shape: jc.Shape, Layout: jc.Layout}
	dt, ok := tensor.ParseDType(jc.DType)
	if !ok {
		return nil, fmt.Errorf("%w: no element type %q", ErrFormat, jc.DType)
	}
	c.DType = dt
	if dt == tensor.String {
		n, ok := tensor.CheckedElems(jc.Shape)
		if !ok || n != len(jc.Strings) {
			return nil, fmt.Errorf("%w: %d strings for shape %v", ErrFormat, len(jc.Strings), jc.Shape)
		}
		c.Data = tensor.OfStrings(jc.Strings, jc.Shape...)
		return c, nil
	}
	stored, ok := tensor.ParseDType(jc.Stored)
	if !ok {
		return nil, fmt.Errorf("%w: no element type %q", ErrFormat, jc.Stored)
	}
	t, err := tensor.FromBytes(stored, jc.StoredShape, data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	c.Data = t
	if jc.Layout == "" && (stored != dt || !sameInts(jc.Shape, jc.StoredShape)) {
		return nil, fmt.Errorf("%w: stored as %s, declared %s%v", ErrFormat, t, dt, jc.Shape)
	}
	return c, nil
}

func decodeFunc(p *Program, jf jsonFunc, self, funcs int, ops ir.OpSet) (*Func, error) {
	f := &Func{Name: jf.Name, Inputs: jf.Inputs, Outputs: jf.Outputs, Symbols: jf.Symbols}
	for _, jv := range jf.Values {
		v, err := decodeValue(jv, len(p.Consts))
		if err != nil {
			return nil, err
		}
		f.Values = append(f.Values, v)
	}
	ready := make([]bool, len(f.Values)) // written, or known from the start
	for i, v := range f.Values {
		ready[i] = v.Const >= 0
	}
	for _, i := range f.Inputs {
		if i < 0 || i >= len(f.Values) || ready[i] {
			return nil, fmt.Errorf("%w: input %d", ErrFormat, i)
		}
		ready[i] = true
	}
	for _, js := range jf.Steps {
		s := &Step{
			Name: js.Name, Kernel: js.Kernel, In: js.In, Out: js.Out, Subs: js.Subs,
			Captures: js.Captures, Origin: js.Origin, Note: js.Note, Launches: js.Launches, Also: js.Also, Temps: js.Temps, Variants: js.Variants,
		}
		if s.Op = ops.Lookup(js.Domain, js.Op); s.Op == nil {
			return nil, fmt.Errorf("%w: step %q: this moec does not know the op %q", ErrFormat, js.Name, js.Op)
		}
		var err error
		if s.Attrs, err = decodeAttrs(p.Consts, s.Op, js.Attrs); err != nil {
			return nil, fmt.Errorf("step %q: %w", js.Name, err)
		}
		for _, i := range s.In {
			if i < -1 || i >= len(f.Values) || i >= 0 && !ready[i] {
				return nil, fmt.Errorf("%w: step %q reads value %d before it is written", ErrFormat, js.Name, i)
			}
		}
		for _, i := range s.Out {
			if i < -1 || i >= len(f.Values) || i >= 0 && ready[i] {
				return nil, fmt.Errorf("%w: step %q writes value %d", ErrFormat, js.Name, i)
			}
			if i >= 0 {
				ready[i] = true
			}
		}
		for _, sub := range s.Subs {
			if sub <= self || sub >= funcs { // bodies come after their holder: no recursion
				return nil, fmt.Errorf("%w: step %q runs func %d", ErrFormat, js.Name, sub)
			}
		}
		if s.Captures < 0 || s.Captures > len(s.In) || len(s.In)-s.Captures < s.Op.MinIn {
			return nil, fmt.Errorf("%w: step %q has %d inputs, %d of them captures", ErrFormat, js.Name, len(s.In), s.Captures)
		}
		f.Steps = append(f.Steps, s)
	}
	if err := checkLaunches(p, f); err != nil {
		return nil, err
	}
	for _, i := range f.Outputs {
		if i < 0 || i >= len(f.Values) || !ready[i] {
			return nil, fmt.Errorf("%w: output %d is never written", ErrFormat, i)
		}
	}
	return f, nil
}

func sameInts(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
