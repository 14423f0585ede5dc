package onnx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
)

// scan8: Scan-8 has a batch dimension in front of everything and runs its body once per
// batch entry. That is a Scan over the batch whose body is a Scan over the sequence.
func scan8(c *call) error {
	scans, ok := c.attr("num_scan_inputs").(int64)
	dirs, err := takeAs[[]int64](c, "directions", nil)
	if err != nil {
		return err
	}
	if !ok || len(c.ins) < 2 || scans < 1 || scans > int64(len(c.ins)-1) {
		return fmt.Errorf("%w: opset 8 of Scan needs num_scan_inputs between 1 and the number of its inputs", ir.ErrAttr)
	}
	if c.ins[0] != nil {
		return fmt.Errorf("%w: Scan of opset 8 with sequence_lens", ir.ErrUnsupportedOp)
	}
	s := c.s
	op := s.im.opt.Ops.Lookup(ir.DomainONNX, "Scan")
	if op == nil {
		return c.unsupported()
	}
	inner := &call{s: s, name: "Scan", attrs: []ir.Attr{{Name: "num_scan_inputs", Value: scans}}}
	if dirs != nil {
		inner.set("scan_input_directions", dirs)
	}
	innerAttrs, err := inner.structOf(op)
	if err != nil {
		return err
	}
	outer := &call{s: s, name: "Scan", attrs: []ir.Attr{{Name: "num_scan_inputs", Value: int64(len(c.ins) - 1)}}}
	outerAttrs, err := outer.structOf(op)
	if err != nil {
		return err
	}
	c.ins = c.ins[1:]
	n, err := c.add(op, outerAttrs, c.ins, c.outs)
	if err != nil {
		return err
	}
	if err := c.bodies(n); err != nil { // gives n the body of the inner Scan and the captures
		return err
	}
	g := ir.NewGraph(c.label+"/batch", s.im.opt.Ops)
	for i, v := range n.Inputs {
		t := v.Type
		if i < len(c.ins) {
			t = ir.Type{} // one entry of it; inference fills it in
		}
		g.AddInput("", t)
	}
	outs := make([]string, len(n.Outputs))
	in := g.Add(op, innerAttrs, g.Inputs, outs...)
	in.Origin, in.Captures, in.Subgraphs = c.origin, n.Captures, n.Subgraphs
	g.Outputs = append(g.Outputs, in.Outputs...)
	n.Subgraphs = []*ir.Graph{g}
	c.done = true
	return nil
}
