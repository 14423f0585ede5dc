//go:build !amxemu

package isa

// TilesEmulated says that package gemm runs its tile kernels in plain Go; see the build tag
// amxemu.
const TilesEmulated = false
