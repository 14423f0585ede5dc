// Package dump shows what each pass did to a graph: one text file per pass that changed
// something, and one page, index.html, with a column per pass.
//
//	d, err := dump.New(dir)
//	opts.Observe = d.Observe
//	report, err := passes.Run(ctx, g, opts)
//	err = errors.Join(err, d.Close()) // also after a failure: the columns so far
package dump

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/passes"
)

// Dumper writes dumps into one folder. It is not safe for concurrent use.
type Dumper struct {
	dir     string
	title   string
	text    irtext.Printer
	columns []column
	steps   int
}

// column is one step of the pipeline on the page.
type column struct {
	Name, Doc, Effect string
	Time              string
	Before, After     int
	Changed           bool
	Lines             []line
}

// New makes a Dumper for a folder, which it creates.
func New(dir string) (*Dumper, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	return &Dumper{dir: dir}, nil
}

// Observe takes one step of the pipeline; it is meant for passes.Options.Observe. A step
// that changed the graph, and the first, is written to NN_name.ir.
func (d *Dumper) Observe(s passes.Step, g *ir.Graph) error {
	c := column{
		Name: s.Pass, Doc: s.Doc, Before: s.Before, After: s.After,
		Changed: s.Changed || d.steps == 0,
	}
	if d.steps == 0 {
		d.title = g.Name
	} else {
		c.Effect, c.Time = s.Effect.String(), s.Time.Round(time.Microsecond).String()
	}
	var err error
	if c.Changed {
		var b bytes.Buffer
		if err = d.text.Print(&b, g); err == nil {
			c.Lines = lines(b.String(), valueNames(g))
			err = d.write(s.Pass+".ir", b.Bytes())
		}
	}
	d.columns = append(d.columns, c)
	d.steps++
	return err
}

// Text adds a column of plain text, such as the program that codegen made, and writes it
// to NN_name.txt.
func (d *Dumper) Text(name, doc, text string) error {
	err := d.write(name+".txt", []byte(text))
	d.columns = append(d.columns, column{Name: name, Doc: doc, Changed: true, Lines: lines(text, nil)})
	d.steps++
	return err
}

// Close writes index.html.
func (d *Dumper) Close() error {
	var b bytes.Buffer
	if err := render(&b, d.title, d.columns); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, "index.html"), b.Bytes(), 0o666)
}

func (d *Dumper) write(name string, text []byte) error {
	return os.WriteFile(filepath.Join(d.dir, fmt.Sprintf("%02d_%s", d.steps, name)), text, 0o666)
}

// valueNames are the names of all values, those of subgraphs included.
func valueNames(g *ir.Graph) map[string]bool {
	names := map[string]bool{}
	var walk func(g *ir.Graph)
	walk = func(g *ir.Graph) {
		for _, v := range g.Values() {
			names[v.Name] = true
		}
		for _, n := range g.Nodes {
			for _, s := range n.Subgraphs {
				walk(s)
			}
		}
	}
	walk(g)
	return names
}
