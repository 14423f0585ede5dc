package tensorio

import (
	"strconv"
	"strings"
)

// literal reads the small part of Python's literal syntax that npy headers use.
type literal struct {
	s      string
	failed bool
}

func (p *literal) accept(tok string) bool {
	p.s = strings.TrimLeft(p.s, " \t\n")
	if p.failed || !strings.HasPrefix(p.s, tok) {
		return false
	}
	p.s = p.s[len(tok):]
	return true
}

func (p *literal) expect(tok string) {
	if !p.accept(tok) {
		p.failed = true
	}
}

// str reads a quoted string; those in npy headers have no escapes.
func (p *literal) str() string {
	quote := "'"
	if !p.accept(quote) {
		quote = `"`
		p.expect(quote)
	}
	in, rest, ok := strings.Cut(p.s, quote)
	if !ok || p.failed {
		p.failed = true
		return ""
	}
	p.s = rest
	return in
}

// tuple reads a tuple of non-negative integers.
func (p *literal) tuple() []int {
	p.expect("(")
	out := []int{}
	for !p.failed && !p.accept(")") {
		end := 0
		p.s = strings.TrimLeft(p.s, " \t\n")
		for end < len(p.s) && p.s[end] >= '0' && p.s[end] <= '9' {
			end++
		}
		n, err := strconv.Atoi(p.s[:end])
		if err != nil || len(out) == maxRank {
			p.failed = true
			return nil
		}
		p.s = strings.TrimPrefix(p.s[end:], "L") // Python 2 wrote long integers so
		out = append(out, n)
		if !p.accept(",") {
			p.expect(")")
			break
		}
	}
	return out
}
