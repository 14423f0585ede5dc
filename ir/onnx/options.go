// Package onnx reads and writes ONNX models.
//
//	model.onnx -> wire.Scan -> ModelProto -> import -> ir.Graph -> passes ...
//	                                         upgrade: every node gets the newest meaning of its op
//
// Import checks everything before it allocates: a file that is not a well-formed model
// gives an error that names the node or tensor, never a panic. Weights stay views of
// the mapped file.
package onnx

import (
	"fmt"
	"io/fs"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// DefaultElems bounds the elements of one value unless asked otherwise: 2^31, or, where an
// int has 32 bits, as many as have bytes that it can count at 8 bytes each.
const DefaultElems = min(1<<31, math.MaxInt/8)

// Limits bound what a model file may ask for. Zero fields take the defaults.
type Limits struct {
	// Nodes bounds the nodes of the graph (--max-nodes). By default a file may hold
	// 4 million and calls of functions may expand to 262,144.
	Nodes int
	// Depth bounds the nesting of subgraphs and function calls (--max-depth); 64 by default.
	Depth int
	// Bytes bounds the memory import itself allocates for the model's structure
	// (--max-bytes); 4 GiB by default, 2 GiB where an int has
	// 32 bits. Weights that stay in mapped files do not count.
	Bytes int
	// Elems bounds the elements of one value (--max-elems); DefaultElems by default.
	Elems int
}

func (l Limits) filled() Limits {
	if l.Nodes == 0 {
		l.Nodes = 4 << 20
	}
	if l.Depth == 0 {
		l.Depth = 64
	}
	if l.Bytes == 0 {
		l.Bytes = min(4<<30, math.MaxInt)
	}
	if l.Elems == 0 {
		l.Elems = DefaultElems
	}
	return l
}

// Options tune reading a model. The zero value is good.
type Options struct {
	Limits Limits
	Ops    ir.OpSet // the operators to import into; nil: ops.NewTable()
	// Weights replace initializers of the main graph by name, for instance with those of a
	// fine-tuned checkpoint. Shapes must be the model's; floats are converted to its width.
	Weights map[string]*tensor.Tensor
	// WeightNames gives, for initializers called otherwise there, the name in Weights.
	WeightNames map[string]string
	// Inputs names initializers that stay inputs of the graph. A model may list an
	// initializer among its inputs: a default value that callers can override. It is
	// imported as a constant, which optimises better, unless named here.
	Inputs []string
	// NoMap reads files into memory instead of mapping them. A mapping lasts as long as
	// the process, because tensors view it.
	NoMap bool

	fsys fs.FS  // where external data lies; nil: nowhere
	dir  string // the model's folder in fsys
	file string // what errors call the model
}

func pick(opts []Options) (Options, error) {
	var o Options
	switch len(opts) {
	case 0:
	case 1:
		o = opts[0]
	default:
		return o, fmt.Errorf("onnx: %d Options given, want at most one", len(opts))
	}
	if o.Limits.Nodes < 0 || o.Limits.Depth < 0 || o.Limits.Bytes < 0 || o.Limits.Elems < 0 {
		return o, fmt.Errorf("onnx: limits must not be negative: %+v", o.Limits)
	}
	if o.Ops == nil {
		o.Ops = ops.NewTable()
	}
	return o, nil
}
