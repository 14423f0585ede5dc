package onnx

import (
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
)

// composed reads a dim that exporters name after its arithmetic, such as "past + 1" or
// "2*seq", as that arithmetic on other names, so that it equals what inference finds for
// a Concat of "past" and one more. ok is false for a plain name and for any other form.
func (im *importer) composed(name string) (d ir.Dim, ok bool) {
	if !strings.ContainsAny(name, "+*") || len(name) > 64 {
		return d, false
	}
	d = ir.Known(0)
	for _, term := range strings.Split(name, "+") {
		t, ok := im.product(term)
		if !ok {
			return d, false
		}
		d = ir.AddDim(d, t)
	}
	return d, d.Name != ""
}

// product reads "2*a*b".
func (im *importer) product(term string) (ir.Dim, bool) {
	d := ir.Known(1)
	for _, f := range strings.Split(term, "*") {
		f = strings.TrimSpace(f)
		if n, err := strconv.ParseInt(f, 10, 32); err == nil && n >= 0 {
			d = ir.MulDim(d, ir.Known(n))
			continue
		}
		if !identifier(f) {
			return d, false
		}
		d = ir.MulDim(d, im.sym(f))
	}
	return d, true
}

// identifier: a letter or underscore, then also digits and dots.
func identifier(s string) bool {
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '_':
		case i > 0 && (r >= '0' && r <= '9' || r == '.'):
		default:
			return false
		}
	}
	return s != ""
}
