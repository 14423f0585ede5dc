//go:build !amxemu

package gemm

// runTiles runs a tile kernel.
func (k *Kernels) runTiles(t *amxTile, e amxKernel) { t.call(e) }
