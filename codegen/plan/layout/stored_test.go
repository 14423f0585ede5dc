package layout

import (
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func TestStackKeepsEveryElement(t *testing.T) {
	for _, p := range []Precision{F32, BF16, I8} {
		for _, s := range [][3]int{{1, 1, 1}, {3, 5, 33}, {2, 64, 16}, {0, 4, 4}, {2, 7, 48}} {
			count, k, n := s[0], s[1], s[2]
			for _, transposed := range []bool{false, true} {
				shape := []int{count, k, n}
				if transposed {
					shape = []int{count, n, k}
				}
				src := tensor.New(tensor.F32, shape...)
				d := tensor.Data[float32](src)
				for i := range d {
					d[i] = float32(i%251)/16 - 7
				}
				packed, err := PackStack(p, src, transposed)
				if err != nil {
					t.Fatal(err)
				}
				ms, err := Unstack(p, packed.Bytes(), count, k, n)
				if err != nil {
					t.Fatal(err)
				}
				for e, m := range ms {
					for i := range k {
						for j := range n {
							want := d[e*k*n+i*n+j]
							if transposed {
								want = d[e*k*n+j*k+i]
							}
							// bf16 keeps 8 bits; int8 steps are max|column|/127.
							tol := map[Precision]float32{F32: 0, BF16: 1. / 32, I8: 9. / 127}[p]
							if got := m.At(i, j); got-want > tol || want-got > tol {
								t.Fatalf("%s %v transposed=%v: matrix %d (%d,%d) is %v, want %v", p, s, transposed, e, i, j, got, want)
							}
						}
					}
				}
			}
		}
	}
}

func TestUnstackRefusesWrongSizes(t *testing.T) {
	if _, err := Unstack(F32, tensor.AlignedBytes(64), 1, 2, 32); err == nil {
		t.Error("64 bytes passed for a 2x32 matrix")
	}
	if _, err := Unstack(F32, tensor.AlignedBytes(128)[8:72], 1, 1, 16); err == nil {
		t.Error("misaligned bytes passed")
	}
}
