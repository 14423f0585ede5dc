package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func (a *app) opsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ops", Short: "List the operators moec knows", Args: exactArgs(0),
		RunE: func(*cobra.Command, []string) error { return a.listOps(asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

type opRow struct {
	Domain string `json:"domain"`
	Name   string `json:"name"`
	Since  int    `json:"since"`
	Doc    string `json:"doc"`
}

func (a *app) listOps(asJSON bool) error {
	var rows []opRow
	for _, op := range a.ops.All() {
		domain := op.Domain
		if domain == "" {
			domain = "ai.onnx"
		}
		rows = append(rows, opRow{domain, op.Name, op.Since, op.Doc})
	}
	if asJSON {
		return json.NewEncoder(a.out).Encode(rows)
	}
	w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "DOMAIN\tOP\tSINCE\tWHAT IT DOES")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", r.Domain, r.Name, r.Since, r.Doc)
	}
	return w.Flush()
}
