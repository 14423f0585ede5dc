// Command gen writes the assembly of package gemm: one micro-kernel per
// precision, instruction set, number of rows and number of panels at a time.
package main

import (
	"log"
	"os"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

const generator = "go generate ./runtime/cpu/gemm"

func main() {
	for _, k := range []kind{f32, bf16, wide, i8} {
		f := asmgen.New("amd64", generator)
		for _, mr := range []int{1, 2, 4, 6, 8, 10, 12} {
			k.avx512(f, mr, variant{nv: 2, p: 1})
			k.avx512(f, mr, variant{nv: 1, p: 1})
		}
		// Few rows: several panels at once, so that there are enough chains of
		// FMAs and several streams of weights.
		k.avx512(f, 1, variant{nv: 2, p: 4})
		k.avx512(f, 2, variant{nv: 2, p: 4})
		if k.wide {
			k.avx512(f, 4, variant{nv: 2, p: 2})
		} else {
			k.avx512(f, 4, variant{nv: 2, p: 3})
			k.avx512(f, 6, variant{nv: 2, p: 2})
		}
		k.avx512(f, 12, variant{nv: 2, p: 1, stream: true})
		write(f, k.name+"_avx512_amd64.s")
	}
	f := asmgen.New("amd64", generator)
	f.Table("highs", repeat(0xffff0000))
	f.Table("lows", repeat(0x00ff00ff))
	for _, mr := range []int{1, 2, 4, 6} {
		f32.avx2(f, mr)
		wide.avx2(f, mr)
		if mr <= 4 {
			i8.avx2(f, mr)
		}
	}
	write(f, "avx2_amd64.s")
	f = asmgen.New("amd64", generator)
	kernels := tileKernels()
	for _, k := range kernels {
		k.emit(f)
	}
	write(f, "amx_amd64.s")
	if err := os.WriteFile("amx_kernels_amd64.go", tileDispatch(kernels), 0o644); err != nil {
		log.Fatal(err)
	}
	f = asmgen.New("amd64", generator)
	convert(f)
	write(f, "convert_amd64.s")
	f = asmgen.NewARM64(generator)
	neonKernels(f)
	neonConvert(f)
	write(f, "neon_arm64.s")
	if err := os.WriteFile("neon_kernels_arm64.go", neonDispatch(), 0o644); err != nil {
		log.Fatal(err)
	}
}

func write(f *asmgen.File, path string) {
	if err := f.WriteFile(path); err != nil {
		log.Fatal(err)
	}
}

// repeat is eight times the same word: a 256-bit constant.
func repeat(w uint32) []uint32 { return []uint32{w, w, w, w, w, w, w, w} }
