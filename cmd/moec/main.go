// Command moec compiles, runs and inspects ONNX models, and turns their dense
// feedforward layers into sparse ones.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

func main() {
	os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes that scripts can rely on.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitMissed      = 3 // a comparison or quality gate was missed
	exitUnsupported = 4 // the model uses something unsupported
	exitNoDevice    = 5
	exitInterrupted = 130
)

// app is what every subcommand shares.
type app struct {
	out, err io.Writer
	ops      *ops.Table
	limits   onnx.Limits
	quiet    bool
	// overrides names the initializers that a run gives another value: they stay inputs.
	overrides []string
	// hugePages is auto, on or off: whether weights are copied into huge pages.
	hugePages string
}

// Main runs one command line and returns its exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{out: stdout, err: stderr, ops: ops.NewTable()}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := exitCode(ctx, err)
	if err != nil && !errors.Is(err, errSilent) {
		fmt.Fprintf(stderr, "moec: %v\n", err)
		var ue *usageError
		if errors.As(err, &ue) && ue.cmd != nil {
			fmt.Fprintf(stderr, "usage: %s\n", ue.cmd.UseLine())
		}
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "moec",
		Short: "Compile and run ONNX models, with their feedforward layers made sparse",
		Long: "moec compiles ONNX models for the CPU and CUDA, runs them, and turns the dense two-layer\n" +
			"MLPs of pretrained networks into sparse ones (sigma-MoE, product-key memory, top-k).\n\n" +
			"Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 usage,\n" +
			"3 a comparison or quality gate missed, 4 unsupported model, 5 device missing, 130 interrupted.",
		SilenceUsage: true, SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef(cmd, "unknown command %q; see moec --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd, err} })
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "print results only, no progress")
	for _, c := range a.commands() {
		root.AddCommand(c)
	}
	return root
}

// commands lists the subcommands, one file each.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.compileCommand(),
		a.runCommand(),
		a.convertCommand(),
		a.inspectCommand(),
		a.compareCommand(),
		a.benchCommand(),
		a.emuCommand(),
		a.profileCommand(),
		a.opsCommand(),
		a.passesCommand(),
		a.devicesCommand(),
		a.doctorCommand(),
		a.demoCommand(),
	}
}

// usageError is a command line that makes no sense.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd, fmt.Errorf(format, args...)}
}

// exactArgs is cobra.ExactArgs with usage errors of ours.
func exactArgs(n int) cobra.PositionalArgs { return rangeArgs(n, n) }

func rangeArgs(lo, hi int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < lo || hi >= 0 && len(args) > hi {
			return usagef(cmd, "%s takes %s, got %d", cmd.Name(), argCount(lo, hi), len(args))
		}
		return nil
	}
}

func argCount(lo, hi int) string {
	switch {
	case hi < 0:
		return fmt.Sprintf("at least %d argument(s)", lo)
	case lo == hi:
		return fmt.Sprintf("%d argument(s)", lo)
	}
	return fmt.Sprintf("%d to %d arguments", lo, hi)
}

var (
	errMissed = errors.New("comparison missed")
	errSilent = errors.New("reported already")
	// errNoDevice marks a device that is not there.
	errNoDevice = errors.New("device missing")
)

func exitCode(ctx context.Context, err error) int {
	var ue *usageError
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &ue):
		return exitUsage
	case errors.Is(err, errMissed):
		return exitMissed
	case errors.Is(err, errNoDevice), errors.Is(err, cuda.ErrNoDevice):
		return exitNoDevice
	case errors.Is(err, ir.ErrUnsupportedOp), errors.Is(err, ir.ErrUnsupportedType):
		return exitUnsupported
	}
	return exitFailed
}

// logf reports progress to stderr unless --quiet was given.
func (a *app) logf(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}
