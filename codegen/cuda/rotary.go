package cuda

import (
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// maxEnds is how many numbers a thread that turns a pair copies beside it at most.
const maxEnds = 8

// rotary is a launch over the pairs, and one each to copy what does not turn: ends of the heads of odd lengths and, where
// anybody reads it there, the tail.
func (l *Lowering) rotary(n *ir.Node) (*Choice, error) {
	if err := allF32(n); err != nil {
		return nil, err
	}
	a := n.Attrs.(*ops.FusedRotaryAttrs)
	x, y := n.Inputs[0], n.Outputs[0]
	view, from := ptx.Contiguous(l.dims.of(x)), x
	if s, behind := l.strided(x); s.Strides[len(s.Strides)-1].Is(1) {
		view, from = s, behind
	}
	args, err := l.operands(from, n.Inputs[1], n.Inputs[2])
	if err != nil {
		return nil, err
	}
	table := l.dims.of(n.Inputs[1])
	width, ok := table[2].Const()
	if !ok {
		return nil, decline("a table of cosines of unknown width")
	}
	batch, positions := l.dims.of(x)[0], l.dims.of(x)[1]
	if a.Layout == ops.LayoutBHSD {
		positions = l.dims.of(x)[2]
	}
	// All launches walk [batch, position, head, element].
	lay := func(v ptx.View, layout string) ptx.View {
		s := v.Strides
		if layout == ops.LayoutBHSD {
			return ptx.View{Offset: v.Offset, Strides: []ptx.Expr{s[0], s[2], s[1], ptx.N(1)}}
		}
		return ptx.View{Offset: v.Offset, Strides: []ptx.Expr{s[0], s[1], ptx.N(int(a.HeadDim)), ptx.N(1)}}
	}
	part := func(v ptx.View, offset int64, step int) ptx.View {
		return ptx.View{
			Strides: []ptx.Expr{v.Strides[0], v.Strides[1], v.Strides[2], ptx.N(step)},
			Offset:  v.Offset.AddN(int(offset)),
		}
	}
	in, out := lay(view, a.Layout), lay(ptx.Contiguous(l.dims.of(y)), a.OutLayout)
	in.Offset = in.Offset.AddN(int(a.Offset))
	half, step, numbers := a.RotaryDim/2, 1, int(width)
	p, q, atP, atQ := a.Pair(0, numbers)
	if a.Interleaved {
		step = 2
	}
	angle := ptx.View{Strides: ptx.Contiguous(table).Strides}
	angle.Strides = []ptx.Expr{stretch(angle.Strides[0], table[0], batch), angle.Strides[1], ptx.N(0), ptx.N(1)}
	angleStep := 1
	if numbers != int(half) {
		angleStep = step
	}
	cosP, cosQ := part(angle, int64(atP), angleStep), part(angle, int64(atQ), angleStep)

	dt := l.float
	var prog ptx.Program
	xp, xq := prog.In(dt), prog.In(dt)
	cp, sp, cq, sq := prog.In(dt), prog.In(dt), prog.In(dt), prog.In(dt)
	// The ends of the heads come along, where they are a few times as long as what a thread turns.
	ends := a.HeadDim - a.RotaryDim
	var along []int
	for half > 0 && ends > 0 && ends%half == 0 && ends <= maxEnds*half {
		along = append(along, prog.In(dt))
		ends -= half
	}
	prog.Out(prog.Do("sub", prog.Do("mul", xp, cp), prog.Do("mul", xq, sp)), dt)
	prog.Out(prog.Do("add", prog.Do("mul", xq, cq), prog.Do("mul", xp, sq)), dt)
	shape := func(heads, width int64) []ptx.Expr {
		return []ptx.Expr{batch, positions, ptx.N(int(heads)), ptx.N(int(width))}
	}
	c := &Choice{Kernel: plan.KernelLaunch}
	launch := func(e ptx.Elementwise, args ...Operand) error {
		k, err := emit(e)
		if err != nil {
			return err
		}
		c.Launches = append(c.Launches, Launch{Kernel: k, Args: args})
		return nil
	}
	turn := ptx.Elementwise{
		Name: "rotary", Shape: shape(a.Heads, half),
		Inputs:  []ptx.View{part(in, int64(p), step), part(in, int64(q), step), cosP, cosP, cosQ, cosQ},
		Outputs: []ptx.View{part(out, int64(p), step), part(out, int64(q), step)},
	}
	reads, writes := []Operand{args[0], args[0], args[1], args[2], args[1], args[2]}, []Operand{{Value: y}, {Value: y}}
	for i, v := range along {
		at := a.RotaryDim + int64(i)*half
		prog.Out(v, dt)
		turn.Inputs, turn.Outputs = append(turn.Inputs, part(in, at, 1)), append(turn.Outputs, part(out, at, 1))
		reads, writes = append(reads, args[0]), append(writes, Operand{Value: y})
	}
	turn.Prog = prog
	if err := launch(turn, append(reads, writes...)...); err != nil {
		return nil, err
	}
	move := func(heads, first, width int64) error {
		if width == 0 {
			return nil
		}
		var p ptx.Program
		p.Out(p.In(dt), dt)
		return launch(ptx.Elementwise{
			Name: "move", Shape: shape(heads, width), Prog: p,
			Inputs: []ptx.View{part(in, first, 1)}, Outputs: []ptx.View{part(out, first, 1)},
		}, args[0], Operand{Value: y})
	}
	if err := move(a.Heads, a.HeadDim-ends, ends); err != nil {
		return nil, err
	}
	if !l.tailRead(n) {
		return c, nil
	}
	return c, move(1, a.Heads*a.HeadDim, a.Tail)
}

// tailRead reports whether anybody reads the numbers behind the heads from a rotation's output.
func (l *Lowering) tailRead(n *ir.Node) bool {
	y, heads := n.Outputs[0], n.Attrs.(*ops.FusedRotaryAttrs)
	if l.g.IsOutput(y) {
		return true
	}
	end := heads.Heads * heads.HeadDim
	for _, u := range y.Users() {
		a, ok := u.Attrs.(*ops.FusedAttentionAttrs)
		if !ok || l.choices[u] == nil || l.choices[u].Kernel != plan.KernelLaunch {
			return true
		}
		if u.Inputs[0] == y && (a.QLayout != ops.LayoutBSD || a.QOffset+a.Heads*a.HeadDim > end) || u.Inputs[1] == y && (a.KLayout != ops.LayoutBSD || a.KOffset+a.KVHeads*a.HeadDim > end) || input(u, 3) == y {
			return true
		}
		if from, _ := beforeRotary(u.Inputs[2], a); from == y {
			return true
		}
	}
	return false
}
