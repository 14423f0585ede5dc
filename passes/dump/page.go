package dump

import (
	_ "embed"
	"html/template"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// line is one line of a column, cut into tokens.
type line struct {
	Indent    int
	New, Gone bool // not in the column before; not in the next
	Tokens    []token
	text      string
}

// token is a piece of a line. Tokens with the same key are the same value, or the same
// node of the user's model, and light up together.
type token struct {
	Class string // "v" value, "o" origin, "f" op, "t" type, "" the rest
	Text  string
	Key   int
	key   string
}

var (
	wordRE = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[\w./%:$-]+`)
	typeRE = regexp.MustCompile(`^(f32|f64|f16|bf16|bool|[iu](8|16|32|64|4|2)|string|c64|c128|f8\w+|f4\w+)$`)
)

// lines cuts text into lines and tokens. values are the names that stand for values; nil
// means plain text.
func lines(text string, values map[string]bool) []line {
	var out []line
	for s := range strings.Lines(text) {
		s = strings.TrimSuffix(s, "\n")
		body := strings.TrimLeft(s, " ")
		l := line{Indent: len(s) - len(body), text: body}
		if values == nil {
			l.Tokens = []token{{Text: body}}
		} else {
			l.Tokens = tokens(body, values)
		}
		out = append(out, l)
	}
	return out
}

func tokens(s string, values map[string]bool) []token {
	var out []token
	at, origins := 0, false
	for _, m := range wordRE.FindAllStringIndex(s, -1) {
		if m[0] > at {
			gap := s[at:m[0]]
			origins = origins || strings.Contains(gap, "@")
			out = append(out, token{Text: gap})
		}
		w := s[m[0]:m[1]]
		at = m[1]
		colon := ""
		if strings.HasSuffix(w, ":") { // the colon before a type
			w, colon = w[:len(w)-1], ":"
		}
		name := w
		if u, err := strconv.Unquote(w); err == nil {
			name = u
		}
		t := token{Text: w}
		switch {
		case origins:
			t.Class, t.key = "o", "o:"+name
		case typeRE.MatchString(w) && at < len(s) && s[at] == '[':
			t.Class = "t"
		case strings.HasPrefix(s[at:], "(") && strings.HasSuffix(s[:m[0]], " = "):
			t.Class = "f"
		case values[name] && !strings.HasSuffix(s[:m[0]], "#"):
			t.Class, t.key = "v", "v:"+name
		}
		out = append(out, t)
		if colon != "" {
			out = append(out, token{Text: colon})
		}
	}
	if at < len(s) {
		out = append(out, token{Text: s[at:]})
	}
	return out
}

// mark compares neighbouring columns line by line and numbers the keys.
func mark(columns []column) {
	var last *column
	keys := map[string]int{}
	for i := range columns {
		c := &columns[i]
		if !c.Changed {
			continue
		}
		for j := range c.Lines {
			for k := range c.Lines[j].Tokens {
				t := &c.Lines[j].Tokens[k]
				if t.key == "" {
					continue
				}
				if keys[t.key] == 0 {
					keys[t.key] = len(keys) + 1
				}
				t.Key = keys[t.key]
			}
		}
		if last != nil && c.Effect != "" {
			was, is := texts(last), texts(c)
			for j := range c.Lines {
				c.Lines[j].New = !was[c.Lines[j].text]
			}
			for j := range last.Lines {
				last.Lines[j].Gone = !is[last.Lines[j].text]
			}
		}
		last = c
	}
}

func texts(c *column) map[string]bool {
	m := make(map[string]bool, len(c.Lines))
	for _, l := range c.Lines {
		m[l.text] = true
	}
	return m
}

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

func render(w io.Writer, title string, columns []column) error {
	mark(columns)
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return err
	}
	if title == "" {
		title = "graph"
	}
	return t.Execute(w, struct {
		Title   string
		CSS     template.CSS
		JS      template.JS
		Columns []column
	}{title, template.CSS(pageCSS), template.JS(pageJS), columns})
}
