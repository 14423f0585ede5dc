package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TreeEnsembleAttrs are the attributes of ai.onnx.ml's TreeEnsemble.
type TreeEnsembleAttrs struct {
	AggregateFunction           int64          `attr:"aggregate_function"`
	LeafTargetids               []int64        `attr:"leaf_targetids"`
	LeafWeights                 *tensor.Tensor `attr:"leaf_weights"`
	MembershipValues            *tensor.Tensor `attr:"membership_values"`
	NTargets                    int64          `attr:"n_targets"`
	NodesFalseleafs             []int64        `attr:"nodes_falseleafs"`
	NodesFalsenodeids           []int64        `attr:"nodes_falsenodeids"`
	NodesFeatureids             []int64        `attr:"nodes_featureids"`
	NodesHitrates               *tensor.Tensor `attr:"nodes_hitrates"`
	NodesMissingValueTracksTrue []int64        `attr:"nodes_missing_value_tracks_true"`
	NodesModes                  *tensor.Tensor `attr:"nodes_modes"`
	NodesSplits                 *tensor.Tensor `attr:"nodes_splits"`
	NodesTrueleafs              []int64        `attr:"nodes_trueleafs"`
	NodesTruenodeids            []int64        `attr:"nodes_truenodeids"`
	PostTransform               int64          `attr:"post_transform"`
	TreeRoots                   []int64        `attr:"tree_roots"`
}

func treeOps() []*ir.Op {
	return []*ir.Op{{
		Domain: ir.DomainML, Name: "TreeEnsemble", Since: 5, Doc: "Sum, average, minimum or maximum of the leaves that trees lead to.",
		Attrs: func() any { return &TreeEnsembleAttrs{AggregateFunction: 1, NTargets: 1} },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			x := c.In(0)
			if err := wantRank("the input", x, 2, 2); err != nil {
				return err
			}
			rows := ir.Unknown()
			if x.Ranked {
				rows = x.Shape[0]
			}
			c.SetOut(0, ir.MakeType(x.DType, rows, ir.Known(max(c.Attrs.(*TreeEnsembleAttrs).NTargets, 0))))
			return nil
		},
		Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, evalTrees, evalTrees) },
	}}
}

// forest is the attributes checked and unpacked.
type forest struct {
	*TreeEnsembleAttrs
	modes          []int64
	split, weights []float64
	members        []map[float64]bool // per node, for mode MEMBER
}

func newForest(a *TreeEnsembleAttrs) (*forest, error) {
	n := len(a.NodesFeatureids)
	if a.NodesModes == nil || a.NodesSplits == nil || a.LeafWeights == nil {
		return nil, fmt.Errorf("%w: nodes_modes, nodes_splits and leaf_weights are needed", ir.ErrAttr)
	}
	f := &forest{TreeEnsembleAttrs: a, members: make([]map[float64]bool, n)}
	var err error
	if f.modes, err = a.NodesModes.Int64s(); err != nil {
		return nil, fmt.Errorf("%w: nodes_modes: %w", ir.ErrAttr, err)
	}
	if f.split, err = a.NodesSplits.Float64s(); err != nil {
		return nil, fmt.Errorf("%w: nodes_splits: %w", ir.ErrAttr, err)
	}
	if f.weights, err = a.LeafWeights.Float64s(); err != nil {
		return nil, fmt.Errorf("%w: leaf_weights: %w", ir.ErrAttr, err)
	}
	for _, l := range []int{len(f.modes), len(f.split), len(a.NodesTruenodeids), len(a.NodesFalsenodeids), len(a.NodesTrueleafs), len(a.NodesFalseleafs)} {
		if l != n {
			return nil, fmt.Errorf("%w: the node lists differ in length", ir.ErrAttr)
		}
	}
	if len(a.LeafTargetids) != len(f.weights) || len(a.NodesMissingValueTracksTrue) != 0 && len(a.NodesMissingValueTracksTrue) != n {
		return nil, fmt.Errorf("%w: the leaf lists differ in length", ir.ErrAttr)
	}
	if a.NTargets < 1 || a.NTargets > windowLimit || a.AggregateFunction < 0 || a.AggregateFunction > 3 {
		return nil, fmt.Errorf("%w: n_targets %d, aggregate_function %d", ir.ErrAttr, a.NTargets, a.AggregateFunction)
	}
	if a.PostTransform != 0 {
		return nil, fmt.Errorf("%w: post_transform %d: only NONE is supported", ir.ErrAttr, a.PostTransform)
	}
	for _, t := range a.LeafTargetids {
		if t < 0 || t >= a.NTargets {
			return nil, fmt.Errorf("%w: leaf target %d of %d", ir.ErrAttr, t, a.NTargets)
		}
	}
	return f, f.readMembers()
}

// readMembers deals the sets, each ended by a NaN, to the MEMBER nodes in order.
func (f *forest) readMembers() error {
	var v []float64
	if f.MembershipValues != nil {
		var err error
		if v, err = f.MembershipValues.Float64s(); err != nil {
			return fmt.Errorf("%w: membership_values: %w", ir.ErrAttr, err)
		}
	}
	for i, m := range f.modes {
		if m < 0 || m > 6 {
			return fmt.Errorf("%w: node mode %d", ir.ErrAttr, m)
		}
		if m != 6 {
			continue
		}
		f.members[i] = map[float64]bool{}
		for {
			if len(v) == 0 {
				return fmt.Errorf("%w: membership_values end early", ir.ErrAttr)
			}
			x := v[0]
			v = v[1:]
			if math.IsNaN(x) {
				break
			}
			f.members[i][x] = true
		}
	}
	return nil
}

// leaf walks a tree from node at for one row of features and gives the leaf's index.
func (f *forest) leaf(at int64, row []float64) (int64, error) {
	isLeaf := false
	if n := int64(len(f.modes)); at >= 0 && at < n && f.NodesTrueleafs[at] != 0 && f.NodesFalseleafs[at] != 0 && f.NodesTruenodeids[at] == f.NodesFalsenodeids[at] {
		return f.checkLeaf(f.NodesTruenodeids[at]) // a tree that is one leaf
	}
	for range len(f.modes) + 1 {
		if isLeaf {
			return f.checkLeaf(at)
		}
		if at < 0 || at >= int64(len(f.modes)) || f.NodesFeatureids[at] < 0 || f.NodesFeatureids[at] >= int64(len(row)) {
			return 0, fmt.Errorf("%w: tree node %d", ir.ErrAttr, at)
		}
		if f.takes(at, row[f.NodesFeatureids[at]]) {
			at, isLeaf = f.NodesTruenodeids[at], f.NodesTrueleafs[at] != 0
		} else {
			at, isLeaf = f.NodesFalsenodeids[at], f.NodesFalseleafs[at] != 0
		}
	}
	if isLeaf {
		return f.checkLeaf(at)
	}
	return 0, fmt.Errorf("%w: the tree of node %d has a cycle", ir.ErrAttr, at)
}

func (f *forest) checkLeaf(at int64) (int64, error) {
	if at < 0 || at >= int64(len(f.weights)) {
		return 0, fmt.Errorf("%w: leaf %d of %d", ir.ErrAttr, at, len(f.weights))
	}
	return at, nil
}

// takes reports whether a node sends x to its true branch.
func (f *forest) takes(node int64, x float64) bool {
	if math.IsNaN(x) && len(f.NodesMissingValueTracksTrue) > 0 && f.NodesMissingValueTracksTrue[node] != 0 {
		return true
	}
	s := f.split[node]
	switch f.modes[node] {
	case 0:
		return x <= s
	case 1:
		return x < s
	case 2:
		return x >= s
	case 3:
		return x > s
	case 4:
		return x == s
	case 5:
		return x != s
	}
	return f.members[node][x]
}

func evalTrees(c *ir.EvalCtx) error {
	x := c.In(0)
	if err := tensorRank("the input", x, 2, 2); err != nil {
		return err
	}
	f, err := newForest(c.Attrs.(*TreeEnsembleAttrs))
	if err != nil {
		return err
	}
	v, err := reals[float64](x)
	if err != nil {
		return err
	}
	rows, cols, n := x.Shape()[0], x.Shape()[1], int(f.NTargets)
	out, err := outReals[float64](c, 0, x.DType(), rows, n)
	if err != nil {
		return err
	}
	for i := range out.V { // 0 average, 1 sum, 2 minimum, 3 maximum
		out.V[i] = 0
		if f.AggregateFunction == 2 {
			out.V[i] = math.MaxFloat32
		} else if f.AggregateFunction == 3 {
			out.V[i] = -math.MaxFloat32
		}
	}
	for r := range rows {
		for _, root := range f.TreeRoots {
			l, err := f.leaf(root, v[r*cols:(r+1)*cols])
			if err != nil {
				return err
			}
			y, w := &out.V[r*n+int(f.LeafTargetids[l])], f.weights[l]
			switch f.AggregateFunction {
			case 0:
				*y += w / float64(len(f.TreeRoots))
			case 1:
				*y += w
			case 2:
				*y = min(*y, w)
			case 3:
				*y = max(*y, w)
			}
		}
	}
	out.Store()
	return nil
}
