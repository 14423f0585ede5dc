package ops

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// This file moves elements of any type, strings included, without looking at them.

// mover returns a function that copies n elements, from index si of src to index di
// of dst, which have one element type (or types of one size).
func mover(dst, src *tensor.Tensor) func(di, si, n int) {
	if dst.DType() == tensor.String {
		return moverOf(dst.Strings(), src.Strings())
	}
	switch dst.DType().Size() {
	case 1:
		return moverOf(dst.Bytes(), src.Bytes())
	case 2:
		return moverOf(words[uint16](dst, tensor.U16), words[uint16](src, tensor.U16))
	case 4:
		return moverOf(words[uint32](dst, tensor.U32), words[uint32](src, tensor.U32))
	case 8:
		return moverOf(words[uint64](dst, tensor.U64), words[uint64](src, tensor.U64))
	}
	return moverOf(tensor.Data[complex128](dst), tensor.Data[complex128](src))
}

func words[T tensor.Elem](t *tensor.Tensor, as tensor.DType) []T { return tensor.Data[T](t.As(as)) }

func moverOf[T any](dst, src []T) func(di, si, n int) {
	return func(di, si, n int) {
		if n == 1 {
			dst[di] = src[si]
			return
		}
		copy(dst[di:di+n], src[si:si+n])
	}
}

// filler returns a function that writes element 0 of src to n elements of dst from di.
func filler(dst, src *tensor.Tensor) func(di, n int) {
	move := mover(dst, src)
	return func(di, n int) {
		for i := di; i < di+n; i++ {
			move(i, 0, 1)
		}
	}
}

// copyStrided fills dst, in row-major order of its shape, with the elements of src
// that start at offset and lie strides apart (any sign, 0 to repeat).
func copyStrided(dst, src *tensor.Tensor, offset int, strides []int) {
	shape := dst.Shape()
	if dst.Len() == 0 {
		return
	}
	move := mover(dst, src)
	last := len(shape) - 1
	if last < 0 {
		move(0, offset, 1)
		return
	}
	n, step := shape[last], strides[last]
	eachIndex(shape[:last], [][]int{strides[:last]}, func(i int, offs []int) {
		di, si := i*n, offset+offs[0]
		if step == 1 {
			move(di, si, n)
			return
		}
		for range n {
			move(di, si, 1)
			di++
			si += step
		}
	})
}

// broadcastInto fills dst with src stretched to dst's shape.
func broadcastInto(dst, src *tensor.Tensor) error {
	if err := stretchesTo(src.Shape(), dst.Shape()); err != nil {
		return err
	}
	copyStrided(dst, src, 0, broadcastStrides(src.Shape(), dst.Shape()))
	return nil
}

// copyOut makes output 0 a copy of x under another shape of as many elements. Outputs
// are copies, not views, because the memory of x may be reused while they live.
func copyOut(c *ir.EvalCtx, x *tensor.Tensor, shape ...int) error {
	out, err := c.Out(0, x.DType(), shape...)
	if err != nil {
		return err
	}
	copyElems(out, x)
	return nil
}

// copyElems copies all elements of src to dst, of the same type and count.
func copyElems(dst, src *tensor.Tensor) {
	copy(dst.Bytes(), src.Bytes())
	copy(dst.Strings(), src.Strings())
}
