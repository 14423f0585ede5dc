package plan

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Print writes the program as text, one step per line: the form that golden tests
// compare and `moec inspect --plan` shows.
func Print(w io.Writer, p *Program) error {
	ew := &errWriter{w: w}
	fmt.Fprintf(ew, "program target=%s", p.Target.Device)
	if p.Target.GPU != "" {
		fmt.Fprintf(ew, " gpu=%s", p.Target.GPU)
	}
	if p.Target.Precision != "" {
		fmt.Fprintf(ew, " precision=%s", p.Target.Precision)
	}
	fmt.Fprintf(ew, " consts=%d weights=%d\n", len(p.Consts), p.WeightBytes())
	for i, f := range p.Funcs {
		printFunc(ew, p, i, f)
	}
	return ew.err
}

func printFunc(w io.Writer, p *Program, i int, f *Func) {
	fmt.Fprintf(w, "\nfunc %d %q\n", i, f.Name)
	for _, v := range f.Inputs {
		fmt.Fprintf(w, "  input  v%-4d %s %q\n", v, f.Values[v].Type, f.Values[v].Name)
	}
	for _, v := range f.Outputs {
		fmt.Fprintf(w, "  output v%-4d %s %q\n", v, f.Values[v].Type, f.Values[v].Name)
	}
	for _, s := range f.Symbols {
		fmt.Fprintf(w, "  symbol %s = v%d axis %d\n", s.Name, s.Value, s.Axis)
	}
	for _, s := range f.Steps {
		fmt.Fprintf(w, "  %s = %s", valueList(f, s.Out, true), s.Kernel)
		if s.Kernel != s.Op.String() {
			fmt.Fprintf(w, " %s", s.Op)
		}
		if a := attrText(s.Attrs); a != "" {
			fmt.Fprintf(w, "{%s}", a)
		}
		fmt.Fprintf(w, "(%s)", valueList(f, s.In, false))
		for _, sub := range s.Subs {
			fmt.Fprintf(w, " func=%d", sub)
		}
		if len(s.Also) > 0 {
			fmt.Fprintf(w, " also %s", valueList(f, s.Also, false))
		}
		if len(s.Origin) > 0 {
			fmt.Fprintf(w, "  # %s", strings.Join(s.Origin, " "))
		}
		if s.Note != "" {
			fmt.Fprintf(w, "  ; %s", s.Note)
		}
		fmt.Fprintln(w)
		for i := range s.Variants {
			v := &s.Variants[i]
			fmt.Fprintf(w, "    when %s:", v.When)
			if v.Reorders {
				fmt.Fprint(w, "  ; adds in another order than the launches for other sizes")
			}
			fmt.Fprintln(w)
			printLaunches(w, v, "      ")
		}
		indent := "    "
		if len(s.Variants) > 0 {
			fmt.Fprintln(w, "    otherwise:")
			indent = "      "
		}
		printLaunches(w, &Variant{Launches: s.Launches, Temps: s.Temps}, indent)
	}
	for v := range f.Values {
		c := f.Values[v].Const
		if c < 0 {
			continue
		}
		k := p.Consts[c]
		fmt.Fprintf(w, "  const  v%-4d c%d %s", v, c, ir.MakeType(k.DType, ir.Dims(k.Shape...)...))
		if k.Layout != "" {
			fmt.Fprintf(w, " layout=%s", k.Layout)
		}
		fmt.Fprintf(w, " %q\n", k.Name)
	}
}

func printLaunches(w io.Writer, v *Variant, indent string) {
	for _, l := range v.Launches {
		fmt.Fprintf(w, "%slaunch %s grid=%s block=%d shared=%d (%s)", indent, l.Kernel, strings.Join(l.Grid[:], ","), l.Block, l.Shared, strings.Join(l.Args, " "))
		if l.FLOPs != "" {
			fmt.Fprintf(w, " flops=%s", l.FLOPs)
		}
		if l.Bytes != "" {
			fmt.Fprintf(w, " bytes=%s", l.Bytes)
		}
		if l.Note != "" {
			fmt.Fprintf(w, "  ; %s", l.Note)
		}
		fmt.Fprintln(w)
	}
	for i, t := range v.Temps {
		fmt.Fprintf(w, "%stemp t%d bytes=%s", indent, i, t.Bytes)
		if t.Zero {
			fmt.Fprint(w, " zeroed once")
		}
		fmt.Fprintln(w)
	}
}

func valueList(f *Func, ids []int, types bool) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		switch {
		case id < 0:
			s[i] = "_"
		case types:
			s[i] = fmt.Sprintf("v%d:%s", id, f.Values[id].Type)
		default:
			s[i] = "v" + strconv.Itoa(id)
		}
	}
	return strings.Join(s, ", ")
}

func attrText(attrs any) string {
	var s []string
	for _, a := range ir.AttrsOf(attrs) {
		switch x := a.Value.(type) {
		case string:
			s = append(s, fmt.Sprintf("%s=%q", a.Name, x))
		case *tensor.Tensor:
			s = append(s, fmt.Sprintf("%s=%s", a.Name, x))
		default:
			s = append(s, fmt.Sprintf("%s=%v", a.Name, x))
		}
	}
	return strings.Join(s, " ")
}

type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) Write(b []byte) (int, error) {
	if e.err != nil {
		return len(b), nil
	}
	_, e.err = e.w.Write(b)
	return len(b), nil
}
