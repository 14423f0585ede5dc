package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/session"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestDamagedLaunches: files whose launches have been tampered with give an error, or some other result; never a panic. Whatever the plan says, the device gets as many arguments as the kernel takes.
func TestDamagedLaunches(t *testing.T) {
	c := variantCases()["moe_shared"]
	g := ir.NewGraph("net", ops.NewTable())
	r := rand.New(rand.NewPCG(1, 2))
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(int64(c.d))))
	g.Outputs = []*ir.Value{c.build(g, x, func(name string, shape ...int) *ir.Value { return g.NewConst(name, random(r, .3, shape...)) })}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(context.Background(), g, codegen.Target{Device: "cuda"})
	if err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if err := plan.Write(&whole, p); err != nil {
		t.Fatal(err)
	}
	outcomes := map[bool]int{}
	tries := 150
	if testing.Short() {
		tries = 30
	}
	for i := range tries {
		p, err := plan.Decode(whole.Bytes(), ops.NewTable())
		if err != nil {
			t.Fatal(err)
		}
		what := damage(r, p)
		var file bytes.Buffer
		if err := plan.Write(&file, p); err != nil {
			t.Fatal(err)
		}
		if p, err = plan.Decode(file.Bytes(), ops.NewTable()); err != nil {
			if !errors.Is(err, plan.ErrFormat) {
				t.Errorf("%d, %s: %v", i, what, err)
			}
			outcomes[false]++
			continue
		}
		func() {
			defer func() {
				if v := recover(); v != nil {
					t.Errorf("%d, %s: panic: %v", i, what, v)
				}
			}()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			dev, err := cuda.Emulator{Options: emu.Options{MaxSteps: 1 << 16}, Context: ctx}.Open(0)
			if err != nil {
				t.Fatal(err)
			}
			s, err := session.New(p, dev, session.Options{})
			if err != nil {
				outcomes[false]++
				return
			}
			defer s.Close()
			for _, n := range []int{2, 70} {
				_, err := s.Run(ctx, map[string]*tensor.Tensor{"x": tensor.New(tensor.F32, n, c.d)})
				outcomes[err == nil]++
			}
		}()
	}
	if outcomes[true] == 0 || outcomes[false] == 0 {
		t.Errorf("outcomes: %v", outcomes)
	}
}

// damage changes one thing about a step's launches and says what.
func damage(r *rand.Rand, p *plan.Program) string {
	st := p.Main().Steps[0]
	v := plan.Variant{Launches: st.Launches, Temps: st.Temps}
	if r.IntN(2) == 0 {
		v = st.Variants[r.IntN(len(st.Variants))]
	}
	l := &v.Launches[r.IntN(len(v.Launches))]
	texts := []string{"", "n", "-n", "n*n", "u32:-1", "u32:70000", "t0", "t9", "t-1", "v0", "v999", "ceildiv(n,3)", "m", "0", "1", strconv.Itoa(r.IntN(100))}
	text := texts[r.IntN(len(texts))]
	at := r.IntN(len(l.Args))
	switch r.IntN(9) {
	case 0:
		l.Args[at] = text
	case 1:
		l.Args = l.Args[:at]
	case 2:
		l.Args = append(l.Args, text)
	case 3:
		l.Grid[r.IntN(3)] = text
	case 4:
		l.Block = r.IntN(2000) - 100
	case 5:
		l.Shared = r.IntN(1 << 18)
	case 6:
		v.Temps[r.IntN(len(v.Temps))].Bytes = text
	case 7:
		st.Variants[0].When = text + "<=" + texts[r.IntN(len(texts))]
	default:
		s := &p.Main().Symbols[0]
		s.Value, s.Axis = r.IntN(len(p.Main().Values)), r.IntN(4)
	}
	return fmt.Sprintf("launch %s, %q", l.Kernel, text)
}
