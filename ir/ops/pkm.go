package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// PKMAttrs are the attributes of PKM, the product-key memory. Per head h the query q is
// x, or x query' + query_bias where a projection is given; its first d1 entries meet
// keys0, the other d2 keys1:
//
//	s1 = q[:d1] keys0[h]' + key_bias0[h]     s2 = q[d1:] keys1[h]' + key_bias1[h]
//
// Sparse path: the best KNN of s1 and of s2, then the best KNN of their sums
// s1[i]+s2[j], each standing for value i*n2+j; y = sum over heads and slots of
// w values[index] + b2. Dense path, taken when KNN is 0 or both n1 and n2 are at most
// KNN: the scores of the heads are added before the weighting, s = sum_h s1[h,i]+s2[h,j],
// and all n1*n2 values take part. Weighting softmax-head has no dense path (each head
// weighs its own scores); KNN 0 then keeps all.
//
// Outputs indices and scores are [..., H, slots], slots = min(KNN, candidates), best
// first; on the dense path [..., 1, n1*n2] in value order. Scores are before weighting.
type PKMAttrs struct {
	KNN       int64     `attr:"knn"`
	Weighting Weighting `attr:"weighting"`
}

// Weighting turns the scores of a PKM into weights of its values: an Activation applied
// to each score, or one of the two below.
type Weighting string

// The weightings that are not activations.
const (
	WeightSoftmax     Weighting = "softmax"      // over the slots of all heads jointly
	WeightSoftmaxHead Weighting = "softmax-head" // over the slots of each head (Lample et al. 2019)
)

// Inputs and outputs of PKM.
const (
	PKMInX         = iota // [..., D]
	PKMInKeys0            // [H,n1,d1]
	PKMInKeys1            // [H,n2,d2]
	PKMInValues           // [n1*n2,Dv]
	PKMInQuery            // [H*(d1+d2),D], optional; without it D = d1+d2
	PKMInQueryBias        // [H*(d1+d2)], optional
	PKMInKeyBias0         // [H,n1], optional
	PKMInKeyBias1         // [H,n2], optional
	PKMInB2               // [Dv], optional

	PKMOutY       = 0 // [..., Dv]
	PKMOutIndices = 1 // i64 [..., H, slots], optional
	PKMOutScores  = 2 // [..., H, slots], optional
)

// Dense reports whether a PKM with n1 and n2 keys takes the dense path.
func (a *PKMAttrs) Dense(n1, n2 int) bool {
	if a.Weighting == WeightSoftmaxHead {
		return false
	}
	return a.KNN == 0 || int64(n1) <= a.KNN && int64(n2) <= a.KNN
}

// Slots is how many values a head selects on the sparse path, for known key counts.
func (a *PKMAttrs) Slots(n1, n2 int) int {
	k := int(min(a.KNN, 1<<31))
	if k == 0 {
		return n1 * n2
	}
	return min(k, min(k, n1)*min(k, n2))
}

func pkmOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "PKM", Since: 1,
		Doc:   "Product-key memory: the best of a Cartesian product of two key tables, weighted values summed.",
		Attrs: func() any { return &PKMAttrs{KNN: 32, Weighting: Weighting(ActReLU)} },
		MinIn: 4, MaxIn: 9, MinOut: 1, MaxOut: 3,
		Infer:  inferPKM,
		Eval:   evalPKM,
		Expand: func(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) { return expandPKM(BodyPortable, g, n) },
		Cost:   costPKM,
	}
}

func inferPKM(c *ir.InferCtx) error {
	a := c.Attrs.(*PKMAttrs)
	s := newShapes(c)
	if w := a.Weighting; w != WeightSoftmax && w != WeightSoftmaxHead && !Activation(w).Valid() {
		s.fail(ir.ErrAttr, "weighting %q, want an activation, softmax or softmax-head", string(w))
	}
	if a.KNN < 0 {
		s.fail(ir.ErrAttr, "knn is %d, want at least 0", a.KNN)
	}
	s.param(PKMInKeys0, "keys0", "H", "n1", "d1")
	s.param(PKMInKeys1, "keys1", "H", "n2", "d2")
	s.param(PKMInValues, "values", "values", "Dv")
	s.param(PKMInQuery, "query", "Q", "D")
	s.param(PKMInQueryBias, "query_bias", "Q")
	s.param(PKMInKeyBias0, "key_bias0", "H", "n1")
	s.param(PKMInKeyBias1, "key_bias1", "H", "n2")
	s.param(PKMInB2, "b2", "Dv")
	n1, n2 := s.dim("n1"), s.dim("n2")
	half := ir.AddDim(s.dim("d1"), s.dim("d2"))
	if c.Has(PKMInQuery) {
		s.bind("query", "Q", ir.MulDim(s.dim("H"), half))
	} else {
		s.bind("keys0 and keys1 together", "D", half)
		if c.Has(PKMInQueryBias) {
			s.fail(ir.ErrGraph, "query_bias without query")
		}
	}
	s.bind("values", "values", ir.MulDim(n1, n2))
	s.out(PKMOutY, s.dt, s.dim("Dv"))
	heads, slots := s.dim("H"), ir.Unknown()
	if n1.IsKnown() && n2.IsKnown() {
		slots = ir.Known(int64(a.Slots(int(n1.Size), int(n2.Size))))
		if a.Dense(int(n1.Size), int(n2.Size)) {
			heads, slots = ir.Known(1), ir.MulDim(n1, n2)
		}
	} else if a.KNN == 0 && a.Weighting != WeightSoftmaxHead {
		heads = ir.Known(1)
	} else {
		heads = ir.Unknown()
	}
	s.out(PKMOutIndices, tensor.I64, heads, slots)
	s.out(PKMOutScores, s.dt, heads, slots)
	if s.err != nil {
		return s.err
	}
	if s.dim("H").IsKnown() && s.dim("H").Size == 0 {
		return fmt.Errorf("%w: no heads", ir.ErrShape)
	}
	return nil
}
