package ptx

import (
	"fmt"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestConvTranspose spreads each input over its window, the other way round than the kernel, which gathers.
func TestConvTranspose(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F32, tensor.F64} {
		for _, c := range []struct {
			batch, in, out, groups int
			h, w                   [5]int // window, stride, dilation, pad, extra size of the output
			ih, iw                 int
			bias                   bool
		}{
			{2, 3, 4, 1, [5]int{2, 2, 1, 0, 0}, [5]int{2, 2, 1, 0, 0}, 3, 5, true},
			{1, 4, 6, 2, [5]int{3, 2, 2, 1, 1}, [5]int{3, 1, 1, 2, -1}, 4, 7, false},
			{1, 1, 1, 1, [5]int{1, 1, 1, 0, 0}, [5]int{5, 3, 1, 0, 2}, 1, 1, true},
			{0, 2, 2, 1, [5]int{2, 1, 1, 0, 0}, [5]int{2, 1, 1, 0, 0}, 2, 2, false},
			{3, 2, 2, 2, [5]int{3, 3, 1, 0, 0}, [5]int{2, 2, 1, 1, 0}, 9, 6, true},
		} {
			t.Run(fmt.Sprint(dt, c), func(t *testing.T) {
				window := func(v [5]int, in int, sym string) (Window, int) {
					out := (in-1)*v[1] + (v[0]-1)*v[2] + 1 - 2*v[3] + v[4]
					return Window{Size: v[0], Stride: v[1], Dilation: v[2], Pad: v[3], In: Sym(sym), Out: N(out)}, out
				}
				s := ConvTranspose{Batch: Sym("b"), InC: c.in, OutC: c.out, Groups: c.groups, DType: dt, Bias: c.bias}
				var oh, ow int
				s.H, oh = window(c.h, c.ih, "h")
				s.W, ow = window(c.w, c.iw, "w")
				k, err := s.Kernel()
				weights := c.in * c.out / c.groups * c.h[0] * c.w[0]
				op := single(t, k, err, map[string]Expr{
					"x": Sym("b").MulN(c.in).Mul(Sym("h")).Mul(Sym("w")), "w": N(weights), "bias": N(c.out), "y": Sym("b").MulN(c.out * oh * ow),
				})
				x, w, bias := gauss64(t, c.batch*c.in*c.ih*c.iw), gauss64(t, weights), gauss64(t, c.out)
				pack := packF64
				if dt == tensor.F32 {
					pack = func(v []float64) []byte {
						f := make([]float32, len(v))
						for i := range v {
							f[i] = float32(v[i])
						}
						return packAs(dt, f)
					}
				}
				in := map[string][]byte{"x": pack(x), "w": pack(w)}
				if c.bias {
					in["bias"] = pack(bias)
				}
				out := run(t, op, map[string]int64{"b": int64(c.batch), "h": int64(c.ih), "w": int64(c.iw)}, in)["y"]
				var got []float64
				if dt == tensor.F64 {
					got = unpackF64(out)
				} else {
					for _, v := range unpack(dt, out) {
						got = append(got, float64(v))
					}
				}
				want := make([]float64, c.batch*c.out*oh*ow)
				if c.bias {
					for i := range want {
						want[i] = bias[i/(oh*ow)%c.out]
					}
				}
				per := c.out / c.groups
				for i, v := range x {
					n, ic, iy, ix := i/(c.in*c.ih*c.iw), i/(c.ih*c.iw)%c.in, i/c.iw%c.ih, i%c.iw
					for o := range per {
						for ky := range c.h[0] {
							for kx := range c.w[0] {
								y, xx := iy*c.h[1]+ky*c.h[2]-c.h[3], ix*c.w[1]+kx*c.w[2]-c.w[3]
								if y >= 0 && y < oh && xx >= 0 && xx < ow {
									oc := ic/(c.in/c.groups)*per + o
									want[((n*c.out+oc)*oh+y)*ow+xx] += v * w[((ic*per+o)*c.h[0]+ky)*c.w[0]+kx]
								}
							}
						}
					}
				}
				tol := 1e-13
				if dt == tensor.F32 {
					tol = 1e-5
				}
				near64(t, "y", got, want, tol)
			})
		}
	}
}
