package expr

import (
	"fmt"
	"strings"
)

// Cond is a condition on the run-time dimensions of a model: Left <= Right.
type Cond struct{ Left, Right Expr }

// AtMost is the condition e <= n.
func AtMost(e Expr, n int) Cond { return Cond{e, N(n)} }

func (c Cond) String() string { return c.Left.String() + "<=" + c.Right.String() }

// Holds evaluates the condition; a missing dimension is an error that names it.
func (c Cond) Holds(dims map[string]int64) (bool, error) {
	l, err := c.Left.Eval(dims)
	if err != nil {
		return false, err
	}
	r, err := c.Right.Eval(dims)
	return l <= r, err
}

// ParseCond reads the text form.
func ParseCond(s string) (Cond, error) {
	left, right, ok := strings.Cut(s, "<=")
	if !ok {
		return Cond{}, fmt.Errorf("condition %q: there is no <=", s)
	}
	var c Cond
	var err error
	if c.Left, err = Parse(left); err != nil {
		return c, fmt.Errorf("condition %q: %w", s, err)
	}
	if c.Right, err = Parse(right); err != nil {
		return c, fmt.Errorf("condition %q: %w", s, err)
	}
	return c, nil
}
