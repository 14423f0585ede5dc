package tests

import (
	"fmt"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// opCase is one standard op on inputs of open sizes: "n" and "m" stand for sizes that are known when it runs.
type opCase struct {
	op    string
	attrs []any
	ins   []any // dims of an input: []any of int and string; or a constant: *tensor.Tensor; or nil
	dt    map[int]tensor.DType
	outs  int
	f32   bool // has kernels in f32, and in what is lowered as f32, alone
}

// opCases are the ops that device programs spell out or have plain kernels for.
func opCases() []opCase {
	d := newDrawer(77)
	ints := func(v ...int64) *tensor.Tensor { return tensor.Of(v, len(v)) }
	reals := func(v ...float32) *tensor.Tensor { return tensor.Of(v, len(v)) }
	positive := func(n int) *tensor.Tensor {
		t := d.normal(n)
		for i, v := range tensor.Data[float32](t) {
			tensor.Data[float32](t)[i] = v*v + 0.1
		}
		return t
	}
	image, odd := []any{"n", 3, "m", 5}, []any{2, "n", 7}
	indices := map[int]tensor.DType{1: tensor.I64}
	cases := []opCase{
		{op: "BatchNormalization", ins: []any{image, d.normal(3), d.normal(3), d.normal(3), positive(3)}},
		{op: "InstanceNormalization", ins: []any{image, d.normal(3), d.normal(3)}},
		{op: "GroupNormalization", attrs: []any{"num_groups", int64(2)}, ins: []any{[]any{"n", 4, "m"}, d.normal(4), d.normal(4)}},
		{op: "LayerNormalization", attrs: []any{"axis", int64(1)}, ins: []any{[]any{"n", 3, 5}, d.normal(3, 5), d.normal(3, 5)}},
		{op: "LayerNormalization", ins: []any{odd, d.normal(7)}},
		{op: "RMSNormalization", attrs: []any{"axis", int64(-2)}, ins: []any{[]any{"n", 3, 5}, d.normal(3, 5)}},
		{op: "DepthToSpace", attrs: []any{"blocksize", int64(2)}, ins: []any{[]any{"n", 8, 3, "m"}}},
		{op: "DepthToSpace", attrs: []any{"blocksize", int64(3), "mode", "CRD"}, ins: []any{[]any{"n", 9, "m", 2}}},
		{op: "SpaceToDepth", attrs: []any{"blocksize", int64(2)}, ins: []any{[]any{"n", 3, 4, 6}}},
		{op: "Gemm", attrs: []any{"alpha", float32(0.5), "beta", float32(2), "transA", int64(1)}, ins: []any{[]any{6, "n"}, []any{6, 5}, []any{5}}},
		{op: "Gemm", attrs: []any{"transB", int64(1)}, ins: []any{[]any{"n", 6}, []any{"m", 6}}},
		{op: "Einsum", attrs: []any{"equation", "bhid,bhjd->bhij"}, ins: []any{[]any{2, "n", "m", 4}, []any{2, "n", 5, 4}}},
		{op: "Einsum", attrs: []any{"equation", "abc,cda->db"}, ins: []any{[]any{2, "n", 3}, []any{3, "m", 2}}},
		{op: "Einsum", attrs: []any{"equation", "ij,k->kij"}, ins: []any{[]any{2, "n"}, []any{"m"}}},
		{op: "Einsum", attrs: []any{"equation", "i,i"}, ins: []any{[]any{"n"}, []any{"n"}}},
		{op: "Einsum", attrs: []any{"equation", "...ij->...j"}, ins: []any{[]any{2, "n", 3, "m"}}},
		{op: "Einsum", attrs: []any{"equation", "...d,de->...e"}, ins: []any{[]any{2, "n", 4}, []any{4, 6}}},
		{op: "Mean", ins: []any{odd, []any{7}, odd}},
		{op: "Pad", ins: []any{odd, ints(0, 1, 2, 1, 0, 3), tensor.Scalar(float32(2.5))}},
		{op: "Pad", attrs: []any{"mode", "edge"}, ins: []any{odd, ints(2, 1), nil, ints(-1)}},
		{op: "Pad", attrs: []any{"mode", "reflect"}, ins: []any{odd, ints(3, 5), nil, ints(2)}},
		{op: "Pad", ins: []any{odd, ints(0, 0, -2, 0, 0, -1)}},
		{op: "Tile", ins: []any{odd, ints(2, 3, 1)}},
		{op: "Trilu", ins: []any{[]any{2, "n", "m"}}},
		{op: "Trilu", attrs: []any{"upper", int64(0)}, ins: []any{[]any{2, "n", "m"}, tensor.Scalar(int64(-1))}},
		{op: "OneHot", attrs: []any{"axis", int64(1)}, ins: []any{[]any{2, "n"}, tensor.Scalar(int64(5)), reals(0.5, 2)}, dt: map[int]tensor.DType{0: tensor.I64}},
		{op: "ConvTranspose", attrs: []any{"strides", []int64{2, 2}}, ins: []any{image, d.normal(3, 2, 2, 2), d.normal(2)}},
		{op: "ConvTranspose", attrs: []any{"strides", []int64{2, 3}, "pads", []int64{1, 0, 2, 1}, "output_padding", []int64{1, 0}, "dilations", []int64{1, 2}}, ins: []any{image, d.normal(3, 2, 3, 3)}},
		{op: "ConvTranspose", attrs: []any{"group", int64(2)}, ins: []any{[]any{"n", 4, 6}, d.normal(4, 3, 5), d.normal(6)}},
		{op: "Conv", attrs: []any{"auto_pad", "SAME_UPPER", "dilations", []int64{2, 1}}, ins: []any{image, d.normal(4, 3, 3, 2), d.normal(4)}, f32: true},
		{op: "Conv", attrs: []any{"auto_pad", "SAME_LOWER", "strides", []int64{2, 3}}, ins: []any{[]any{"n", 3, 6, 7}, d.normal(4, 3, 3, 2)}, f32: true},
		{op: "MaxPool", attrs: []any{"auto_pad", "SAME_UPPER", "kernel_shape", []int64{3, 3}, "strides", []int64{2, 2}}, ins: []any{[]any{"n", 3, 6, 9}}, f32: true},
		{op: "AveragePool", attrs: []any{"auto_pad", "SAME_LOWER", "kernel_shape", []int64{2, 2}}, ins: []any{image}, f32: true},
		{op: "Resize", ins: []any{image, nil, reals(1, 1, 2, 2)}},
		{op: "Resize", attrs: []any{"mode", "nearest", "coordinate_transformation_mode", "asymmetric", "nearest_mode", "floor"}, ins: []any{image, nil, reals(1, 1, 1.5, 0.6)}},
		{op: "Resize", attrs: []any{"mode", "linear"}, ins: []any{image, nil, reals(1, 1, 2, 2)}},
		{op: "Resize", attrs: []any{"mode", "linear", "coordinate_transformation_mode", "align_corners", "axes", []int64{2, 3}}, ins: []any{image, nil, nil, ints(7, 3)}},
		{op: "Resize", attrs: []any{"mode", "cubic", "coordinate_transformation_mode", "pytorch_half_pixel"}, ins: []any{image, nil, reals(1, 1, 1, 2.5)}},
		{op: "TopK", ins: []any{odd, ints(3)}, outs: 2},
		{op: "TopK", attrs: []any{"axis", int64(1), "largest", int64(0)}, ins: []any{[]any{2, 9, "n"}, ints(4)}, outs: 2},
		{op: "TopK", ins: []any{[]any{"n", 300}, ints(80)}, outs: 2},
		{op: "ReduceLogSumExp", ins: []any{odd, ints(1)}},
		{op: "ReduceLogSumExp", attrs: []any{"keepdims", int64(0)}, ins: []any{odd, ints(-1)}},
		{op: "GatherElements", attrs: []any{"axis", int64(2)}, ins: []any{odd, []any{2, "n", 4}}, dt: indices},
		{op: "ScatterElements", attrs: []any{"axis", int64(2), "reduction", "add"}, ins: []any{odd, []any{2, "n", 9}, []any{2, "n", 9}}, dt: indices},
		{op: "ScatterElements", attrs: []any{"axis", int64(1)}, ins: []any{[]any{2, 6, "n"}, []any{1, 3, "n"}, []any{1, 3, "n"}}, dt: indices},
		{op: "ScatterND", ins: []any{[]any{6, "n"}, []any{4, 1}, []any{4, "n"}}, dt: indices},
		{op: "ScatterND", attrs: []any{"reduction", "add"}, ins: []any{[]any{6, 7, "m"}, []any{"n", 2}, []any{"n", "m"}}, dt: indices},
		{op: "Celu", attrs: []any{"alpha", float32(0.7)}, ins: []any{odd}},
		{op: "Selu", ins: []any{odd}},
		{op: "ThresholdedRelu", attrs: []any{"alpha", float32(0.3)}, ins: []any{odd}},
		{op: "Shrink", attrs: []any{"lambd", float32(0.3), "bias", float32(0.1)}, ins: []any{odd}},
		{op: "Swish", attrs: []any{"alpha", float32(1.7)}, ins: []any{odd}},
		{op: "IsInf", attrs: []any{"detect_negative", int64(0)}, ins: []any{odd}},
		{op: "CumSum", ins: []any{odd, tensor.Scalar(int64(1))}},
		{op: "Softmax", attrs: []any{"axis", int64(1)}, ins: []any{odd}},
		{op: "ReduceSum", ins: []any{odd, ints(1)}, dt: map[int]tensor.DType{0: tensor.I64}},
		{op: "ArgMax", attrs: []any{"axis", int64(1)}, ins: []any{odd}},
	}
	return cases
}

// build makes the graph of a case in a float type.
func (c opCase) build(t *testing.T, table *ops.Table, float tensor.DType) *ir.Graph {
	t.Helper()
	g := ir.NewGraph("op", table)
	var ins []*ir.Value
	for i, in := range c.ins {
		switch in := in.(type) {
		case nil:
			ins = append(ins, nil)
		case *tensor.Tensor:
			if in.DType() == tensor.F32 && float != tensor.F32 && c.op != "Resize" {
				in = castTo(in, float)
			}
			ins = append(ins, g.NewConst(fmt.Sprintf("c%d", i), in))
		case []any:
			var dims []ir.Dim
			for _, d := range in {
				if name, ok := d.(string); ok {
					dims = append(dims, ir.Sym(name))
				} else {
					dims = append(dims, ir.Known(int64(d.(int))))
				}
			}
			dt := float
			if other, ok := c.dt[i]; ok {
				dt = other
			}
			ins = append(ins, g.AddInput(fmt.Sprintf("x%d", i), ir.MakeType(dt, dims...)))
		}
	}
	op := g.Op(c.op)
	var attrs any
	if op.Attrs != nil {
		attrs = op.Attrs()
	}
	for i := 0; i < len(c.attrs); i += 2 {
		if err := ir.SetAttr(attrs, c.attrs[i].(string), c.attrs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"y0", "y1"}[:max(1, c.outs)]
	g.Outputs = g.Add(op, attrs, ins, names...).Outputs
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestOpsOnDevice: each op runs whole on the device and gives what Eval gives, in every float type, for several sizes.
func TestOpsOnDevice(t *testing.T) {
	table := ops.NewTable()
	for i, c := range opCases() {
		for _, float := range []tensor.DType{tensor.F32, tensor.F64, tensor.F16, tensor.BF16} {
			if c.f32 && float == tensor.F64 {
				continue
			}
			t.Run(fmt.Sprintf("%s%d_%s", c.op, i, float), func(t *testing.T) {
				g := c.build(t, table, float)
				s := deviceSession(t, g, "")
				for _, size := range []map[string]int{{"n": 1, "m": 1}, {"n": 4, "m": 9}, {"n": 0, "m": 2}, {"n": 3, "m": 34}} {
					if size["n"] == 0 && (c.op == "ArgMax" || c.op == "Resize") {
						continue // nothing to choose from
					}
					var ins []*tensor.Tensor
					for j, v := range g.Inputs {
						shape := make([]int, len(v.Type.Shape))
						for k, dim := range v.Type.Shape {
							if shape[k] = int(dim.Size); !dim.IsKnown() {
								shape[k] = size[dim.Name]
							}
						}
						x := newDrawer(uint64(100*i + j)).normal(shape...)
						switch v.Type.DType {
						case tensor.F64, tensor.F16, tensor.BF16:
							x = castTo(x, v.Type.DType)
						case tensor.I64:
							n := tensor.New(tensor.I64, shape...)
							for k, f := range tensor.Data[float32](x) { // indices from -3 to 3
								tensor.Data[int64](n)[k] = int64(max(-3, min(3, 2*f)))
							}
							x = n
						}
						ins = append(ins, x)
					}
					holdOnDevice(t, fmt.Sprint(size, ": "), s, g, ins, func(dt tensor.DType) float64 { return bodyTolerance[dt] })
				}
			})
		}
	}
}
