package conv

import "github.com/seed-c851cfd2/moec/runtime/cpu/act"

// maxRows is the most pixels of a tile.
const maxRows = 12

// span is a stretch of a window: where it is from the window's start, in bytes, and how
// many floats it has.
type span struct{ at, n int }

// product is one panel, or two, of the channels out of some pixels: sums over spans of their
// windows.
type product struct {
	x      []float32
	stride int     // floats from pixel to pixel
	index  []int32 // where each pixel's window starts, in pixels, ascending
	spans  []span  // at least one, none empty, ascending

	b     []float32 // of the panel, from the first row wanted on
	half  bool      // the panel is half as wide
	apart int       // floats to the next panel where the product is of two, else 0
	width int       // channels wanted

	y              []float32 // first pixel's first channel
	ystride        int
	bias, residual []float32 // bias nil: start from y
	after          act.Kind  // one that inTile has
}
