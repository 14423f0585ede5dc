// Package ops is the table of operators: what each means. One file per op (or per
// family of ops that share one formula) holds its attributes, type inference, slow
// reference Eval and cost; Table lists them all.
package ops

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

// groups are the lists that the files of this package contribute, one per subject.
func groups() [][]*ir.Op {
	return [][]*ir.Op{
		unaryMathOps(), activationOps(), arithmeticOps(), compareOps(), bitwiseOps(), variadicOps(), whereOps(), castOps(),
		identityOps(), shapeOps(), reshapeOps(), squeezeOps(), transposeOps(), concatOps(), splitOps(), sliceOps(),
		expandOps(), fillOps(), gatherOps(), scatterOps(), tensorScatterOps(), padOps(), oneHotOps(), rearrangeOps(),
		selectOps(), uniqueOps(), topKOps(), reduceOps(), argReduceOps(), cumulativeOps(),
		matmulOps(), gemmOps(), matmulIntegerOps(), einsumOps(), detOps(), quantizeOps(), randomOps(), stringOps(),
		microsoftGeluOps(), microsoftMatMulOps(),
		convOps(),
		convTransposeOps(),
		convIntOps(),
		deformConvOps(),
		col2imOps(),
		roiOps(),
		unpoolOps(),
		lossOps(),
		resizeOps(),
		gridOps(),
		cropOps(),
		dftOps(),
		signalOps(),
		nmsOps(),
		tfidfOps(),
		optionalOps(),
		microsoftNormOps(),
		microsoftConvOps(),
		microsoftAttentionOps(),
		groupQueryOps(),
		stateOps(),
		mlOps(),
		treeOps(),
		poolOps(),
		globalPoolOps(),
		layerNormOps(),
		batchNormOps(),
		localNormOps(),
		softmaxOps(),
		recurrentOps(),
		attentionOps(),
		rotaryOps(),
		controlOps(),
		familyOps(),
		fusedOps(),
	}
}

// Table finds ops by domain and name. It is immutable and safe for concurrent use.
type Table struct {
	byName map[[2]string]*ir.Op
	all    []*ir.Op
}

// NewTable builds the table of all ops moec knows. Programs build it once, at the
// edge, and pass it along.
func NewTable() *Table {
	t := &Table{byName: map[[2]string]*ir.Op{}}
	for _, g := range groups() {
		for _, op := range g {
			t.byName[[2]string{op.Domain, op.Name}] = op
			t.all = append(t.all, op)
		}
	}
	slices.SortFunc(t.all, func(a, b *ir.Op) int {
		if a.Domain != b.Domain {
			return cmpString(a.Domain, b.Domain)
		}
		return cmpString(a.Name, b.Name)
	})
	return t
}

// Lookup finds an op; "ai.onnx" is the same domain as "". It returns nil for an
// unknown one.
func (t *Table) Lookup(domain, name string) *ir.Op {
	if domain == "ai.onnx" {
		domain = ir.DomainONNX
	}
	return t.byName[[2]string{domain, name}]
}

// All lists the ops by domain and name.
func (t *Table) All() []*ir.Op { return t.all }

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
