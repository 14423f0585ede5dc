package onnx

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/internal/tensorpb"
	"github.com/seed-c851cfd2/moec/ir/onnx/internal/schema"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// originKey is the metadata entry that keeps the names of the nodes a node came from.
const originKey = "moec.origin"

// node writes n, as a call of a function when its op is not standard.
func (f *frame) node(n *ir.Node) error {
	if !standardDomain(n.Op.Domain) {
		return f.callFunction(n)
	}
	np, err := f.plainNode(n)
	if err != nil {
		return err
	}
	if err := f.ex.needNode(n, np); err != nil {
		return err
	}
	f.gp.Node = append(f.gp.Node, np)
	return nil
}

// standardDomain reports whether other runtimes know the domain's ops.
func standardDomain(d string) bool {
	return d == ir.DomainONNX || d == ir.DomainML || d == ir.DomainMicrosoft
}

// plainNode is n as a message: inputs, outputs, attributes, bodies.
func (f *frame) plainNode(n *ir.Node) (*onnxpb.NodeProto, error) {
	np := &onnxpb.NodeProto{Name: ptr(f.nodes.take(n.Name)), OpType: ptr(n.Op.Name)}
	if n.Op.Domain != ir.DomainONNX {
		np.Domain = ptr(n.Op.Domain)
	}
	f.ex.domains[n.Op.Domain] = true
	for _, v := range n.Inputs[:len(n.Inputs)-n.Captures] {
		np.Input = append(np.Input, f.ref(v))
	}
	for len(np.Input) > 0 && np.Input[len(np.Input)-1] == "" {
		np.Input = np.Input[:len(np.Input)-1]
	}
	for _, v := range n.Outputs {
		if v == nil {
			np.Output = append(np.Output, "")
			continue
		}
		np.Output = append(np.Output, f.name(v))
		f.ex.needType(v.Type.DType)
	}
	for len(np.Output) > 0 && np.Output[len(np.Output)-1] == "" {
		np.Output = np.Output[:len(np.Output)-1]
	}
	for _, a := range ir.AttrsOf(n.Attrs) {
		p, err := f.ex.attr(a)
		if err != nil {
			return nil, err
		}
		np.Attribute = append(np.Attribute, p)
	}
	var order []string
	if len(n.Subgraphs) > 0 {
		if order = bodyNames(n.Op); len(order) != len(n.Subgraphs) {
			return nil, fmt.Errorf("%w: %s has %d subgraphs, ONNX knows %d", ir.ErrGraph, n.Op, len(n.Subgraphs), len(order))
		}
	}
	for i, sub := range n.Subgraphs {
		g, err := f.subgraph(sub, n)
		if err != nil {
			return nil, err
		}
		np.Attribute = append(np.Attribute, &onnxpb.AttributeProto{Name: &order[i], Type: onnxpb.AttributeProto_GRAPH.Enum(), G: g})
	}
	if len(n.Origin) > 0 && !slices.Equal(n.Origin, []string{n.Name}) {
		b, err := json.Marshal(n.Origin)
		if err != nil {
			return nil, err
		}
		np.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: ptr(originKey), Value: ptr(string(b))}}
	}
	return np, nil
}

// bodyNames are the attributes that hold an op's subgraphs, in the op's order.
func bodyNames(op *ir.Op) []string {
	if op.Domain != ir.DomainONNX {
		return nil
	}
	switch op.Name {
	case "If":
		return []string{"then_branch", "else_branch"}
	case "Loop", "Scan", "SequenceMap":
		return []string{"body"}
	}
	return nil
}

func (ex *exporter) attr(a ir.Attr) (*onnxpb.AttributeProto, error) {
	p := &onnxpb.AttributeProto{Name: &a.Name}
	switch v := a.Value.(type) {
	case int64:
		p.Type, p.I = onnxpb.AttributeProto_INT.Enum(), &v
	case bool:
		p.Type, p.I = onnxpb.AttributeProto_INT.Enum(), new(int64)
		if v {
			p.I = ptr(int64(1))
		}
	case tensor.DType:
		p.Type, p.I = onnxpb.AttributeProto_INT.Enum(), ptr(int64(v.ONNX()))
		ex.needType(v)
	case float32:
		p.Type, p.F = onnxpb.AttributeProto_FLOAT.Enum(), &v
	case string:
		p.Type, p.S = onnxpb.AttributeProto_STRING.Enum(), []byte(v)
	case []int64:
		p.Type, p.Ints = onnxpb.AttributeProto_INTS.Enum(), v
	case []float32:
		p.Type, p.Floats = onnxpb.AttributeProto_FLOATS.Enum(), v
	case []string:
		p.Type = onnxpb.AttributeProto_STRINGS.Enum()
		for _, s := range v {
			p.Strings = append(p.Strings, []byte(s))
		}
	case *tensor.Tensor:
		p.Type, p.T = onnxpb.AttributeProto_TENSOR.Enum(), tensorpb.Encode("", v)
		ex.needType(v.DType())
	default:
		return nil, fmt.Errorf("%w: %s of type %T cannot be written", ir.ErrAttr, a.Name, v)
	}
	return p, nil
}

// needNode raises the operator set to what the node needs and drops attributes that say
// nothing: those that its version does not have and that hold their default.
func (ex *exporter) needNode(n *ir.Node, np *onnxpb.NodeProto) error {
	known, ok := schema.Lookup(n.Op.String())
	if !ok {
		return nil
	}
	if n.Op.Domain == ir.DomainONNX {
		ex.need(known.Versions[0], n.Op.Name)
		ex.need(meaningSince[n.Op.Name], n.Op.Name)
		for i, v := range np.Input {
			if v == "" {
				continue
			}
			if i < len(known.Inputs) {
				ex.need(known.Inputs[i], n.Op.Name)
			}
			ex.need(known.TypeSince("in", i, n.Inputs[i].Type.DType.String()), n.Op.Name)
		}
		for i, v := range n.Outputs {
			if v != nil {
				ex.need(known.TypeSince("out", i, v.Type.DType.String()), n.Op.Name)
			}
		}
		ex.need(attrSince(n), n.Op.Name)
	}
	defaults := map[string]*onnxpb.AttributeProto{}
	if n.Op.Attrs != nil {
		for _, a := range ir.AttrsOf(n.Op.Attrs()) {
			p, err := ex.attr(a)
			if err != nil {
				return err
			}
			defaults[a.Name] = p
		}
	}
	kept := np.Attribute[:0]
	for _, a := range np.Attribute {
		since, exists := known.Attrs[a.GetName()]
		late := n.Op.Domain == ir.DomainONNX && since > minExport
		d := defaults[a.GetName()]
		same := d != nil && sameAttr(a, d) && !slices.Contains(known.Required, a.GetName())
		switch {
		case same && (late || !exists || a.GetType() == onnxpb.AttributeProto_STRING && len(a.S) == 0):
			continue
		case !exists:
			return fmt.Errorf("%w: ONNX has no attribute %q of %s", ir.ErrAttr, a.GetName(), n.Op)
		case late:
			ex.need(since, n.Op.Name)
		}
		kept = append(kept, a)
	}
	np.Attribute = kept
	return nil
}

func sameAttr(a, b *onnxpb.AttributeProto) bool {
	return a.GetType() == b.GetType() && a.GetI() == b.GetI() && a.GetF() == b.GetF() && string(a.S) == string(b.S) &&
		slices.Equal(a.Ints, b.Ints) && slices.Equal(a.Floats, b.Floats) && len(a.Strings) == len(b.Strings) && a.T == b.T
}

// minExport is the lowest operator set written. It is the one since which axes and other
// former attributes are inputs, as the graph has them.
const minExport = 18

// meaningSince are the ops whose newest meaning or defaults are younger than that.
var meaningSince = map[string]int{"DFT": 20, "GridSample": 20, "GroupNormalization": 21}

// attrSince is the operator set that first has an attribute value's meaning: Mod of floats
// that rounds toward minus infinity, and last windows of pools that would start in padding.
func attrSince(n *ir.Node) int {
	for _, a := range ir.AttrsOf(n.Attrs) {
		on, _ := a.Value.(bool)
		i, _ := a.Value.(int64)
		on = on || i != 0
		switch {
		case n.Op.Name == "Mod" && a.Name == "fmod" && !on && n.Inputs[0].Type.DType.IsFloat():
			return 28
		case strings.HasSuffix(n.Op.Name, "Pool") && a.Name == "ceil_mode" && on:
			return 22
		}
	}
	return 0
}

func (ex *exporter) need(opset int, op string) {
	if opset > ex.opset {
		ex.opset, ex.opsetFor = opset, op
	}
}

// needType raises the operator set to one whose ops take dt. Element types that opset 18
// takes everywhere need nothing.
func (ex *exporter) needType(dt tensor.DType) {
	since := 0
	switch dt {
	case tensor.F8E4M3FN, tensor.F8E4M3FNUZ, tensor.F8E5M2, tensor.F8E5M2FNUZ:
		since = 21 // Cast takes them since 19, the rest of what moves data since 21
	case tensor.I4, tensor.U4:
		since = 21
	case tensor.F4E2M1:
		since = 23
	case tensor.F8E8M0:
		since = 24
	case tensor.I2, tensor.U2:
		since = 25
	case tensor.BF16, tensor.U16, tensor.I16, tensor.U32, tensor.U64, tensor.Bool:
		since = 0
	}
	ex.need(since, dt.String())
}

// irVersion is the oldest IR version that knows the operator set and what else is used.
func (ex *exporter) irVersion() int64 {
	v := int64(8)
	for _, r := range []struct {
		opset int
		ir    int64
	}{{19, 9}, {21, 10}, {23, 11}, {24, 12}, {25, 13}, {27, 14}} {
		if ex.opset >= r.opset {
			v = r.ir
		}
	}
	if len(ex.order) > 0 && v < 10 {
		v = 10 // overloads of functions
	}
	return v
}

func (ex *exporter) opsets(domains map[string]bool) []*onnxpb.OperatorSetIdProto {
	out := []*onnxpb.OperatorSetIdProto{{Domain: ptr(""), Version: ptr(int64(ex.opset))}}
	for _, d := range []struct {
		name    string
		version int64
	}{{ir.DomainML, 5}, {ir.DomainMicrosoft, 1}, {ir.DomainMoec, 1}} {
		if domains[d.name] {
			out = append(out, &onnxpb.OperatorSetIdProto{Domain: &d.name, Version: &d.version})
		}
	}
	return out
}
