package main

import (
	"context"
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
)

// mlpInfo is one dense feedforward block of a model.
type mlpInfo struct {
	Name       string `json:"name"`
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

// findMLPs lists the dense MLPs that rewrites would start from.
func (a *app) findMLPs(context.Context, *ir.Graph) ([]mlpInfo, error) { return []mlpInfo{}, nil }
