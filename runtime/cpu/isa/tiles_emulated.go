//go:build amxemu

package isa

// TilesEmulated makes every amd64 machine with BF16 and VNNI one with AMX: the build tag amxemu
// puts plain Go in the place of the tile kernels, so that tests reach what runs on tiles alone.
const TilesEmulated = true
