package irtext_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// mode is a named kind, as attribute structs may have.
type mode string

type everyAttr struct {
	Axis    int64          `attr:"axis"`
	Count   int            `attr:"count"`
	Eps     float32        `attr:"eps"`
	Mode    mode           `attr:"mode"`
	Flag    bool           `attr:"flag"`
	Perm    []int64        `attr:"perm"`
	Scales  []float32      `attr:"scales"`
	Names   []string       `attr:"names"`
	To      tensor.DType   `attr:"to"`
	Value   *tensor.Tensor `attr:"value"`
	MaybeI  *int64         `attr:"maybe i"`
	MaybeF  *float32       `attr:"maybe_f"`
	private int
}

type opSet map[string]*ir.Op

func (s opSet) Lookup(domain, name string) *ir.Op {
	op := s[name]
	if op == nil || op.Domain != domain {
		return nil
	}
	return op
}

func testOps() opSet {
	return opSet{
		"Plain": {Name: "Plain", MaxIn: -1, MaxOut: -1},
		"Attrs": {Domain: "moec", Name: "Attrs", MaxIn: -1, MaxOut: -1, Attrs: func() any {
			return &everyAttr{Axis: -1, Eps: 1e-5, Mode: "a \"b\"", To: tensor.F32, Perm: []int64{0, 1}, private: 7}
		}},
	}
}

var anyName = rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z_/.:%$\-0-9]{1,6}`),
	rapid.SampledFrom([]string{"_", "as", "graph", "return", "//", "%3", "n1", "n", "%", "x:", "-1", "?", "\xff", "#", "f32"}))

func genTensor(t *rapid.T) *tensor.Tensor {
	shape := rapid.SliceOfN(rapid.IntRange(0, 5), 0, 3).Draw(t, "shape")
	dt := tensor.DType(rapid.IntRange(int(tensor.F32), int(tensor.U2)).Draw(t, "dtype"))
	if dt == tensor.String {
		n := tensor.NumElems(shape)
		return tensor.OfStrings(rapid.SliceOfN(rapid.String(), n, n).Draw(t, "strings"), shape...)
	}
	x := tensor.New(dt, shape...)
	n := len(x.Bytes())
	copy(x.Bytes(), rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "bytes"))
	for i := range x.Bytes() {
		switch dt { // only some bytes are values of these types
		case tensor.Bool:
			x.Bytes()[i] &= 1
		case tensor.U4, tensor.U2, tensor.F4E2M1:
			x.Bytes()[i] &= 1<<dt.Bits() - 1
		case tensor.I4:
			x.Bytes()[i] = byte(int8(x.Bytes()[i]<<4) >> 4)
		case tensor.I2:
			x.Bytes()[i] = byte(int8(x.Bytes()[i]<<6) >> 6)
		}
	}
	return x
}

func genType(t *rapid.T) ir.Type {
	dt := tensor.DType(rapid.IntRange(0, int(tensor.U2)).Draw(t, "dtype"))
	if rapid.IntRange(0, 3).Draw(t, "unranked") == 0 {
		return ir.Unranked(dt)
	}
	dims := make([]ir.Dim, rapid.IntRange(0, 4).Draw(t, "rank"))
	for i := range dims {
		switch rapid.IntRange(0, 3).Draw(t, "dim") {
		case 0:
			dims[i] = ir.Known(rapid.Int64Range(0, math.MaxInt64).Draw(t, "size"))
		case 1:
			dims[i] = ir.Unknown()
		default:
			name := rapid.OneOf(anyName, rapid.SampledFrom([]string{"b*12", "(a+3)", "12", "..."})).Draw(t, "sym")
			if name != "" {
				dims[i] = ir.Sym(name)
			} else {
				dims[i] = ir.Unknown()
			}
		}
	}
	return ir.MakeType(dt, dims...)
}

func genAttrs(t *rapid.T) any {
	a := &everyAttr{
		Axis: rapid.Int64().Draw(t, "axis"), Count: rapid.Int().Draw(t, "count"),
		Eps: rapid.Float32().Draw(t, "eps"), Mode: mode(rapid.String().Draw(t, "mode")), Flag: rapid.Bool().Draw(t, "flag"),
		Perm: []int64{0, 1}, To: tensor.DType(rapid.IntRange(1, int(tensor.U2)).Draw(t, "to")),
	}
	if rapid.Bool().Draw(t, "lists") {
		a.Perm = rapid.SliceOfN(rapid.Int64(), 0, 3).Draw(t, "perm")
		a.Scales = append([]float32{}, rapid.SliceOfN(rapid.Float32(), 0, 3).Draw(t, "scales")...)
		a.Names = append([]string{}, rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "names")...)
		a.Value = genTensor(t)
	}
	if rapid.Bool().Draw(t, "pointers") {
		i, f := rapid.Int64().Draw(t, "i"), rapid.Float32().Draw(t, "f")
		a.MaybeI, a.MaybeF = &i, &f
	}
	return a
}

func genGraph(t *rapid.T, depth int) *ir.Graph {
	set := testOps()
	g := ir.NewGraph(rapid.String().Draw(t, "graph"), set)
	taken := map[string]bool{}
	name := func() string {
		s := anyName.Filter(func(s string) bool { return !taken[s] }).Draw(t, "name")
		taken[s] = true
		return s
	}
	value := func(v *ir.Value) *ir.Value {
		v.Name = name()
		v.Type = genType(t)
		return v
	}
	var live []*ir.Value
	for range rapid.IntRange(0, 3).Draw(t, "inputs") {
		live = append(live, value(g.AddInput("", ir.Type{})))
	}
	operand := func(nilOK bool) *ir.Value {
		k := rapid.IntRange(0, 9).Draw(t, "operand")
		switch {
		case k == 0 && nilOK:
			return nil
		case k < 4 || len(live) == 0:
			v := g.NewConst("", genTensor(t))
			v.Name = name()
			live = append(live, v)
			return v
		}
		return rapid.SampledFrom(live).Draw(t, "value")
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "nodes") {
		var ins []*ir.Value
		for range rapid.IntRange(0, 3).Draw(t, "ins") {
			ins = append(ins, operand(true))
		}
		op, attrs := set["Plain"], any(nil)
		if rapid.Bool().Draw(t, "attributes") {
			op = set["Attrs"]
			attrs = genAttrs(t)
		}
		n := g.Add(op, attrs, ins)
		n.Captures = rapid.IntRange(0, len(ins)).Draw(t, "captures")
		n.Origin = rapid.SliceOfN(anyName, 0, 3).Draw(t, "origin")
		switch rapid.IntRange(0, 2).Draw(t, "named") {
		case 1:
			n.Name = fmt.Sprintf("own name %d", i)
		case 2:
			if len(n.Origin) > 0 && !taken["node "+n.Origin[0]] && !strings.HasPrefix(n.Origin[0], "n") {
				n.Name = n.Origin[0]
				taken["node "+n.Origin[0]] = true
			}
		}
		for j := range rapid.IntRange(0, 3).Draw(t, "outs") {
			if rapid.IntRange(0, 4).Draw(t, "absent") == 0 {
				n.Outputs = append(n.Outputs, nil)
				continue
			}
			v := value(g.NewValue("", ir.Type{}))
			v.Def, v.Index = n, j
			n.Outputs = append(n.Outputs, v)
			live = append(live, v)
		}
		if depth < 2 && rapid.IntRange(0, 3).Draw(t, "sub") == 0 {
			for range rapid.IntRange(1, 2).Draw(t, "subs") {
				n.Subgraphs = append(n.Subgraphs, genGraph(t, depth+1))
			}
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "outputs") {
		g.Outputs = append(g.Outputs, operand(false))
	}
	return g
}

// sameGraph compares what the text promises to keep.
func sameGraph(a, b *ir.Graph) error {
	if a.Name != b.Name || len(a.Inputs) != len(b.Inputs) || len(a.Nodes) != len(b.Nodes) || len(a.Outputs) != len(b.Outputs) {
		return fmt.Errorf("graphs %q and %q differ in size or name", a.Name, b.Name)
	}
	same := func(what string, x, y []*ir.Value) error {
		if len(x) != len(y) {
			return fmt.Errorf("%s: %d and %d", what, len(x), len(y))
		}
		for i := range x {
			v, w := x[i], y[i]
			switch {
			case (v == nil) != (w == nil):
				return fmt.Errorf("%s %d: one is absent", what, i)
			case v == nil:
			case v.Name != w.Name || v.IsConst() != w.IsConst() || v.Index != w.Index || len(v.Users()) != len(w.Users()):
				return fmt.Errorf("%s %d: %q and %q", what, i, v.Name, w.Name)
			case v.IsConst() && !tensor.Equal(v.Const, w.Const):
				return fmt.Errorf("%s %q: contents differ", what, v.Name)
			case !v.IsConst() && !v.Type.Equal(w.Type):
				return fmt.Errorf("%s %q: %s and %s", what, v.Name, v.Type, w.Type)
			}
		}
		return nil
	}
	if err := same("input", a.Inputs, b.Inputs); err != nil {
		return err
	}
	for i, n := range a.Nodes {
		m := b.Nodes[i]
		if n.Op.String() != m.Op.String() || n.Captures != m.Captures || fmt.Sprintf("%q", n.Origin) != fmt.Sprintf("%q", m.Origin) {
			return fmt.Errorf("node %q differs from %q", n.Name, m.Name)
		}
		auto := func(n *ir.Node) bool { return n.Name == fmt.Sprintf("n%d", n.ID) }
		if auto(n) != auto(m) || !auto(n) && n.Name != m.Name {
			return fmt.Errorf("node names %q and %q", n.Name, m.Name)
		}
		if !ir.EqualAttrs(n.Attrs, m.Attrs) && !strings.Contains(fmt.Sprint(ir.AttrsOf(n.Attrs)), "NaN") {
			return fmt.Errorf("attributes of %q: %v and %v", n.Name, ir.AttrsOf(n.Attrs), ir.AttrsOf(m.Attrs))
		}
		if err := same("operand", n.Inputs, m.Inputs); err != nil {
			return err
		}
		if err := same("output", n.Outputs, m.Outputs); err != nil {
			return err
		}
		if len(n.Subgraphs) != len(m.Subgraphs) {
			return fmt.Errorf("subgraphs of %q", n.Name)
		}
		for j := range n.Subgraphs {
			if err := sameGraph(n.Subgraphs[j], m.Subgraphs[j]); err != nil {
				return err
			}
		}
	}
	return same("graph output", a.Outputs, b.Outputs)
}

func TestPrintThenParseIsTheIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := genGraph(t, 0)
		var p irtext.Printer
		var text strings.Builder
		if err := p.Print(&text, g); err != nil {
			t.Fatal(err)
		}
		back, err := irtext.Parse(text.String(), testOps(), p.Tensors())
		if err != nil {
			t.Fatalf("%v in\n%s", err, text.String())
		}
		if err := sameGraph(g, back); err != nil {
			t.Fatalf("%v in\n%s", err, text.String())
		}
		if again := irtext.String(back); again != text.String() {
			t.Fatalf("printed again:\n%s\nbefore:\n%s", again, text.String())
		}
	})
}

func TestReadsWhatPeopleWrite(t *testing.T) {
	g, err := irtext.Parse(`
		// types may be left out, order of blanks does not matter
		graph (x: f32[b,2], "odd name") { y = Plain(x,
		  w=f32[2]{1,2e-1}, _, r=f16[100]rand(3)) z: f32[...],_ = moec::Attrs(y,w,"odd name"|x) {axis=3, value=i8[1]{-4}} @a, "b c"
		  return z, y }`, testOps(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `graph(x: f32[b,2], "odd name") {
  y = Plain(x, w=f32[2]{1, 0.2}, _, r=f16[100]#` + irtext.Hash(g.Nodes[0].Inputs[3].Const) + `)
  z: f32[...], _ = moec::Attrs(y, w, "odd name" | x) {axis=3, value=i8[1]{-4}} @a, "b c"
  return z, y
}
`
	if got := irtext.String(g); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if v := g.NewValue("", ir.Type{}); v.ID < 5 {
		t.Errorf("ids are not dense: %d", v.ID)
	}
}

// A value made after parsing must not get a name that the text used.
func TestMadeUpNamesStayUnique(t *testing.T) {
	g, err := irtext.Parse(`graph("%0", "%7") { return "%0" }`, testOps(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if v := g.NewValue("", ir.Type{}); v.Name == "%7" || v.Name == "%0" {
			t.Fatalf("a second value is named %s", v.Name)
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"graph(x) {\n  y = Nope(x)\n  return y }", `2:11: no op "Nope"`},
		{"graph(x) {\n  y = Plain(z)\n  return y }", `2:14: no value "z" is known here`},
		{"graph(x, x) { return x }", `a second value is named "x"`},
		{"graph(x) { return x } more", `expected the end, found "more"`},
		{"graph(x: f99[2]) { return x }", `"f99" is no element type`},
		{"graph(x) { y = Plain(c=f32[3]{1}) return y }", "1 elements for shape [3]"},
		{"graph(x) { y = Plain(c=f32[3]#00) return y }", "no tensor was given for #00"},
		{"graph(x) { y = moec::Attrs(x) {axs=1} return y }", `no attribute "axs"`},
		{"graph(x) { y = moec::Attrs(x) {perm=[1, 2.0]} return y }", "one kind"},
		{"graph(x) { y = Plain(c=i8[1]{128}) return y }", `"128" is no i8`},
		{"graph(x) { return _ }", "cannot be absent"},
		{"graph(x) {", "expected a name, found the end"},
	} {
		_, err := irtext.Parse(c.text, testOps(), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngives %v, want %s", c.text, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`graph g(x: f32[b,2], "odd") { y = Plain(x, w=f32[2]{1, 2}, _) {} @a z: f32[...], _ = moec::Attrs(y | x) {axis=3, scales=[], value=i8[1]{-4}} @=n, "b" [ graph(q) { return q } ] return z }`)
	f.Add("graph(\"%9\") { () = Plain(c=c128[1]{0x00000000000000000000000000000001}) as b return }")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := irtext.Parse(text, testOps(), nil)
		if err != nil {
			return
		}
		var p irtext.Printer
		var out strings.Builder
		if err := p.Print(&out, g); err != nil {
			t.Fatal(err)
		}
		back, err := irtext.Parse(out.String(), testOps(), p.Tensors())
		if err != nil {
			t.Fatalf("%v in\n%s", err, out.String())
		}
		if again := irtext.String(back); again != out.String() {
			t.Fatalf("printed again:\n%s\nbefore:\n%s", again, out.String())
		}
	})
}
