package main

import (
	"fmt"
	"runtime"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/cuda/nvidia"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

func (a *app) devicesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "devices", Short: "List the devices programs can run on", Args: exactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "DEVICE\tSTATE\tWHAT")
			for _, d := range a.deviceRows() {
				fmt.Fprintf(w, "%s\t%s\t%s\n", d.name, d.state, d.what)
			}
			return w.Flush()
		},
	}
}

type deviceRow struct{ name, state, what string }

func (a *app) deviceRows() []deviceRow {
	f, err := isa.FromEnv()
	what := fmt.Sprintf("%s/%s, %d processors, kernels: %s", runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), f)
	if err != nil {
		return []deviceRow{{"cpu", "error", err.Error()}}
	}
	rows := []deviceRow{{"cpu", "ready", what}, {"emu", "ready", "runs the CUDA kernels in software and checks every access"}}
	gpus, err := nvidia.Driver{}.Devices()
	if err != nil {
		return append(rows, deviceRow{"cuda", "absent", err.Error()})
	}
	for i, g := range gpus {
		rows = append(rows, deviceRow{fmt.Sprintf("cuda:%d", i), "ready", fmt.Sprintf("%s, compute capability %d.%d, %d SMs, %d MiB, %s", g.Name, g.Major, g.Minor, g.SMs, g.Memory>>20, g.Driver)})
	}
	return rows
}
