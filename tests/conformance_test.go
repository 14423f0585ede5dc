package tests

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
)

// leastPassing is how many of the 1,884 cases must pass; onnxruntime 1.32 passes 1,566.
const leastPassing = 1450

// errPanic marks a case that panicked, which no reason excuses.
var errPanic = errors.New("panic")

// nodeCase is one folder of the suite: the files by their name in it.
type nodeCase map[string][]byte

// nodeTests is the suite as onnx ships it.
const nodeTests = "testdata/onnx-node-tests/onnx-node-tests.tgz"

// readCases unpacks a suite in memory.
func readCases(t *testing.T, file string) map[string]nodeCase {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]nodeCase{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(path.Clean(h.Name), "/")
		dir, file, ok := strings.Cut(name, "/")
		if !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if cases[dir] == nil {
			cases[dir] = nodeCase{}
		}
		cases[dir][file] = data
	}
	return cases
}

// values reads input_0.pb, input_1.pb, ... of a case.
func (c nodeCase) values(kind string) ([]*tensor.Tensor, error) {
	var out []*tensor.Tensor
	for i := 0; ; i++ {
		data, ok := c[fmt.Sprintf("test_data_set_0/%s_%d.pb", kind, i)]
		if !ok {
			return out, nil
		}
		v, err := tensorio.DecodePB(data)
		if err != nil {
			return nil, fmt.Errorf("%s %d: %w", kind, i, err)
		}
		out = append(out, v.Tensor)
	}
}

// check runs a case in every way there is and compares its outputs as onnx's own backend
// test runner does.
func (c nodeCase) check(table ir.OpSet) error {
	for _, r := range runners {
		if err := c.checkOn(r, table); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

func (c nodeCase) checkOn(r runner, table ir.OpSet) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, p, debug.Stack())
		}
	}()
	ctx := context.Background()
	g, err := onnx.Decode(ctx, c["model.onnx"], onnx.Options{Ops: table})
	if err != nil {
		return err
	}
	ins, err := c.values("input")
	if err != nil {
		return err
	}
	want, err := c.values("output")
	if err != nil {
		return err
	}
	got, err := r.run(ctx, g, ins)
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d outputs, want %d", len(got), len(want))
	}
	for i := range want {
		if err := similar(got[i], want[i]); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}

// similar is the comparison of onnx's runner: |got-want| <= 1e-7 + rtol*|want| with rtol
// 1e-3, 2^-6 for bfloat16; NaN equals NaN; strings and the narrow float types exactly.
func similar(got, want *tensor.Tensor) error {
	if got.DType() != want.DType() || !slices.Equal(got.Shape(), want.Shape()) {
		return fmt.Errorf("got %s, want %s", got, want)
	}
	dt := want.DType()
	switch {
	case dt == tensor.String, dt.IsFloat8():
		if !tensor.Equal(got, want) {
			return fmt.Errorf("the elements differ")
		}
		return nil
	case dt == tensor.C64 || dt == tensor.C128:
		return similarComplex(got, want)
	}
	rtol := 1e-3
	if dt == tensor.BF16 {
		rtol = 1.0 / 64
	}
	g, err := got.Float64s()
	if err != nil {
		return err
	}
	w, err := want.Float64s()
	if err != nil {
		return err
	}
	for i := range w {
		if g[i] == w[i] || math.IsNaN(g[i]) && math.IsNaN(w[i]) {
			continue
		}
		if !(math.Abs(g[i]-w[i]) <= 1e-7+rtol*math.Abs(w[i])) || math.IsInf(w[i], 0) {
			return fmt.Errorf("element %d of %s is %v, want %v", i, want, g[i], w[i])
		}
	}
	return nil
}

func similarComplex(got, want *tensor.Tensor) error {
	at := func(t *tensor.Tensor, i int) complex128 {
		if t.DType() == tensor.C64 {
			return complex128(tensor.Data[complex64](t)[i])
		}
		return tensor.Data[complex128](t)[i]
	}
	for i := range want.Len() {
		g, w := at(got, i), at(want, i)
		if d := g - w; math.Hypot(real(d), imag(d)) > 1e-7+1e-3*math.Hypot(real(w), imag(w)) {
			return fmt.Errorf("element %d is %v, want %v", i, g, w)
		}
	}
	return nil
}

// TestConformance runs the node tests of onnx, one subtest per case, and ends with a
// table by operator.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("the conformance suite takes some seconds")
	}
	cases := readCases(t, nodeTests)
	table := ops.NewTable()
	groups := opNames(table)
	tally := map[string]*opTally{}
	total := opTally{}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		op := groups.of(name)
		if tally[op] == nil {
			tally[op] = &opTally{reasons: map[string]bool{}}
		}
		n := tally[op]
		reason := leftOutReason(name)
		t.Run(name, func(t *testing.T) {
			err := cases[name].check(table)
			switch {
			case err == nil && reason != "":
				n.failed++
				t.Errorf("passes, but the table of left-out cases says %q", reason)
			case err == nil:
				n.passed++
			case errors.Is(err, errPanic):
				n.failed++
				t.Error(err)
			case reason != "":
				n.leftOut++
				n.reasons[reason] = true
				t.Skipf("left out: %s (%v)", reason, err)
			default:
				n.failed++
				t.Error(err)
			}
		})
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "op\tpassed\tfailed\tleft out\treason")
	for _, op := range slices.Sorted(maps.Keys(tally)) {
		n := tally[op]
		total.passed, total.failed, total.leftOut = total.passed+n.passed, total.failed+n.failed, total.leftOut+n.leftOut
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", op, n.passed, n.failed, n.leftOut, strings.Join(slices.Sorted(maps.Keys(n.reasons)), "; "))
	}
	fmt.Fprintf(w, "all %d\t%d\t%d\t%d\t\n", len(cases), total.passed, total.failed, total.leftOut)
	w.Flush()
	t.Logf("by operator:\n%s", b.String())
	if ran := total.passed + total.failed + total.leftOut; ran == len(cases) && total.passed < leastPassing {
		t.Errorf("%d of %d cases pass, want at least %d", total.passed, len(cases), leastPassing)
	}
}

type opTally struct {
	passed, failed, leftOut int
	reasons                 map[string]bool
}

// opIndex maps the squeezed lower-case names of ops to how they are spelt.
type opIndex map[string]string

func opNames(table *ops.Table) opIndex {
	x := opIndex{}
	for _, op := range table.All() {
		if op.Domain == ir.DomainONNX || op.Domain == ir.DomainML {
			x[strings.ToLower(op.Name)] = op.Name
		}
	}
	return x
}

// of guesses which op a case is about from its name: test_layer_normalization_2d_axis0
// is about LayerNormalization, the longest op name it begins with.
func (x opIndex) of(name string) string {
	for _, prefix := range []string{"test_ai_onnx_ml_", "test_basic_", "test_"} {
		if s, ok := strings.CutPrefix(name, prefix); ok {
			name = s
			break
		}
	}
	word, _, _ := strings.Cut(name, "_")
	name = strings.ReplaceAll(name, "_", "")
	for n := len(name); n > 1; n-- {
		if op, ok := x[name[:n]]; ok {
			return op
		}
	}
	return "other: " + word
}
