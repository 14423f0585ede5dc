package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Say what is missing on this machine, and the line that mends it", Args: exactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
			for _, c := range checkup() {
				fmt.Fprintf(w, "%s\t%s\t%s\n", c.state, c.what, c.remedy)
			}
			return w.Flush()
		},
	}
}

// finding is one line of the checkup.
type finding struct{ state, what, remedy string }

func checkup() []finding {
	var out []finding
	best := isa.Detect()
	used, err := isa.FromEnv()
	switch {
	case err != nil:
		out = append(out, finding{"error", err.Error(), "unset " + isa.Env})
	case used != best && os.Getenv(isa.Env) != "":
		out = append(out, finding{"note", fmt.Sprintf("%s=%s keeps kernels at %s; this CPU can do %s", isa.Env, os.Getenv(isa.Env), used, best), "unset " + isa.Env})
	default:
		out = append(out, finding{"ok", "CPU kernels: " + used.String(), ""})
	}
	out = append(out, hugePages()...)
	if runtime.GOOS == "linux" {
		if _, err := os.Stat("/dev/nvidia0"); err != nil {
			out = append(out, finding{"note", "no NVIDIA device (/dev/nvidia0 is missing): programs for cuda run on the emulator", "moec run M.moec --device emu"})
		} else {
			out = append(out, finding{"ok", "NVIDIA device present", "go build -tags cuda ./cmd/moec  # links the driver"})
		}
	}
	for _, tool := range []struct{ name, why, remedy string }{
		{"ptxas", "only needed to check emitted kernels before shipping", "pip download --no-deps nvidia-cuda-nvcc-cu12==12.9.86"},
	} {
		if _, err := exec.LookPath(tool.name); err != nil {
			out = append(out, finding{"note", tool.name + " is not on the PATH: " + tool.why, tool.remedy})
		} else {
			out = append(out, finding{"ok", tool.name + " found", ""})
		}
	}
	return out
}

func hugePages() []finding {
	const path = "/sys/kernel/mm/transparent_hugepage/enabled"
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	if strings.Contains(string(b), "[never]") {
		return []finding{{"note", "huge pages are off: weights are read more slowly from memory", "echo madvise | sudo tee " + path}}
	}
	return []finding{{"ok", "huge pages available", ""}}
}
