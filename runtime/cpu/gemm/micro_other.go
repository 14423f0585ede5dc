//go:build !amd64 && !arm64

package gemm

import "github.com/seed-c851cfd2/moec/codegen/plan/layout"

// rowsPerTile is the most rows of one micro-kernel call.
func (k *Kernels) rowsPerTile(layout.Precision) int { return maxRows }

// run multiplies rows rows of t by t.n panels of nr columns, the last one of
// width columns.
func (k *Kernels) run(t *tile, p layout.Precision, rows, nr, width int) {
	t.portable(p, rows, nr, width)
}
