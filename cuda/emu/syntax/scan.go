package syntax

import "strings"

// token kinds: an identifier (opcodes, directives, registers and labels,
// dots included), a number, a string, a punctuation byte, the end.
type tokenKind uint8

const (
	tEOF tokenKind = iota
	tIdent
	tNumber
	tString
	tPunct
)

type token struct {
	kind tokenKind
	text string
	line int
	pos  int // byte offset of its start
	end  int
}

type scanner struct {
	src  string
	pos  int
	line int
}

func isIdentStart(c byte) bool {
	return c == '_' || c == '$' || c == '%' || c == '.' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (s *scanner) skipSpace() {
	for s.pos < len(s.src) {
		c := s.src[s.pos]
		switch {
		case c == '\n':
			s.line++
			s.pos++
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
			s.pos++
		case strings.HasPrefix(s.src[s.pos:], "//"):
			i := strings.IndexByte(s.src[s.pos:], '\n')
			if i < 0 {
				s.pos = len(s.src)
			} else {
				s.pos += i
			}
		case strings.HasPrefix(s.src[s.pos:], "/*"):
			i := strings.Index(s.src[s.pos+2:], "*/")
			end := len(s.src)
			if i >= 0 {
				end = s.pos + 2 + i + 2
			}
			s.line += strings.Count(s.src[s.pos:end], "\n")
			s.pos = end
		default:
			return
		}
	}
}

// skipLine drops the rest of the line: debug directives end there.
func (s *scanner) skipLine() {
	if i := strings.IndexByte(s.src[s.pos:], '\n'); i >= 0 {
		s.pos += i
	} else {
		s.pos = len(s.src)
	}
}

func (s *scanner) next() token {
	s.skipSpace()
	start, line := s.pos, s.line
	if s.pos >= len(s.src) {
		return token{kind: tEOF, line: line, pos: start, end: start}
	}
	mk := func(k tokenKind) token {
		return token{kind: k, text: s.src[start:s.pos], line: line, pos: start, end: s.pos}
	}
	c := s.src[s.pos]
	switch {
	case isIdentStart(c):
		for s.pos < len(s.src) {
			c := s.src[s.pos]
			if c == '.' && s.pos > start && s.src[start] == '.' {
				break // ".reg.b32" is two words
			}
			if isIdentStart(c) || isDigit(c) {
				s.pos++
				continue
			}
			// "::" joins a qualifier such as L2::128B; a single colon ends a label.
			if c == ':' && s.pos+2 < len(s.src) && s.src[s.pos+1] == ':' && (isIdentStart(s.src[s.pos+2]) || isDigit(s.src[s.pos+2])) {
				s.pos += 2
				continue
			}
			break
		}
		return mk(tIdent)
	case isDigit(c):
		for s.pos < len(s.src) {
			c := s.src[s.pos]
			exp := (c == '+' || c == '-') && !strings.HasPrefix(s.src[start:s.pos], "0") &&
				(s.src[s.pos-1] == 'e' || s.src[s.pos-1] == 'E')
			if isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || exp {
				s.pos++
				continue
			}
			break
		}
		return mk(tNumber)
	case c == '"':
		s.pos++
		for s.pos < len(s.src) && s.src[s.pos] != '"' && s.src[s.pos] != '\n' {
			if s.src[s.pos] == '\\' && s.pos+1 < len(s.src) {
				s.pos++
			}
			s.pos++
		}
		if s.pos < len(s.src) && s.src[s.pos] == '"' {
			s.pos++
		}
		if s.pos > len(s.src) {
			s.pos = len(s.src)
		}
		return mk(tString)
	}
	s.pos++
	return mk(tPunct)
}
