package ptx

import "github.com/seed-c851cfd2/moec/codegen/plan/expr"

// Expr is an integer computed from the run-time dimensions of a model.
type Expr = expr.Expr

// N is the constant n.
func N(n int) Expr { return expr.N(n) }

// Sym is the run-time dimension of the given name.
func Sym(name string) Expr { return expr.Sym(name) }
