package onnx

import (
	"context"
	"fmt"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/internal/tensorpb"
	"github.com/seed-c851cfd2/moec/ir/onnx/internal/schema"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// IR versions that are read.
const (
	minIR = 3
	maxIR = 14
)

// importer turns one ModelProto into a graph.
type importer struct {
	ctx         context.Context
	opt         Options
	model       *onnxpb.ModelProto
	opsets      map[string]int
	funcs       map[funcKey]*function
	tensors     tensorpb.Decoder
	syms        map[string]string // dim names of the file and what they are called here
	symNames    names
	nodes       int // nodes made so far
	overlaid    int // weights that replaced an initializer
	unsupported map[string]*missingOp
	missing     []*missingOp // the same, in the order found
	types       *ir.Inference
	upgrades    map[string][]rule
}

func newImporter(ctx context.Context, data []byte, m *onnxpb.ModelProto, o Options) *importer {
	x := &externalFiles{fsys: o.fsys, dir: o.dir, noMap: o.NoMap}
	return &importer{
		ctx: ctx, opt: o, model: m,
		tensors: tensorpb.Decoder{File: data, External: x.data, MaxElems: o.Limits.Elems},
		syms:    map[string]string{}, symNames: newNames(),
		unsupported: map[string]*missingOp{}, types: ir.NewInference(), upgrades: upgradeTable(),
	}
}

func (im *importer) run() (*ir.Graph, error) {
	m := im.model
	if v := m.GetIrVersion(); v < minIR || v > maxIR {
		if v == 0 && m.Graph == nil {
			return nil, fmt.Errorf("%w: no ir_version, graph or opset_import: this is not an ONNX model", ir.ErrModel)
		}
		return nil, fmt.Errorf("%w: ir_version %d is not supported (%d to %d are)", ir.ErrModel, v, minIR, maxIR)
	}
	if m.Graph == nil {
		return nil, fmt.Errorf("%w: the model has no graph", ir.ErrModel)
	}
	var err error
	if im.opsets, err = opsetsOf(m.OpsetImport); err != nil {
		return nil, err
	}
	if len(im.opsets) == 0 {
		return nil, fmt.Errorf("%w: no opset_import", ir.ErrModel)
	}
	if err := im.readFunctions(); err != nil {
		return nil, err
	}
	if err := im.countNodes(); err != nil {
		return nil, err
	}
	g := ir.NewGraph(m.Graph.GetName(), im.opt.Ops)
	s := &scope{im: im, g: g, values: map[string]*ir.Value{}, names: newNames(), opsets: im.opsets}
	err = s.mainGraph(m.Graph)
	if err == nil {
		err = im.checkOverlay()
	}
	if len(im.missing) > 0 {
		var all []error
		for _, u := range im.missing {
			all = append(all, u.error())
		}
		if err != nil {
			all = append(all, err)
		}
		err = joined(all)
	}
	if err != nil {
		return nil, err
	}
	return g, im.settle(g)
}

// opsetsOf reads opset imports, "ai.onnx" being the same domain as "".
func opsetsOf(list []*onnxpb.OperatorSetIdProto) (map[string]int, error) {
	out := map[string]int{}
	for _, o := range list {
		d, v := domainOf(o.GetDomain()), o.GetVersion()
		if d == ir.DomainONNX && (v < schema.MinOpset || v > schema.MaxOpset) {
			return nil, fmt.Errorf("%w: opset %d of ai.onnx is not supported (%d to %d are)", ir.ErrModel, v, schema.MinOpset, schema.MaxOpset)
		}
		if v < 0 || v > 1<<31-1 {
			return nil, fmt.Errorf("%w: opset %d of domain %s is not possible", ir.ErrModel, v, clip(d))
		}
		if old, dup := out[d]; dup && old != int(v) {
			return nil, fmt.Errorf("%w: opset_import names domain %s twice, with versions %d and %d", ir.ErrModel, clip(d), old, v)
		}
		out[d] = int(v)
	}
	return out, nil
}

func domainOf(d string) string {
	if d == "ai.onnx" {
		return ir.DomainONNX
	}
	return d
}

// settle infers all types and checks them against what the file says of its outputs.
func (im *importer) settle(g *ir.Graph) error {
	if err := ir.Infer(g); err != nil {
		return err
	}
	if err := im.checkSizes(g); err != nil {
		return err
	}
	for i, vi := range im.model.Graph.Output {
		if vi.Type == nil {
			continue
		}
		v := g.Outputs[i]
		want, err := im.typeOf(vi.Type, true)
		if err != nil {
			return fmt.Errorf("graph output %s: %w", clip(vi.GetName()), err)
		}
		if bad := contradiction(v.Type, want); bad != nil {
			err := fmt.Errorf("%w: output %s is declared as %s, but is %s", bad, clip(v.Name), want, v.Type)
			if v.Def != nil {
				return ir.NodeError(v.Def, err)
			}
			return err
		}
		if !v.Type.Ranked && want.Ranked && v.Def != nil {
			// The rank is worth believing: what writes models demands it of outputs.
			v.Type.Ranked, v.Type.Shape = true, make([]ir.Dim, len(want.Shape))
			for j := range v.Type.Shape {
				v.Type.Shape[j] = ir.Unknown()
			}
		}
	}
	return nil
}

// checkSizes refuses values that are known to be larger than the limit.
func (im *importer) checkSizes(g *ir.Graph) error {
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v == nil {
				continue
			}
			if err := im.checkType(v.Type); err != nil {
				return ir.NodeError(n, fmt.Errorf("output %s: %w", clip(v.Name), err))
			}
		}
		for _, sub := range n.Subgraphs {
			if err := im.checkSizes(sub); err != nil {
				return err
			}
		}
	}
	return nil
}

func (im *importer) checkType(t ir.Type) error {
	if len(t.Shape) > tensorpb.MaxRank {
		return fmt.Errorf("%w: shape has rank %d, the highest is %d", ir.ErrShape, len(t.Shape), tensorpb.MaxRank)
	}
	n := 1
	for _, d := range t.Shape {
		if d.IsKnown() && d.Size == 0 {
			return nil
		}
	}
	for _, d := range t.Shape {
		if !d.IsKnown() {
			continue // at least 1 in any run that has elements at all
		}
		if d.Size > int64(im.opt.Limits.Elems/n) {
			return fmt.Errorf("%w: shape %s is too large, more than %d elements (raise it with --max-elems)", ir.ErrLimit, t, im.opt.Limits.Elems)
		}
		n *= int(d.Size)
	}
	return nil
}

// contradiction is the kind of error that two types of one value make, nil if they fit.
func contradiction(a, b ir.Type) error {
	if a.DType != tensor.Invalid && b.DType != tensor.Invalid && a.DType != b.DType {
		return ir.ErrType
	}
	if !a.Ranked || !b.Ranked {
		return nil
	}
	if len(a.Shape) != len(b.Shape) {
		return ir.ErrShape
	}
	for i := range a.Shape {
		if a.Shape[i].IsKnown() && b.Shape[i].IsKnown() && a.Shape[i].Size != b.Shape[i].Size {
			return ir.ErrShape
		}
	}
	return nil
}

// typeOf reads a declared type. Only tensors have one here; bare allows the element
// type to be missing.
func (im *importer) typeOf(t *onnxpb.TypeProto, bare bool) (ir.Type, error) {
	tt := t.GetTensorType()
	if tt == nil {
		switch t.GetValue().(type) {
		case nil:
			if bare {
				return ir.Type{}, nil
			}
			return ir.Type{}, fmt.Errorf("%w: it has no type", ir.ErrModel)
		case *onnxpb.TypeProto_SequenceType:
			return ir.Type{}, fmt.Errorf("%w: sequences of tensors", ir.ErrUnsupportedType)
		case *onnxpb.TypeProto_OptionalType:
			return ir.Type{}, fmt.Errorf("%w: optional values", ir.ErrUnsupportedType)
		case *onnxpb.TypeProto_MapType:
			return ir.Type{}, fmt.Errorf("%w: maps", ir.ErrUnsupportedType)
		case *onnxpb.TypeProto_SparseTensorType:
			return ir.Type{}, fmt.Errorf("%w: sparse tensors", ir.ErrUnsupportedType)
		}
		return ir.Type{}, fmt.Errorf("%w: opaque values", ir.ErrUnsupportedType)
	}
	dt, ok := tensor.FromONNX(int(tt.GetElemType()))
	if !ok && (!bare || tt.GetElemType() != 0) {
		return ir.Type{}, fmt.Errorf("%w: element type %d is unknown", ir.ErrModel, tt.GetElemType())
	}
	if tt.Shape == nil {
		return ir.Unranked(dt), nil
	}
	if len(tt.Shape.Dim) > tensorpb.MaxRank {
		return ir.Type{}, fmt.Errorf("%w: shape has rank %d, the highest is %d", ir.ErrModel, len(tt.Shape.Dim), tensorpb.MaxRank)
	}
	dims := make([]ir.Dim, len(tt.Shape.Dim))
	for i, d := range tt.Shape.Dim {
		switch v := d.Value.(type) {
		case *onnxpb.TensorShapeProto_Dimension_DimValue:
			if v.DimValue < 0 {
				return ir.Type{}, fmt.Errorf("%w: shape has a negative dim %d", ir.ErrModel, v.DimValue)
			}
			dims[i] = ir.Known(v.DimValue)
		case *onnxpb.TensorShapeProto_Dimension_DimParam:
			dims[i] = im.sym(v.DimParam)
		default:
			dims[i] = ir.Unknown()
		}
	}
	ty := ir.MakeType(dt, dims...)
	return ty, im.checkType(ty)
}

// sym is the dim of a name. Dim arithmetic gives + * ( ) and leading digits a meaning:
// names that are such arithmetic are read as it, others with more than plain characters
// are respelled, each to a name of its own.
func (im *importer) sym(name string) ir.Dim {
	if name == "" || name == "?" {
		return ir.Unknown()
	}
	if s, ok := im.syms[name]; ok {
		return ir.Sym(s)
	}
	if d, ok := im.composed(name); ok {
		return d
	}
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("_./:", r):
			return r
		}
		return '_'
	}, clipped(name, 64))
	if c := plain[0]; c >= '0' && c <= '9' || c == '.' {
		plain = "_" + plain
	}
	s := im.symNames.take(plain)
	im.syms[name] = s
	return ir.Sym(s)
}

func clipped(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// errorList prints on one line: what reports errors shows files' texts as one message.
type errorList []error

// joined makes one error of many; beyond eight the rest is counted.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errorList(errs)
}

func (l errorList) Error() string {
	var b strings.Builder
	for i, e := range l {
		if i == 8 {
			fmt.Fprintf(&b, "; and %d more", len(l)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(e.Error())
	}
	return b.String()
}

// Unwrap gives the parts to errors.Is and errors.As.
func (l errorList) Unwrap() []error { return l }
