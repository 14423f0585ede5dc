package passes

import (
	"context"
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// CSE merges constants of the same contents and nodes that compute the same.
func CSE() Pass {
	return Pass{
		Name: "cse", Doc: "Share constants of the same contents and nodes that compute the same.", Effect: Exact,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.shareConstants()
			e.shareNodes()
			return e.done()
		},
	}
}

func (e *edit) shareConstants() {
	seed := maphash.MakeSeed()
	byHash := map[uint64][]*ir.Value{}
	for _, v := range e.g.Values() {
		if !v.IsConst() {
			continue
		}
		h := contentHash(seed, v.Const)
		first := (*ir.Value)(nil)
		for _, w := range byHash[h] {
			if w.Const == v.Const || tensor.Equal(w.Const, v.Const) {
				first = w
				break
			}
		}
		if first == nil {
			byHash[h] = append(byHash[h], v)
			continue
		}
		if len(v.Users()) > 0 && !e.g.IsOutput(v) {
			e.g.ReplaceUses(v, first)
			e.changed = true
		}
	}
}

func contentHash(seed maphash.Seed, t *tensor.Tensor) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(t.String())
	h.Write(t.Bytes())
	for _, s := range t.Strings() {
		fmt.Fprintf(&h, "%q", s)
	}
	return h.Sum64()
}

func (e *edit) shareNodes() {
	var p irtext.Printer
	seen := map[string]*ir.Node{}
	for _, n := range e.g.Nodes {
		if n.Op.Random || len(n.Subgraphs) > 0 {
			continue
		}
		var key strings.Builder
		fmt.Fprintf(&key, "%s %d {%s}", n.Op, len(n.Outputs), p.Attrs(n.Op, n.Attrs))
		for _, v := range n.Inputs {
			if v == nil {
				key.WriteString(" _")
			} else {
				fmt.Fprintf(&key, " %d", v.ID)
			}
		}
		first := seen[key.String()]
		if first == nil || !e.share(first, n) {
			seen[key.String()] = n
		}
	}
}

// share makes the readers of n's outputs read first's, when first has all of them.
func (e *edit) share(first, n *ir.Node) bool {
	for i, v := range n.Outputs {
		if v != nil && (first.Outputs[i] == nil || !e.can(v, first.Outputs[i])) {
			return false
		}
	}
	for i, v := range n.Outputs {
		if v != nil && (len(v.Users()) > 0 || e.g.IsOutput(v)) {
			e.g.ReplaceUses(v, first.Outputs[i])
			e.changed = true
		}
	}
	first.Origin = ir.Merge(first, n)
	return true
}
