package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"lap/sandbox/guest"
	"lap/sandbox/native/cell"
)

// sandboxCommands are what lap runs inside its sandboxes.
func sandboxCommands() []*cobra.Command {
	return []*cobra.Command{
		{
			Use: "guest", Short: "Supervise a sandbox, as its first process", Hidden: true, Args: noArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				return guest.New(c.ErrOrStderr(), nil).Run(c.Context())
			},
		},
		{
			Use: "cell", Short: "Become the first process of a native sandbox, and supervise it", Hidden: true, Args: noArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				entered, err := cell.Enter()
				if err != nil {
					return err
				}
				ctx, cancel := context.WithCancel(c.Context())
				defer cancel()
				if entered.Life != nil {
					go func() { // for as long as this process
						_, _ = io.Copy(io.Discard, entered.Life) // nothing comes but its end
						cancel()
					}()
				}
				g := guest.New(c.ErrOrStderr(), entered.Pipes)
				g.Confine(cell.Confine)
				return g.Run(ctx)
			},
		},
		{
			Use: "pipe", Short: "Open a pipe to the sandbox's supervisor on standard input and output", Hidden: true, Args: noArgs,
			RunE: func(c *cobra.Command, _ []string) error { return pipe(c.Context()) },
		},
	}
}

// pipe joins standard input and output with the guest, until either side ends. The engine
// starts it with all capabilities of the container.
func pipe(ctx context.Context) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil { // nobody traces it
		return err
	}
	if err := guest.GiveUpCapabilities(); err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", guest.Socket)
	if err != nil {
		return fmt.Errorf("the sandbox's supervisor does not answer: %w", err)
	}
	defer conn.Close()
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(conn, os.Stdin)
		ended <- err
	}()
	go func() {
		_, err := io.Copy(os.Stdout, conn)
		ended <- err
	}()
	if err := <-ended; err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil // the process ends, and the other direction with it
}
