package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/passes"
)

func (a *app) passesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "passes", Short: "List the passes in the order they run", Args: exactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "PASS\tEFFECT\tWHAT IT DOES")
			for _, p := range passes.Pipeline() {
				fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, p.Effect, p.Doc)
			}
			return w.Flush()
		},
	}
}
