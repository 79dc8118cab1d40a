//go:build linux

// Guest is as much of lap as runs inside a sandbox, for tests of the engine.
package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"

	"lap/sandbox/guest"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	var err error
	if os.Args[1] == "pipe" {
		err = pipe()
	} else {
		err = guest.New(log).Run(context.Background())
	}
	if err != nil {
		log.Error("ended", "err", err)
		os.Exit(1)
	}
}

// pipe joins standard input and output with the guest, as "lap pipe" does.
func pipe() error {
	conn, err := net.Dial("unix", guest.Socket)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(os.Stdout, conn); os.Exit(0) }()
	_, err = io.Copy(conn, os.Stdin)
	return err
}
