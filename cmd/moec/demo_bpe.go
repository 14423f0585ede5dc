package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
)

// bpe splits words into the subwords of a byte-pair encoding in subword-nmt's file
// format (merges in order of preference, "</w>" ends a word) and names them by id.
type bpe struct {
	rank     map[[2]string]int
	src      map[string]int64
	tgt      []string
	eos, unk int64
}

func readBPE(fsys fs.FS, merges, vocab string) (*bpe, error) {
	f, err := fsys.Open(merges)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := &bpe{rank: map[[2]string]int{}, src: map[string]int64{}, eos: 2, unk: 3}
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if strings.HasPrefix(sc.Text(), "#version") {
			continue
		}
		l, r, ok := strings.Cut(strings.TrimSpace(sc.Text()), " ")
		if !ok {
			return nil, fmt.Errorf("%s: a merge needs two symbols: %q", merges, sc.Text())
		}
		b.rank[[2]string{l, r}] = len(b.rank)
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	data, err := fs.ReadFile(fsys, vocab)
	if err != nil {
		return nil, err
	}
	var v struct{ Src, Tgt []string }
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", vocab, err)
	}
	for i, s := range v.Src {
		b.src[s] = int64(i)
	}
	b.tgt = v.Tgt
	return b, nil
}

// encode turns text into source ids, EOS last.
func (b *bpe) encode(text string) []int64 {
	var ids []int64
	for _, w := range strings.Fields(text) {
		parts := b.split(w)
		for i, p := range parts {
			if i < len(parts)-1 {
				p += "@@"
			}
			id, ok := b.src[p]
			if !ok {
				id = b.unk
			}
			ids = append(ids, id)
		}
	}
	return append(ids, b.eos)
}

// split merges a word's characters by rank until no merge applies.
func (b *bpe) split(word string) []string {
	var s []string
	for _, r := range word {
		s = append(s, string(r))
	}
	s[len(s)-1] += "</w>"
	for {
		best, at := len(b.rank), -1
		for i := 0; i+1 < len(s); i++ {
			if r, ok := b.rank[[2]string{s[i], s[i+1]}]; ok && r < best {
				best, at = r, i
			}
		}
		if at < 0 {
			break
		}
		l, r := s[at], s[at+1]
		merged := s[:0:0]
		for i := 0; i < len(s); i++ {
			if i+1 < len(s) && s[i] == l && s[i+1] == r {
				merged = append(merged, l+r)
				i++
			} else {
				merged = append(merged, s[i])
			}
		}
		s = merged
	}
	s[len(s)-1] = strings.TrimSuffix(s[len(s)-1], "</w>")
	if s[len(s)-1] == "" {
		s = s[:len(s)-1]
	}
	return s
}

// decode joins target symbols into text, up to EOS.
func (b *bpe) decode(ids []int64) string {
	var sb strings.Builder
	for _, id := range ids {
		if id == b.eos || id < 0 || id >= int64(len(b.tgt)) {
			break
		}
		sym := b.tgt[id]
		if joined, ok := strings.CutSuffix(sym, "@@"); ok {
			sb.WriteString(joined)
		} else {
			sb.WriteString(sym + " ")
		}
	}
	return strings.TrimSpace(sb.String())
}
