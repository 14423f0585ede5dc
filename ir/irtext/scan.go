package irtext

import (
	"fmt"
	"strconv"
	"strings"
)

// scanner cuts the text into words, quoted strings and punctuation. Blanks, line ends
// and // comments separate; they mean nothing else.
type scanner struct {
	src string
	pos int
}

func isWordByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("_./%:$-", c) >= 0
}

// isDimByte are the bytes of a dimension's name: also what expressions are made of.
func isDimByte(c byte) bool { return isWordByte(c) || strings.IndexByte("*+()", c) >= 0 }

// bareWord reports whether a name can stand without quotes: it is made of word bytes
// and would not be taken for a number, a comment, a keyword or an absent value.
func bareWord(s string) bool {
	switch s {
	case "", "_", "as", "graph", "return":
		return false
	}
	if strings.HasSuffix(s, ":") || strings.HasPrefix(s, "//") || s[0] == '-' || s[0] == ':' || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	return all(s, isWordByte)
}

func bareDim(s string) bool {
	if s == "" || s == "..." || strings.HasPrefix(s, "//") || s[0] == '-' || isDigits(s) {
		return false
	}
	return all(s, isDimByte)
}

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

// peek is the next byte after blanks and comments, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.src) {
		switch c := s.src[s.pos]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			s.pos++
		case strings.HasPrefix(s.src[s.pos:], "//"):
			end := strings.IndexByte(s.src[s.pos:], '\n')
			if end < 0 {
				s.pos = len(s.src)
				return 0
			}
			s.pos += end
		default:
			return c
		}
	}
	return 0
}

// accept takes the given punctuation if it comes next.
func (s *scanner) accept(tok string) bool {
	s.peek()
	if !strings.HasPrefix(s.src[s.pos:], tok) {
		return false
	}
	s.pos += len(tok)
	return true
}

// keyword takes the given bare word if it comes next.
func (s *scanner) keyword(w string) bool {
	s.peek()
	rest := s.src[s.pos:]
	if !strings.HasPrefix(rest, w) || len(rest) > len(w) && isWordByte(rest[len(w)]) {
		return false
	}
	s.pos += len(w)
	return true
}

func (s *scanner) expect(tok string) error {
	if s.accept(tok) {
		return nil
	}
	return s.errorf("expected %q", tok)
}

// word reads a bare word or a quoted string. quoted tells which: _ is an absent value,
// "_" is a name.
func (s *scanner) word() (w string, quoted bool, err error) {
	if s.peek() == '"' {
		w, err = s.quoted()
		return w, true, err
	}
	w = s.run(isWordByte)
	// "x: f32" is the word x and a colon.
	if t := strings.TrimRight(w, ":"); t != w {
		s.pos -= len(w) - len(t)
		w = t
	}
	if w == "" {
		return "", false, s.errorf("expected a name")
	}
	return w, false, nil
}

func (s *scanner) run(ok func(byte) bool) string {
	start := s.pos
	for s.pos < len(s.src) && ok(s.src[s.pos]) {
		s.pos++
	}
	return s.src[start:s.pos]
}

func (s *scanner) quoted() (string, error) {
	q, err := strconv.QuotedPrefix(s.src[s.pos:])
	if err != nil || q[0] != '"' {
		return "", s.errorf("expected a quoted string")
	}
	w, err := strconv.Unquote(q)
	if err != nil {
		return "", s.errorf("bad quoted string")
	}
	s.pos += len(q)
	return w, nil
}

func (s *scanner) errorf(format string, args ...any) error {
	line := 1 + strings.Count(s.src[:s.pos], "\n")
	col := s.pos - strings.LastIndexByte(s.src[:s.pos], '\n')
	found := "the end"
	if s.pos < len(s.src) {
		rest := s.src[s.pos:]
		if i := strings.IndexByte(rest, '\n'); i >= 0 {
			rest = rest[:i]
		}
		found = strconv.Quote(rest[:min(len(rest), 24)])
	}
	return fmt.Errorf("%d:%d: %s, found %s", line, col, fmt.Sprintf(format, args...), found)
}
