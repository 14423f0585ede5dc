// Package passes rewrites graphs: one file per pass, one table that says in which order
// they run (pipeline.go), one runner that holds each to what it declares.
//
//	import -> fold, canonical, cse, dce -> norms, activations, attention, ... -> codegen
//
// A pass never runs a graph: who wants the translation checked hands in a function that
// does (Options.Check).
package passes

import (
	"context"
	"time"

	"github.com/seed-c851cfd2/moec/ir"
)

// Effect is how much a pass may change the numbers a graph computes.
type Effect uint8

// The effects, from none to what runs only when asked for.
const (
	Exact       Effect = iota // the same bits (the sign of zero and the payload of NaN aside)
	Rounding                  // the same formula in another order or precision of intermediates
	Halving                   // the same formula with some intermediates in bf16; for programs of lower precision
	Approximate               // another formula; leaves receipts
)

// String is "exact", "rounding", "halving" or "approximate".
func (e Effect) String() string {
	switch e {
	case Exact:
		return "exact"
	case Rounding:
		return "rounding"
	case Halving:
		return "halving"
	}
	return "approximate"
}

// Pass is one rewrite of a graph.
type Pass struct {
	Name   string // short and unique: what --dump files and errors say
	Doc    string // one sentence
	Effect Effect
	// Run changes g and reports whether it did. It leaves the node order and the
	// types of what it did not touch to the runner, which sorts and infers again.
	// Subgraphs are passed one by one, like any graph.
	Run func(ctx context.Context, g *ir.Graph) (changed bool, err error)
}

// Receipt is what an approximate pass leaves per rewritten node: what was replaced by
// what, and at which cost.
type Receipt struct {
	Pass         string   `json:"pass"`
	Node         string   `json:"node"`
	Origin       []string `json:"origin"` // the user's nodes
	From, To     string   // the ops: "moec::MLP", "moec::MoE"
	ParamsBefore int64    `json:"params_before"`
	ParamsAfter  int64    `json:"params_after"`
	FLOPsBefore  int64    `json:"flops_before"` // per position
	FLOPsAfter   int64    `json:"flops_after"`
	// Measured are errors and other measurements by name, where calibration data was given.
	Measured map[string]float64 `json:"measured,omitempty"`
	Note     string             `json:"note,omitempty"`
}

type receiptsKey struct{}

// LeaveReceipt hands a receipt to the Run that is executing the pass; outside of one it
// is dropped.
func LeaveReceipt(ctx context.Context, r Receipt) {
	if c, ok := ctx.Value(receiptsKey{}).(*[]Receipt); ok {
		*c = append(*c, r)
	}
}

// Step is what one pass did.
type Step struct {
	Pass    string
	Doc     string
	Effect  Effect
	Changed bool
	Time    time.Duration
	Before  int // nodes, those of subgraphs included
	After   int
}

// Report is what a run of the pipeline did.
type Report struct {
	Steps    []Step
	Receipts []Receipt
}

// CountNodes counts nodes, those of subgraphs included.
func CountNodes(g *ir.Graph) int {
	n := len(g.Nodes)
	for _, m := range g.Nodes {
		for _, s := range m.Subgraphs {
			n += CountNodes(s)
		}
	}
	return n
}
