package tests

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// lmGraph builds a pre-norm Transformer-XL from standard ops, with moec's feedforward
// layers. Values are [batch, time, ...].
type lmGraph struct {
	*goldenGraph
	t *testing.T
	c *golden
}

// goldenLM runs segment 1 without memory, then segment 2 with the inputs that each layer
// had in segment 1 as its memory.
func goldenLM(t *testing.T, c *golden) *goldenGraph {
	m := &lmGraph{newGolden(c), t, c}
	tokens := m.input("tokens", c.T["tokens"])
	logits1, memory, _ := m.segment(m.segmentTokens(tokens, 0), nil)
	logits2, _, reg := m.segment(m.segmentTokens(tokens, 1), memory)
	m.expect(logits1, check{what: "logits1", want: c.floats(t, "logits1")})
	m.expect(logits2, check{what: "logits2", want: c.floats(t, "logits2")})
	targets := tensor.Data[int64](c.T["targets"])
	m.expect(logits2, check{what: "ce", want: c.floats(t, "ce"), of: func(out *tensor.Tensor) []float64 {
		v, err := out.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		return []float64{crossEntropy(v, targets)}
	}})
	if reg == nil {
		if want := c.floats(t, "reg")[0]; want != 0 {
			t.Fatalf("a dense model has regulariser %g", want)
		}
		return m.goldenGraph
	}
	m.expect(reg, check{what: "reg", want: c.floats(t, "reg"), of: func(out *tensor.Tensor) []float64 {
		v, err := out.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		return []float64{v[0] * c.Hyper.RegCoef}
	}})
	return m.goldenGraph
}

// crossEntropy is the mean of -log softmax(logits)[target].
func crossEntropy(logits []float64, targets []int64) float64 {
	vocab, sum := len(logits)/len(targets), 0.0
	for i, target := range targets {
		row, z := logits[i*vocab:(i+1)*vocab], 0.0
		for _, l := range row {
			z += math.Exp(l - row[target])
		}
		sum += math.Log(z)
	}
	return sum / float64(len(targets))
}

// op adds a standard op; attrs are name, value pairs.
func (m *lmGraph) op(name string, attrs []any, ins ...*ir.Value) *ir.Value {
	m.t.Helper()
	op := m.g.Ops.Lookup("", name)
	if op == nil {
		m.t.Fatalf("no op %q", name)
	}
	var a any
	if op.Attrs != nil {
		a = op.Attrs()
	}
	for i := 0; i < len(attrs); i += 2 {
		if err := ir.SetAttr(a, attrs[i].(string), attrs[i+1]); err != nil {
			m.t.Fatal(err)
		}
	}
	return m.g.Add(op, a, ins, "").Outputs[0]
}

// param is a parameter of the case.
func (m *lmGraph) param(name string) *ir.Value {
	m.t.Helper()
	x := m.c.T["p."+name]
	if x == nil {
		m.t.Fatalf("the case has no parameter %q", name)
	}
	return m.constant("", x)
}

func (m *lmGraph) ints(v ...int64) *ir.Value { return m.constant("", tensor.Of(v, len(v))) }

// reals is a constant of the model's type.
func (m *lmGraph) reals(v []float64, shape ...int) *ir.Value {
	if m.c.DType == "float64" {
		return m.constant("", tensor.Of(v, shape...))
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return m.constant("", tensor.Of(out, shape...))
}

// linear is x w' with w [out, in].
func (m *lmGraph) linear(x *ir.Value, name string) *ir.Value {
	w := m.c.T["p."+name]
	if w == nil {
		m.t.Fatalf("the case has no parameter %q", name)
	}
	return m.op("MatMul", nil, x, m.constant("", transposed(w)))
}

func (m *lmGraph) transpose(x *ir.Value, perm ...int64) *ir.Value {
	return m.op("Transpose", []any{"perm", perm}, x)
}

func (m *lmGraph) reshape(x *ir.Value, shape ...int64) *ir.Value {
	return m.op("Reshape", nil, x, m.ints(shape...))
}

// norm is LayerNormalization; in f64 written out, for the op's epsilon is an f32 and
// 1e-5 is none.
func (m *lmGraph) norm(x *ir.Value, name string) *ir.Value {
	if m.c.DType == "float64" {
		mean := func(v *ir.Value) *ir.Value { return m.op("ReduceMean", nil, v, m.ints(-1)) }
		d := m.op("Sub", nil, x, mean(x))
		root := m.op("Sqrt", nil, m.op("Add", nil, mean(m.op("Mul", nil, d, d)), m.reals([]float64{1e-5})))
		return m.op("Add", nil, m.op("Mul", nil, m.op("Div", nil, d, root), m.param(name+".weight")), m.param(name+".bias"))
	}
	return m.op("LayerNormalization", []any{"axis", int64(-1), "epsilon", float32(1e-5)}, x, m.param(name+".weight"), m.param(name+".bias"))
}

// segmentTokens are the tokens [B,T] of a segment, given [2,T,B].
func (m *lmGraph) segmentTokens(tokens *ir.Value, i int64) *ir.Value {
	seg := m.op("Gather", []any{"axis", int64(0)}, tokens, m.constant("", tensor.Scalar(i)))
	return m.transpose(seg, 1, 0)
}

// segment returns logits [T,B,V], the input of each layer, and the sum of regularisers.
func (m *lmGraph) segment(tokens *ir.Value, memory []*ir.Value) (logits *ir.Value, inputs []*ir.Value, reg *ir.Value) {
	net := m.op("Gather", []any{"axis", int64(0)}, m.param("embedding.weight"), tokens)
	for l := range m.c.Hyper.Layers {
		p := fmt.Sprintf("layers.%d.", l)
		inputs = append(inputs, net)
		attended := net
		if memory != nil {
			attended = m.op("Concat", []any{"axis", int64(1)}, memory[l], net)
		}
		net = m.op("Add", nil, net, m.attention(p, net, attended, memory != nil))
		y, r := m.feedforward(p, m.norm(net, p+"norm2"))
		net = m.op("Add", nil, net, y)
		switch {
		case r == nil:
		case reg == nil:
			reg = r
		default:
			reg = m.op("Add", nil, reg, r)
		}
	}
	out := m.op("Add", nil, m.linear(m.norm(net, "out_norm"), "output.weight"), m.param("output.bias"))
	return m.transpose(out, 1, 0, 2), inputs, reg
}

// attention with relative positions: score (q+c)k_j + (q+d)r_{j-i}, times a learned scale.
func (m *lmGraph) attention(p string, net, attended *ir.Value, withMemory bool) *ir.Value {
	h := &m.c.Hyper
	heads, size, d := int64(h.AttentionHeads), int64(h.HeadSize), h.DModel
	segment := m.c.T["tokens"].Shape()[1]
	keys := segment
	if withMemory {
		keys *= 2
	}
	kv := m.linear(m.norm(attended, p+"norm1"), p+"self_attn.data_to_kv.weight")
	kv = m.reshape(kv, 0, 0, heads, 2, size) // heads, then key and value
	pick := func(i int64) *ir.Value {
		return m.op("Gather", []any{"axis", int64(3)}, kv, m.constant("", tensor.Scalar(i)))
	}
	k, v := m.transpose(pick(0), 0, 2, 3, 1), m.transpose(pick(1), 0, 2, 1, 3)
	q := m.reshape(m.linear(m.norm(net, p+"norm1"), p+"self_attn.data_to_q.weight"), 0, 0, heads, size)

	content := m.op("Add", nil, q, m.param(p+"self_attn.global_content_bias"))
	scores := m.op("MatMul", nil, m.transpose(content, 0, 2, 1, 3), k) // [B,H,T,S]

	table := m.linear(m.positions(segment, keys, d), p+"self_attn.pos_to_pq.weight")
	index, mask := m.relative(segment, keys)
	r := m.reshape(m.op("Gather", []any{"axis", int64(0)}, table, index), int64(segment), int64(keys), heads, size)
	place := m.op("Add", nil, q, m.param(p+"self_attn.global_pos_bias"))
	// For each query position and head a product [B,size] x [size,S].
	byPlace := m.op("MatMul", nil, m.transpose(place, 1, 2, 0, 3), m.transpose(r, 0, 2, 3, 1)) // [T,H,B,S]
	scores = m.op("Add", nil, scores, m.transpose(byPlace, 2, 1, 0, 3))
	scores = m.op("Mul", nil, scores, m.param(p+"self_attn.scale"))
	weights := m.op("Softmax", []any{"axis", int64(-1)}, m.op("Add", nil, scores, mask))
	out := m.transpose(m.op("MatMul", nil, weights, v), 0, 2, 1, 3)
	return m.linear(m.reshape(out, 0, 0, -1), p+"self_attn.multi_head_merge.weight")
}

// positions are sinusoids of key minus query position, from -(keys-1) to segment-1.
func (m *lmGraph) positions(segment, keys, d int) *ir.Value {
	rows := keys + segment - 1
	pe := make([]float64, rows*d)
	for r := range rows {
		for i := 0; i < d; i += 2 {
			angle := float64(r-keys+1) * math.Exp(-float64(i)*math.Log(10000)/float64(d))
			pe[r*d+i] = math.Sin(angle)
			if i+1 < d {
				pe[r*d+i+1] = math.Cos(angle)
			}
		}
	}
	return m.reals(pe, rows, d)
}

// relative gives for query i and key j the row of positions, and -Inf where the key lies
// in the query's future.
func (m *lmGraph) relative(segment, keys int) (index, mask *ir.Value) {
	idx, hide := make([]int64, segment*keys), make([]float64, segment*keys)
	for i := range segment {
		for j := range keys {
			rel := j - (i + keys - segment)
			idx[i*keys+j] = int64(rel + keys - 1)
			if rel > 0 {
				hide[i*keys+j] = math.Inf(-1)
			}
		}
	}
	return m.constant("", tensor.Of(idx, segment, keys)), m.reals(hide, segment, keys)
}

func (m *lmGraph) feedforward(p string, x *ir.Value) (y, reg *ir.Value) {
	if m.c.Hyper.FFN == "dense" {
		w := func(name string) *ir.Value { return m.constant("", transposed(m.c.T["p."+p+name])) }
		n := m.g.Add(m.g.Op("moec::MLP"), &ops.MLPAttrs{Activation: ops.ActReLU},
			[]*ir.Value{x, w("linear1.weight"), w("linear2.weight"), m.param(p + "linear1.bias"), m.param(p + "linear2.bias")}, "")
		return n.Outputs[0], nil
	}
	a := m.g.Op("moec::MoE").Attrs().(*ops.MoEAttrs)
	a.K = m.c.Hyper.K
	outs := moeNode(m.goldenGraph, a, map[int]*ir.Value{
		ops.MoEInX: x, ops.MoEInSel: m.param(p + "pkm.expert_sel"), ops.MoEInW1: m.param(p + "pkm.keys"), ops.MoEInW2: m.param(p + "pkm.values"),
	}, ops.MoEOutY, ops.MoEOutEntropy)
	return outs[ops.MoEOutY], outs[ops.MoEOutEntropy]
}
