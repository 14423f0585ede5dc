//go:build !cudaemu

// Command libcuda is a shared library; build it with the tag cudaemu.
package main

import "fmt"

func main() {
	fmt.Println("build with: go build -tags cudaemu -buildmode=c-shared -o libcuda.so.1 ./cuda/emu/libcuda")
}
