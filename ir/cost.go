package ir

import "github.com/seed-c851cfd2/moec/ir/tensor"

// CostOf is the op's own estimate, or one operation per output element and each operand
// moved once.
func CostOf(op *Op, c *CostCtx) Cost {
	if op.Cost != nil {
		return op.Cost(c)
	}
	var k Cost
	for _, t := range c.Ins {
		k.Bytes += typeBytes(t)
	}
	for _, t := range c.Outs {
		if shape, ok := t.Static(); ok {
			k.FLOPs += int64(tensor.NumElems(shape))
		}
		k.Bytes += typeBytes(t)
	}
	return k
}

func typeBytes(t Type) int64 {
	shape, ok := t.Static()
	if !ok {
		return 0
	}
	return int64(tensor.NumElems(shape)) * int64(t.DType.Size())
}
