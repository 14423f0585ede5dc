// Package schema knows of every standard operator since which operator-set versions it
// exists and which attributes it demands: what decides whether a node of a file is legal
// before anybody asks what it means.
package schema

import "strconv"

//go:generate python3 gen.py

// MinOpset and MaxOpset bound the versions of ONNX's own operator set that are read.
const (
	MinOpset = 7
	MaxOpset = 28
)

// Op is one standard operator.
type Op struct {
	Versions   []int          // the operator-set versions that defined or changed it, ascending
	Deprecated int            // the version that withdrew it, 0 if none
	Required   []string       // attributes without a default
	Optional   []int          // inputs that may be empty although later ones are demanded
	Attrs      map[string]int // the newest version's attributes and since when they exist
	// Types says since when an input or output takes an element type, for those younger
	// than opset 18: "in0 i4", "out1 bf16".
	Types  map[string]int
	Inputs []int // since when each of the newest version's inputs exists; nil: always
}

// Lookup finds an operator by "Name" or "domain::Name".
func Lookup(name string) (Op, bool) {
	op, ok := standard[name]
	return op, ok
}

// At is the version whose meaning a model of operator set v gets; ok is false when the
// operator is newer than v.
func (o Op) At(v int) (since int, ok bool) {
	for _, s := range o.Versions {
		if s <= v {
			since, ok = s, true
		}
	}
	return since, ok
}

// TypeSince is the version since which the i-th input ("in") or output ("out") takes an
// element type, 0 when it always did. The last of a variadic op's stands for all after it.
func (o Op) TypeSince(kind string, i int, dtype string) int {
	for ; i >= 0; i-- {
		if v, ok := o.Types[kind+strconv.Itoa(i)+" "+dtype]; ok {
			return v
		}
		if kind != "in" || i < len(o.Inputs) || o.Inputs == nil && i == 0 {
			break
		}
	}
	return 0
}
