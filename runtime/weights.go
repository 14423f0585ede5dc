package runtime

import (
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/hugepage"
)

// HugePages says whether a session copies the packed weights of its program into memory of
// huge pages, and takes its working memory from there.
type HugePages uint8

// The choices. docs/PERFORMANCE.md has what they were measured to bring: products read
// their weights faster from huge pages than from the mapped file at every size measured,
// so that Auto copies wherever the system gives such pages and the packed weights fill at
// least one. A copy costs time and memory once per session: Off suits a program that runs
// its model once.
const (
	HugePagesAuto HugePages = iota
	HugePagesOff
	HugePagesOn // copies whatever the system says; the copy may end up in ordinary pages
)

// copyWeights returns the data of every constant: of packed ones a copy in huge pages where
// choice says so, of all others the program's own.
func copyWeights(p *plan.Program, choice HugePages) ([]*tensor.Tensor, error) {
	data := make([]*tensor.Tensor, len(p.Consts))
	total := 0
	for i, c := range p.Consts {
		data[i] = c.Data
		if c.Layout != "" && c.Data != nil {
			total += padded(len(c.Data.Bytes()))
		}
	}
	switch {
	case choice == HugePagesOff || total == 0:
		return data, nil
	case choice == HugePagesAuto && (total < hugepage.Size || !hugepage.Available()):
		return data, nil
	}
	block := hugepage.Bytes(total)
	for i, c := range p.Consts {
		if c.Layout == "" || c.Data == nil {
			continue
		}
		from := c.Data.Bytes()
		to := block[:len(from):len(from)]
		block = block[padded(len(from)):]
		copy(to, from)
		p.Release(from)
		t, err := tensor.FromBytes(c.Data.DType(), c.Data.Shape(), to)
		if err != nil {
			return nil, err
		}
		data[i] = t
	}
	return data, nil
}

// padded is n rounded up to whole cache lines.
func padded(n int) int { return (n + arenaAlign - 1) &^ (arenaAlign - 1) }

// memory is n bytes to work in.
func (s *Session) memory(n int) []byte {
	if s.opt.HugePages == HugePagesOff {
		return tensor.AlignedBytes(n)
	}
	return hugepage.Bytes(n)
}
