package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"lap/audit"
)

func newAudit() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "audit",
		Short: "Prove on this machine that no secret leaks",
		Long: "Start a server of its own whose every secret is a canary, let sandboxes try to steal\n" +
			"them, and look for them in all places where a secret could be left: sandboxes, processes,\n" +
			"files, logs and the API. The exit code is 0 when none was found anywhere. It takes less\n" +
			"than a minute, and leaves nothing behind. Sandboxes are those that lap serve would have.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runAudit(c.Context(), asJSON, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

func runAudit(ctx context.Context, asJSON bool, out, talk io.Writer) error {
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	began := time.Now()
	say := func(text string) { fmt.Fprintf(talk, "%7.3fs  %s\n", time.Since(began).Seconds(), text) }
	report, err := audit.Run(ctx, audit.Config{Binary: binary, Say: say})
	if report == nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return err
		}
	} else if err := report.Write(out); err != nil {
		return err
	}
	if err == nil && !report.Clean {
		err = fmt.Errorf("the audit found %d hits", report.Hits())
	}
	return err
}
