package layout

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestColsAndBytes(t *testing.T) {
	for _, c := range []struct{ n, cols int }{{0, 0}, {1, 16}, {16, 16}, {17, 32}, {32, 32}, {33, 48}, {48, 48}, {49, 64}, {64, 64}} {
		if got := Cols(c.n); got != c.cols {
			t.Errorf("Cols(%d) = %d, want %d", c.n, got, c.cols)
		}
	}
	if got := BF16.Bytes(5, 33); got != 4*3*48 {
		t.Errorf("bf16 5 x 33 takes %d bytes", got)
	}
	if got := I8.Bytes(5, 33); got != 4*2*48 {
		t.Errorf("int8 5 x 33 takes %d bytes", got)
	}
}

// Every element has a place of its own inside the packed size, and reading it
// back gives the value at the precision's resolution; padding stays zero.
func TestPackRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, p := range []Precision{F32, BF16, I8} {
		for _, k := range []int{0, 1, 3, 4, 5, 8} {
			for _, n := range []int{0, 1, 15, 16, 17, 31, 32, 33, 48, 50, 65} {
				data := make([]float32, k*n)
				for i := range data {
					data[i] = rng.Float32()*4 - 2
				}
				for _, src := range []Source{RowMajor(data, k, n), Transposed(data, k, n)} {
					m, err := Pack(p, src)
					if err != nil {
						t.Fatal(err)
					}
					seen := map[int]bool{}
					for i := range k {
						for j := range n {
							at := m.Index(i, j)
							if seen[at] {
								t.Fatalf("%v %dx%d: element %d,%d shares its place", p, k, n, i, j)
							}
							seen[at] = true
							want := data[i*src.KStride+j*src.NStride]
							tol := map[Precision]float64{F32: 0, BF16: math.Abs(float64(want)) / 256, I8: 2.0 / 127 / 2 * 1.0001}[p]
							if d := math.Abs(float64(m.At(i, j) - want)); d > tol {
								t.Fatalf("%v %dx%d at %d,%d: %v, want %v", p, k, n, i, j, m.At(i, j), want)
							}
						}
					}
					checkPadding(t, m, seen)
				}
			}
		}
	}
}

func checkPadding(t *testing.T, m *Matrix, seen map[int]bool) {
	t.Helper()
	for i := range m.F32 {
		if !seen[i] && m.F32[i] != 0 {
			t.Fatalf("padding %d is %v", i, m.F32[i])
		}
	}
	for i := range m.BF16 {
		if !seen[i] && m.BF16[i] != 0 {
			t.Fatalf("padding %d is %v", i, m.BF16[i])
		}
	}
	for i := range m.I8 {
		if !seen[i] && m.I8[i] != 0 {
			t.Fatalf("padding %d is %v", i, m.I8[i])
		}
	}
	for n, d := range m.Sum {
		var s int32
		for k := range m.K {
			s += int32(m.I8[m.Index(k, n)])
		}
		if Sum32(d) != s {
			t.Fatalf("sum of column %d: %d, want %d", n, Sum32(d), s)
		}
	}
}

func TestDigits(t *testing.T) {
	for _, v := range []int32{0, 1, -1, 127, 128, -127, -128, -129, 195072, -195072, 127 * MaxK8, -127 * MaxK8} {
		d := Digits(v)
		if Sum32(d) != v {
			t.Errorf("Sum32(Digits(%d)) = %d", v, Sum32(d))
		}
		// The correction multiplies the digits by at most 255 and 255*128.
		if lo := int16(d); lo < 0 || lo > 127 {
			t.Errorf("low digit of %d is %d", v, lo)
		}
	}
}

func TestRoundBF16(t *testing.T) {
	f := math.Float32frombits
	for _, c := range []struct {
		in   float32
		want uint16
	}{
		{1, 0x3f80},
		{f(0x3f808000), 0x3f80},
		{f(0x3f818000), 0x3f82},
		{f(0x3f808001), 0x3f81},
		{float32(math.Inf(1)), 0x7f80},
		{math.MaxFloat32, 0x7f80},
		{f(0x7f800001), 0x7fc0},
		{f(1), 0},
		{f(0x80000001), 0x8000},
	} {
		if got := RoundBF16(c.in); got != c.want {
			t.Errorf("RoundBF16(%x) = %x, want %x", math.Float32bits(c.in), got, c.want)
		}
	}
}

func TestPackErrors(t *testing.T) {
	if _, err := Pack(F32, RowMajor(make([]float32, 5), 2, 3)); err == nil {
		t.Error("short source accepted")
	}
	if _, err := Pack(I8, Source{Data: make([]float32, MaxK8+1), K: MaxK8 + 1, N: 1, KStride: 1}); err == nil {
		t.Error("too many rows for int8 accepted")
	}
	if err := (&Matrix{Precision: F32, K: 2, N: 2, F32: make([]float32, 4)}).Check(); err == nil {
		t.Error("short matrix accepted")
	}
	nan, err := Pack(I8, RowMajor([]float32{1, float32(math.NaN()), 2, 3}, 2, 2))
	if err != nil || nan.Scale[1] == nan.Scale[1] || nan.Scale[0] != 2.0/127 {
		t.Errorf("NaN column: %v %v", nan, err)
	}
}

// TestWidened: every element is where the f32 kernels look for it.
func TestWidened(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, s := range [][3]int{{1, 1, 1}, {5, 5, 17}, {64, 50, 33}, {96, 95, 48}, {32, 32, 64}} {
		rows, k, n := s[0], s[1], s[2]
		data := make([]float32, rows*n)
		for i := range data {
			data[i] = rng.Float32()
		}
		m, err := Pack(BF16, RowMajor(data, rows, n))
		if err != nil {
			t.Fatal(err)
		}
		w := m.Widened(k)
		if err := w.Check(); err != nil {
			t.Fatal(err)
		}
		for i := range k {
			for j := range n {
				if w.At(i, j) != m.At(i, j) {
					t.Fatalf("%v: element %d,%d is %v, want %v", s, i, j, w.At(i, j), m.At(i, j))
				}
			}
		}
	}
}
