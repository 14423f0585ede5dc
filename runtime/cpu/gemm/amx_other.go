//go:build !amd64

package gemm

// amxTile is never made where there is no AMX.
type amxTile struct{}

func (k *Kernels) runAMX(*Block) {}

// amxWords is never asked for where there is no AMX.
func amxWords(steps int) int { return steps }
