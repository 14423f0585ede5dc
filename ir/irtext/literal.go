package irtext

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// maxInline is how many elements a tensor may have to be written out.
const maxInline = 16

func (p *Printer) tensor(t *tensor.Tensor) string {
	if t.Len() > maxInline {
		return t.String() + "#" + p.hash(t)
	}
	s := make([]string, t.Len())
	for i := range s {
		s[i] = formatElem(t, i)
	}
	return t.String() + "{" + strings.Join(s, ", ") + "}"
}

func (p *Printer) hash(t *tensor.Tensor) string {
	if h, ok := p.hashes[t]; ok {
		return h
	}
	h := Hash(t)
	if p.hashes == nil {
		p.hashes, p.table = map[*tensor.Tensor]string{}, map[string]*tensor.Tensor{}
	}
	p.hashes[t], p.table[h] = h, t
	return h
}

// Hash names a tensor by its type, shape and elements: 16 hexadecimal digits of their
// SHA-256.
func Hash(t *tensor.Tensor) string {
	h := sha256.New()
	fmt.Fprintln(h, t.String())
	h.Write(t.Bytes())
	for _, s := range t.Strings() {
		fmt.Fprintf(h, "%q\n", s)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// formatElem prints element i so that parseElem gives the same bits; NaNs and types
// without a decimal form are printed as their bits.
func formatElem(t *tensor.Tensor, i int) string {
	switch dt := t.DType(); {
	case dt == tensor.String:
		return strconv.Quote(t.Strings()[i])
	case dt == tensor.Bool:
		return strconv.FormatBool(t.Bytes()[i] != 0)
	case dt == tensor.F32:
		return floatOrBits(float64(tensor.Data[float32](t)[i]), 32, uint64(math.Float32bits(tensor.Data[float32](t)[i])))
	case dt == tensor.F64:
		return floatOrBits(tensor.Data[float64](t)[i], 64, math.Float64bits(tensor.Data[float64](t)[i]))
	case dt == tensor.F16:
		h := tensor.Data[tensor.Float16](t)[i]
		return floatOrBits(float64(h.Float32()), 32, uint64(h))
	case dt == tensor.BF16:
		h := tensor.Data[tensor.BFloat16](t)[i]
		return floatOrBits(float64(h.Float32()), 32, uint64(h))
	case dt == tensor.U64:
		return strconv.FormatUint(tensor.Data[uint64](t)[i], 10)
	case dt.IsInt():
		v, err := t.Int64s()
		if err != nil {
			panic(err) // every integer type has this form
		}
		return strconv.FormatInt(v[i], 10)
	}
	n := t.DType().Size()
	var le []byte
	for _, b := range t.Bytes()[i*n : (i+1)*n] {
		le = append([]byte{b}, le...)
	}
	return "0x" + hex.EncodeToString(le)
}

func floatOrBits(f float64, bits int, raw uint64) string {
	if f != f {
		return fmt.Sprintf("0x%x", raw)
	}
	return strings.ToLower(strconv.FormatFloat(f, 'g', -1, bits))
}

// tensor reads type{elements}, type#hash, or type and rand(seed): numbers in [-1,1) made
// from the seed, for tests.
func (p *parser) tensor() (*tensor.Tensor, error) {
	typ, err := p.typ()
	if err != nil {
		return nil, err
	}
	return p.tensorOf(typ)
}

func (p *parser) tensorOf(typ ir.Type) (*tensor.Tensor, error) {
	shape, ok := typ.Static()
	n, fits := tensor.CheckedElems(shape)
	if !ok || !fits || typ.DType == tensor.Invalid {
		return nil, p.errorf("a constant needs an element type and known dimensions")
	}
	switch {
	case p.accept("#"):
		h := p.run(isWordByte)
		t := p.tensors[h]
		if t == nil {
			return nil, p.errorf("no tensor was given for #%s", h)
		}
		if !ir.TypeOf(t).Equal(typ) {
			return nil, p.errorf("#%s is %s", h, t)
		}
		return t, nil
	case p.keyword("rand"):
		return p.random(typ.DType, n, shape)
	}
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	var elems []string
	for !p.accept("}") {
		if len(elems) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		e, err := p.elem(typ.DType)
		if err != nil {
			return nil, err
		}
		elems = append(elems, e)
	}
	if len(elems) != n {
		return nil, p.errorf("%d elements for shape %v", len(elems), shape)
	}
	if typ.DType == tensor.String {
		return tensor.OfStrings(elems, shape...), nil
	}
	t := tensor.New(typ.DType, shape...)
	for i, e := range elems {
		if err := parseElem(t, i, e); err != nil {
			return nil, p.errorf("%q is no %s", e, typ.DType)
		}
	}
	return t, nil
}

func (p *parser) elem(dt tensor.DType) (string, error) {
	if dt == tensor.String {
		p.peek()
		return p.quoted()
	}
	p.peek()
	if w := p.run(func(c byte) bool { return isWordByte(c) || c == '+' }); w != "" {
		return w, nil
	}
	return "", p.errorf("expected a number")
}

func (p *parser) random(dt tensor.DType, n int, shape []int) (*tensor.Tensor, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	p.peek()
	seed, err := strconv.ParseUint(p.run(isWordByte), 10, 32)
	if err != nil {
		return nil, p.errorf("expected a seed")
	}
	if n > 1<<20 || !dt.IsFloat() {
		return nil, p.errorf("rand makes at most %d numbers of a float type", 1<<20)
	}
	t := tensor.New(dt, shape...)
	x := seed*2862933555777941757 + 3037000493
	for i := range n {
		x = x*6364136223846793005 + 1442695040888963407
		f := float64(int64(x)>>40) / (1 << 23)
		if err := parseElem(t, i, strconv.FormatFloat(f, 'g', -1, 64)); err != nil {
			return nil, p.errorf("rand: %v", err)
		}
	}
	return t, p.expect(")")
}

func parseElem(t *tensor.Tensor, i int, s string) error {
	dt := t.DType()
	if hexa, ok := strings.CutPrefix(s, "0x"); ok {
		bits := dt.Size() * 8
		if dt == tensor.C128 {
			return parseWide(t, i, hexa)
		}
		v, err := strconv.ParseUint(hexa, 16, bits)
		for j := range dt.Size() {
			t.Bytes()[i*dt.Size()+j] = byte(v >> (8 * j))
		}
		return err
	}
	switch {
	case dt == tensor.Bool:
		v, err := strconv.ParseBool(s)
		tensor.Data[bool](t)[i] = v
		return err
	case dt == tensor.F64:
		v, err := strconv.ParseFloat(s, 64)
		tensor.Data[float64](t)[i] = v
		return err
	case dt.IsFloat():
		v, err := strconv.ParseFloat(s, 32)
		switch dt {
		case tensor.F32:
			tensor.Data[float32](t)[i] = float32(v)
		case tensor.F16:
			tensor.Data[tensor.Float16](t)[i] = tensor.ToFloat16(float32(v))
		case tensor.BF16:
			tensor.Data[tensor.BFloat16](t)[i] = tensor.ToBFloat16(float32(v))
		}
		return err
	case dt.IsInt():
		var raw uint64
		var err error
		if dt.IsSigned() {
			var v int64
			v, err = strconv.ParseInt(s, 10, dt.Bits())
			raw = uint64(v)
		} else {
			raw, err = strconv.ParseUint(s, 10, dt.Bits())
		}
		for j := range dt.Size() {
			t.Bytes()[i*dt.Size()+j] = byte(raw >> (8 * j))
		}
		return err
	}
	return fmt.Errorf("%s elements are written as bits", dt)
}

func parseWide(t *tensor.Tensor, i int, hexa string) error {
	b, err := hex.DecodeString(hexa)
	if err != nil || len(b) != 16 {
		return fmt.Errorf("want 32 hexadecimal digits")
	}
	for j := range b {
		t.Bytes()[i*16+15-j] = b[j]
	}
	return nil
}

// attrs reads {name=value, ...} into the op's attribute struct; without braces the
// defaults hold.
func (p *parser) attrs(op *ir.Op) (any, error) {
	var attrs any
	if op.Attrs != nil {
		attrs = op.Attrs()
	}
	if !p.accept("{") {
		return attrs, nil
	}
	for i := 0; !p.accept("}"); i++ {
		if i > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		name, _, err := p.word()
		if err != nil {
			return nil, err
		}
		if err := p.expect("="); err != nil {
			return nil, err
		}
		if p.accept("[") {
			if err := p.list(attrs, name); err != nil {
				return nil, err
			}
			continue
		}
		x, err := p.attrValue()
		if err != nil {
			return nil, err
		}
		if err := ir.SetAttr(attrs, name, x); err != nil {
			return nil, fmt.Errorf("%w: %w", p.errorf("%s", op), err)
		}
	}
	return attrs, nil
}

// list reads the rest of [a, b]; what an empty one is a list of, the attribute knows.
func (p *parser) list(attrs any, name string) error {
	var ints []int64
	var floats []float32
	var strs []string
	for i := 0; !p.accept("]"); i++ {
		if i > 0 {
			if err := p.expect(","); err != nil {
				return err
			}
		}
		x, err := p.attrValue()
		if err != nil {
			return err
		}
		switch x := x.(type) {
		case int64:
			ints = append(ints, x)
		case float32:
			floats = append(floats, x)
		case string:
			strs = append(strs, x)
		default:
			return p.errorf("a list holds numbers or strings")
		}
	}
	n := len(ints) + len(floats) + len(strs)
	if n > max(len(ints), len(floats), len(strs)) {
		return p.errorf("a list holds elements of one kind")
	}
	var err error
	for _, x := range []any{ints, floats, strs} {
		switch s := x.(type) {
		case []int64:
			if n != len(s) {
				continue
			}
			x = append([]int64{}, s...)
		case []float32:
			if n != len(s) {
				continue
			}
			x = append([]float32{}, s...)
		case []string:
			if n != len(s) {
				continue
			}
			x = append([]string{}, s...)
		}
		if err = ir.SetAttr(attrs, name, x); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", p.errorf("attribute %s", name), err)
}

func (p *parser) attrValue() (any, error) {
	if p.peek() == '"' {
		return p.quoted()
	}
	start := p.pos
	w := p.run(func(c byte) bool { return isWordByte(c) || c == '+' })
	switch w {
	case "true", "false":
		return w == "true", nil
	}
	if dt, ok := tensor.ParseDType(w); ok {
		if p.peek() != '[' {
			return dt, nil
		}
		p.pos = start
		return p.tensor()
	}
	if n, err := strconv.ParseInt(w, 10, 64); err == nil {
		return n, nil
	}
	if f, err := strconv.ParseFloat(w, 32); err == nil && strings.ContainsAny(w, ".eEinIN") {
		return float32(f), nil
	}
	p.pos = start
	return nil, p.errorf("expected a value")
}
