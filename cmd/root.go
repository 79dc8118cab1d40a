// Package cmd is lap's command line.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the release build.
var version string

// Execute runs the command line and returns the exit code: 0, 1 for a failure, 2 for
// wrong usage. schema is the text of schema.sql.
func Execute(schema string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := newRoot(schema).ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "lap:", err)
		return 2
	}
	fmt.Fprintln(os.Stderr, "lap:", err)
	return 1
}

// A usageError is a command line that makes no sense.
type usageError struct{ error }

func newRoot(schema string) *cobra.Command {
	root := &cobra.Command{
		Use:           "lap",
		Short:         "The LiteLLM Agent Platform in one binary",
		Version:       versionText(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: see \"%s --help\"", err, c.CommandPath())}
	})
	root.AddCommand(newServe(schema), newDemo(schema), newAudit())
	root.AddCommand(sandboxCommands()...)
	return root
}

// versionText is the released version, else what the build knows of its source.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// noArgs refuses arguments as wrong usage.
func noArgs(c *cobra.Command, args []string) error {
	if err := cobra.NoArgs(c, args); err != nil {
		return usageError{err}
	}
	return nil
}
