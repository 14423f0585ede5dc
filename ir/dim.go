package ir

import (
	"slices"
	"strconv"
	"strings"
)

// Arithmetic on dims. Results are known where the operands are; otherwise they are
// named after a canonical expression, so that equal computations get equal names.
// A form that has no canonical name becomes Unknown, which is always safe.

// MulDim is a*b.
func MulDim(a, b Dim) Dim {
	if a.IsKnown() && b.IsKnown() {
		return Known(a.Size * b.Size)
	}
	if a.IsKnown() && a.Size == 0 || b.IsKnown() && b.Size == 0 {
		return Known(0)
	}
	ca, fa, ok1 := factors(a)
	cb, fb, ok2 := factors(b)
	if !ok1 || !ok2 {
		return Unknown()
	}
	return product(ca*cb, append(fa, fb...))
}

// DivDim is a/b when b divides a for certain, else Unknown.
func DivDim(a, b Dim) Dim {
	if a.IsKnown() && b.IsKnown() {
		if b.Size == 0 || a.Size%b.Size != 0 {
			return Unknown()
		}
		return Known(a.Size / b.Size)
	}
	ca, fa, ok1 := factors(a)
	cb, fb, ok2 := factors(b)
	if !ok1 || !ok2 || cb == 0 || ca%cb != 0 {
		return Unknown()
	}
	for _, f := range fb {
		i := slices.Index(fa, f)
		if i < 0 {
			return Unknown()
		}
		fa = slices.Delete(fa, i, i+1)
	}
	return product(ca/cb, fa)
}

// AddDim is a+b.
func AddDim(a, b Dim) Dim {
	switch {
	case a.IsKnown() && b.IsKnown():
		return Known(a.Size + b.Size)
	case a.IsKnown() && a.Size == 0:
		return b
	case b.IsKnown() && b.Size == 0:
		return a
	}
	ca, ta, ok1 := terms(a)
	cb, tb, ok2 := terms(b)
	if !ok1 || !ok2 {
		return Unknown()
	}
	return sum(ca+cb, append(ta, tb...))
}

// SubDim is a-b where the form allows it (b a constant, or a term of a).
func SubDim(a, b Dim) Dim {
	if a.Same(b) {
		return Known(0)
	}
	ca, ta, ok1 := terms(a)
	cb, tb, ok2 := terms(b)
	if !ok1 || !ok2 {
		return Unknown()
	}
	for _, t := range tb {
		i := slices.Index(ta, t)
		if i < 0 {
			return Unknown()
		}
		ta = slices.Delete(ta, i, i+1)
	}
	return sum(ca-cb, ta)
}

// factors splits "2*a*b" into 2 and [a b]; a sum in brackets is one factor.
func factors(d Dim) (int64, []string, bool) {
	if d.IsKnown() {
		return d.Size, nil, true
	}
	if d.Name == "" {
		return 0, nil, false
	}
	if strings.ContainsAny(d.Name, "+()") {
		if strings.HasPrefix(d.Name, "(") {
			return 0, nil, false
		}
		return 1, []string{"(" + d.Name + ")"}, !strings.Contains(d.Name, "(")
	}
	c, fs := int64(1), []string(nil)
	for _, f := range strings.Split(d.Name, "*") {
		if n, err := strconv.ParseInt(f, 10, 64); err == nil {
			c *= n
		} else {
			fs = append(fs, f)
		}
	}
	return c, fs, true
}

func product(c int64, fs []string) Dim {
	if c < 0 || c > 1<<40 || len(fs) > 6 {
		return Unknown()
	}
	if len(fs) == 0 {
		return Known(c)
	}
	slices.Sort(fs)
	if len(fs) == 1 && c == 1 {
		return Sym(strings.Trim(fs[0], "()"))
	}
	for _, f := range fs {
		if strings.HasPrefix(f, "(") && (len(fs) > 1 || c != 1) {
			return Unknown() // keep one level: products of sums get no name
		}
	}
	if c != 1 {
		fs = append([]string{strconv.FormatInt(c, 10)}, fs...)
	}
	return Sym(strings.Join(fs, "*"))
}

// terms splits "a+b+3" into 3 and [a b].
func terms(d Dim) (int64, []string, bool) {
	if d.IsKnown() {
		return d.Size, nil, true
	}
	if d.Name == "" || strings.ContainsAny(d.Name, "()") {
		return 0, nil, false
	}
	c, ts := int64(0), []string(nil)
	for _, t := range strings.Split(d.Name, "+") {
		if n, err := strconv.ParseInt(t, 10, 64); err == nil {
			c += n
		} else {
			ts = append(ts, t)
		}
	}
	return c, ts, true
}

func sum(c int64, ts []string) Dim {
	if len(ts) > 6 {
		return Unknown()
	}
	if len(ts) == 0 {
		if c < 0 {
			return Unknown()
		}
		return Known(c)
	}
	slices.Sort(ts)
	if c != 0 {
		ts = append(ts, strconv.FormatInt(c, 10))
	}
	return Sym(strings.Join(ts, "+"))
}
