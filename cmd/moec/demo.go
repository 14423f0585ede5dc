package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/runtime"
	"github.com/seed-c851cfd2/moec/runtime/decode"
	"github.com/seed-c851cfd2/moec/tests/testdata/detrans"
)

type demoArgs struct {
	text string
	beam int
	keep string
}

func (a *app) demoCommand() *cobra.Command {
	var d demoArgs
	cmd := &cobra.Command{
		Use:   "demo [TEXT]",
		Short: "Take the bundled pretrained model through the whole road",
		Long: "demo imports the bundled encoder-decoder, runs the passes, compiles it to a .moec, runs that, and\n" +
			"writes TEXT (Latin-script Manding) in N'Ko script; then it scores the evaluation pairs.",
		Args: rangeArgs(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.text = "musa dunbuya" // the package's documented example
			if len(args) > 0 {
				d.text = strings.Join(args, " ")
			}
			return a.demo(cmd.Context(), d)
		},
	}
	cmd.Flags().IntVar(&d.beam, "beam", 1, "beam width; 1 is greedy")
	cmd.Flags().StringVar(&d.keep, "keep", "", "keep the compiled model as this .moec file")
	return cmd
}

func (a *app) demo(ctx context.Context, d demoArgs) error {
	p, err := a.demoProgram(ctx, d.keep)
	if err != nil {
		return err
	}
	defer p.Close()
	s, err := runtime.New(p, runtime.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	voc, err := readBPE(detrans.Files, "bpe.code", "vocab.json")
	if err != nil {
		return err
	}
	start := time.Now()
	src := voc.encode(d.text)
	m := &decode.Prefix{
		Session: s, Tokens: "tgt_in_ids", Logits: "logits",
		Fixed: map[string]*tensor.Tensor{"src_ids": tensor.Of(src, 1, len(src))},
	}
	opt := decode.Options{Start: []int64{voc.eos}, EOS: voc.eos, MaxLen: 2*len(src) + 50, LengthPenalty: 1}
	var ids []int64
	if d.beam > 1 {
		hyps, err := decode.Beam(ctx, m, d.beam, opt)
		if err != nil {
			return err
		}
		ids = hyps[0].Tokens
	} else if ids, err = decode.Greedy(ctx, m, opt); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "input       %s\n", d.text)
	fmt.Fprintf(a.out, "prediction  %s   (%d tokens in %s)\n", voc.decode(ids), len(ids), time.Since(start).Round(time.Millisecond))
	return a.demoScore(ctx, s)
}

// demoProgram compiles the bundled model to a .moec and opens that.
func (a *app) demoProgram(ctx context.Context, keep string) (*plan.Program, error) {
	start := time.Now()
	g, err := onnx.Load(ctx, detrans.Files, "detrans.onnx", onnx.Options{Ops: a.ops})
	if err != nil {
		return nil, err
	}
	nodes := len(g.Nodes)
	if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
		return nil, err
	}
	p, err := codegen.Compile(ctx, g, codegen.Target{})
	if err != nil {
		return nil, err
	}
	path := keep
	if path == "" {
		dir, err := os.MkdirTemp("", "moec-demo")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "detrans.moec")
	}
	if err := plan.Save(path, p); err != nil {
		return nil, err
	}
	q, err := plan.Open(path, a.ops)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(a.out, "model       detrans: encoder-decoder, Latin-script Manding to N'Ko, %.1f M parameters (MIT)\n", float64(parameters(p))/1e6)
	fmt.Fprintf(a.out, "compiled    %d nodes to %d steps in %s\n", nodes, len(p.Main().Steps), time.Since(start).Round(time.Millisecond))
	return q, nil
}

func parameters(p *plan.Program) int {
	n := 0
	for _, c := range p.Consts {
		if c.DType.IsFloat() {
			n += tensor.NumElems(c.Shape)
		}
	}
	return n
}

// demoScore counts, over the evaluation pairs, how often the most likely next token is
// the right one when the true prefix is given. Padding is left out.
func (a *app) demoScore(ctx context.Context, s *runtime.Session) error {
	data, err := fs.ReadFile(detrans.Files, "detrans_eval.npz")
	if err != nil {
		return err
	}
	list, err := tensorio.DecodeNPZ(data, 0)
	if err != nil {
		return err
	}
	pairs := map[string]*tensor.Tensor{}
	for _, e := range list {
		pairs[e.Name] = e.Tensor
	}
	const rows, pad = 50, 1
	start := time.Now()
	right, agree, total := 0, 0, 0
	n := pairs["src_ids"].Shape()[0]
	for at := 0; at < n; at += rows {
		end := min(at+rows, n)
		out, err := s.Run(ctx, map[string]*tensor.Tensor{
			"src_ids": sliceRows(pairs["src_ids"], at, end), "tgt_in_ids": sliceRows(pairs["tgt_in_ids"], at, end),
		})
		if err != nil {
			return err
		}
		logits := tensor.Data[float32](out["logits"])
		want := tensor.Data[int64](sliceRows(pairs["tgt_out_ids"], at, end))
		ref := tensor.Data[int64](sliceRows(pairs["ref_top1"], at, end))
		vocab := out["logits"].Shape()[2]
		for i, w := range want {
			if w == pad {
				continue
			}
			top := argmax(logits[i*vocab : (i+1)*vocab])
			total++
			if top == w {
				right++
			}
			if top == ref[i] {
				agree++
			}
		}
	}
	took := time.Since(start)
	fmt.Fprintf(a.out, "evaluation  %d pairs, %d tokens: accuracy %.5f, agrees with onnxruntime on %.5f\n", n, total, float64(right)/float64(total), float64(agree)/float64(total))
	fmt.Fprintf(a.out, "time        %s (%.0f tokens/s)\n", took.Round(time.Millisecond), float64(total)/took.Seconds())
	return nil
}

// sliceRows views rows [a,b) of the first dimension.
func sliceRows(t *tensor.Tensor, a, b int) *tensor.Tensor {
	n := t.Len() / t.Shape()[0]
	return tensor.Of(tensor.Data[int64](t)[a*n:b*n], append([]int{b - a}, t.Shape()[1:]...)...)
}

func argmax(s []float32) int64 {
	best := 0
	for i, v := range s {
		if v > s[best] {
			best = i
		}
	}
	return int64(best)
}
