package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// run executes an Op on the emulator with its checks on and returns every buffer. Inputs and packed weights
// are given by name; scratch starts as garbage, state as zeros, and state must end as zeros. Where ptxas is
// present every kernel is also assembled and held to its limits.
func run(t testing.TB, op *Op, dims map[string]int64, in map[string][]byte) map[string][]byte {
	t.Helper()
	assemble(t, op)
	for _, l := range op.Launches {
		if n := l.Kernel.StaticShared + l.Kernel.DynamicShared; n > 99<<10 {
			t.Errorf("%s takes %d bytes of shared memory; an sm_86 device grants 99 KB", l.Kernel.Name, n)
		}
	}
	out, err := execute(t, op, dims, in, 1)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// execute is run with a given seed for the order of blocks and warps; what the kernels do wrong is an error.
func execute(t testing.TB, op *Op, dims map[string]int64, in map[string][]byte, seed uint64) (map[string][]byte, error) {
	t.Helper()
	d := newDevice(t, seed)
	sizes := map[string]int{}
	for _, b := range op.Buffers {
		n, err := b.Elems.Eval(dims)
		if err != nil {
			t.Fatal(err)
		}
		size := int(n) * b.DType.Size()
		sizes[b.Name] = size
		switch b.Role {
		case Input, Weight:
			if len(in[b.Name]) != size {
				t.Fatalf("%s: buffer %s: got %d bytes, want %d", op.Name, b.Name, len(in[b.Name]), size)
			}
			d.alloc(b.Name, size, in[b.Name])
		case State:
			d.alloc(b.Name, size, make([]byte, size))
		default:
			d.alloc(b.Name, size, nil)
		}
	}
	for _, l := range op.Launches {
		var grid [3]int
		empty := false
		for i, e := range l.Kernel.Grid {
			n, err := e.Eval(dims)
			if err != nil {
				t.Fatal(err)
			}
			grid[i] = int(n)
			empty = empty || n == 0
		}
		if empty {
			continue
		}
		var args []any
		next := 0
		for _, p := range l.Kernel.Params {
			if p.Scalar {
				v, err := p.Value.Eval(dims)
				if err != nil {
					t.Fatal(err)
				}
				args = append(args, uint32(v))
				continue
			}
			if _, ok := sizes[l.Args[next]]; !ok {
				t.Fatalf("%s: launch of %s names an unknown buffer %s", op.Name, l.Kernel.Name, l.Args[next])
			}
			args = append(args, l.Args[next])
			next++
		}
		if next != len(l.Args) {
			t.Fatalf("%s: launch of %s has %d buffers, the kernel takes %d", op.Name, l.Kernel.Name, len(l.Args), next)
		}
		if err := d.launch(l.Kernel, grid, args); err != nil {
			return nil, fmt.Errorf("%s: %w", l.Kernel.Name, err)
		}
	}
	out := map[string][]byte{}
	for _, b := range op.Buffers {
		out[b.Name] = d.read(b.Name, sizes[b.Name])
		if out[b.Name] == nil && b.Role != Scratch {
			return nil, fmt.Errorf("%s: part of %s was not written", op.Name, b.Name)
		}
		if b.Role == State {
			for _, x := range out[b.Name] {
				if x != 0 {
					return nil, fmt.Errorf("%s: state %s is not zero after the run", op.Name, b.Name)
				}
			}
		}
	}
	return out, nil
}

// single makes an Op of one kernel, given the sizes of its buffers.
func single(t testing.TB, k *Kernel, err error, elems map[string]Expr) *Op {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	op, err := k.Single(elems)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func seeded(t testing.TB) *rand.Rand {
	h := uint64(14695981039346656037)
	for _, c := range []byte(t.Name()) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(h, 7))
}

func gauss(r *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

// packAs stores floats in a format; unpack widens them again.
func packAs(dt tensor.DType, v []float32) []byte {
	out := make([]byte, len(v)*dt.Size())
	for i, x := range v {
		putFloat(out, i, dt, x)
	}
	return out
}

func unpack(dt tensor.DType, b []byte) []float32 {
	out := make([]float32, len(b)/dt.Size())
	for i := range out {
		switch dt {
		case tensor.F32:
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		case tensor.BF16:
			out[i] = tensor.BFloat16(binary.LittleEndian.Uint16(b[2*i:])).Float32()
		case tensor.F16:
			out[i] = tensor.Float16(binary.LittleEndian.Uint16(b[2*i:])).Float32()
		}
	}
	return out
}

// rounded is what v becomes when it is stored in a format.
func rounded(dt tensor.DType, v []float32) []float32 { return unpack(dt, packAs(dt, v)) }

func packI64(v []int64) []byte {
	out := make([]byte, 8*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(out[8*i:], uint64(x))
	}
	return out
}

func unpackI64(b []byte) []int64 {
	out := make([]int64, len(b)/8)
	for i := range out {
		out[i] = int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return out
}

func unpackU32(b []byte) []uint32 {
	out := make([]uint32, len(b)/4)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return out
}

// near fails when got differs from want by more than tol times max(1, largest magnitude of want).
func near(t testing.TB, what string, got []float32, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	scale := 1.0
	for _, w := range want {
		if !math.IsInf(w, 0) && !math.IsNaN(w) {
			scale = math.Max(scale, math.Abs(w))
		}
	}
	for i, g := range got {
		w := want[i]
		if math.IsNaN(w) && math.IsNaN(float64(g)) || math.IsInf(w, 0) && float64(g) == w {
			continue
		}
		if d := math.Abs(float64(g) - w); !(d <= tol*scale) {
			t.Fatalf("%s: element %d of %d: got %g, want %g (off by %g, allowed %g)", what, i, len(got), g, w, d, tol*scale)
		}
	}
}
