package ir

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of failure, for errors.Is.
var (
	ErrUnsupportedOp   = errors.New("unsupported operator")
	ErrUnsupportedType = errors.New("unsupported type")
	ErrShape           = errors.New("shapes do not fit")
	ErrType            = errors.New("wrong element type")
	ErrAttr            = errors.New("bad attribute")
	ErrGraph           = errors.New("malformed graph")
	ErrModel           = errors.New("malformed model file")
	ErrLimit           = errors.New("limit exceeded")
	ErrInput           = errors.New("bad input")
)

// Error says where in the user's model something went wrong.
type Error struct {
	File   string   // the model file, when known
	Origin []string // the user's node names
	Op     string   // "MatMul", "moec::MoE"
	Pass   string   // the pass that was running, if any
	Err    error
}

// Error prints "model.onnx: pass fold: node "a" (MatMul): shapes do not fit: ...".
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		fmt.Fprintf(&b, "%s: ", e.File)
	}
	if e.Pass != "" {
		fmt.Fprintf(&b, "pass %s: ", e.Pass)
	}
	switch {
	case len(e.Origin) > 0:
		fmt.Fprintf(&b, "node %q (%s): ", strings.Join(e.Origin, "+"), e.Op)
	case e.Op != "":
		fmt.Fprintf(&b, "%s: ", e.Op)
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// NodeError wraps err with the node it belongs to, unless it names one already.
func NodeError(n *Node, err error) error {
	var ne *Error
	if errors.As(err, &ne) && (len(ne.Origin) > 0 || ne.Op != "") {
		return err
	}
	origin := n.Origin
	if len(origin) == 0 {
		origin = []string{n.Name}
	}
	return &Error{Origin: origin, Op: n.Op.String(), Err: err}
}

func limitError(shape []int, limit int) error {
	if limit == 0 {
		return fmt.Errorf("%w: shape %v is not possible", ErrShape, shape)
	}
	return fmt.Errorf("%w: a value of shape %v has more than %d elements (raise it with --max-elems)", ErrLimit, shape, limit)
}
