package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/passes"
)

// mlpInfo is one dense feedforward block of a model.
type mlpInfo struct {
	Name       string `json:"name"` // of its first node
	DModel     int    `json:"d_model"`
	DFF        int    `json:"d_ff"`
	DOut       int    `json:"d_out"`
	Activation string `json:"activation"`
	Gated      bool   `json:"gated"`
}

func (m mlpInfo) String() string {
	kind := m.Activation
	if m.Gated {
		kind = "gated " + kind
	}
	return fmt.Sprintf("%s\t%d-%d-%d %s", m.Name, m.DModel, m.DFF, m.DOut, kind)
}

// findMLPs lists the dense MLPs that rewrites would start from: it runs the passes up to
// their recognition, on g.
func (a *app) findMLPs(ctx context.Context, g *ir.Graph) ([]mlpInfo, error) {
	if _, err := passes.Run(ctx, g, passes.Options{Pipeline: passes.UpTo("feedforward")}); err != nil {
		return nil, err
	}
	list := []mlpInfo{}
	collectMLPs(g, &list)
	return list, nil
}

func collectMLPs(g *ir.Graph, list *[]mlpInfo) {
	for _, n := range g.Nodes {
		if n.Is("moec::MLP", "moec::GatedMLP") {
			*list = append(*list, describeMLP(n))
		}
		for _, s := range n.Subgraphs {
			collectMLPs(s, list)
		}
	}
}

func describeMLP(n *ir.Node) mlpInfo {
	m := mlpInfo{Name: strings.Join(n.Origin[:min(1, len(n.Origin))], ""), Gated: n.Is("moec::GatedMLP")}
	w2 := n.Inputs[2]
	if m.Gated {
		w2 = n.Inputs[3]
	}
	size := func(v *ir.Value, i int) int { return int(v.Type.Shape[i].Size) }
	m.DModel, m.DFF, m.DOut = size(n.Inputs[1], 0), size(n.Inputs[1], 1), size(w2, 1)
	for _, at := range ir.AttrsOf(n.Attrs) {
		if at.Name == "activation" {
			m.Activation = fmt.Sprint(at.Value)
		}
	}
	return m
}
