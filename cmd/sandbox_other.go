//go:build !linux

package cmd

import "github.com/spf13/cobra"

// sandboxCommands is empty here: sandboxes run Linux.
func sandboxCommands() []*cobra.Command { return nil }
