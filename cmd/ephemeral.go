package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"lap/server"
)

const ephemeralHelp = `With --ephemeral the server is for one test run: it serves on a free port, prints one
line of JSON on standard output when it takes requests ("url", "key", "pid",
"data_dir"), and ends with the process that started it, when its standard input is
closed, or when it is interrupted. Then it removes its sandboxes and its data directory.

`

// stopLimit bounds how long an ephemeral server takes to end. What it leaves then is removed
// by the next one.
const stopLimit = 30 * time.Second

// A readyLine is all that an ephemeral server prints.
type readyLine struct {
	URL     string `json:"url"`
	Key     string `json:"key"` // of the API
	PID     int    `json:"pid"`
	DataDir string `json:"data_dir"` // for scripted models, say; it goes with the server
}

// serveEphemeral runs a server that nobody else knows of, for as long as who started it
// wants it.
func serveEphemeral(ctx context.Context, schema string, flags map[string]string, out, talk io.Writer) error {
	if _, given := flags["data-dir"]; given {
		return usageError{errors.New("--ephemeral makes a data directory of its own: leave out --data-dir, and set TMPDIR to choose where it is")}
	}
	starter, err := newStarter()
	if err != nil {
		return err
	}
	ctx, stop := heedSignals(ctx)
	defer stop()
	ctx, end := context.WithCancel(ctx)
	defer end()
	settings, warnings, err := server.LoadEphemeral(os.Environ(), flags)
	if err != nil {
		return badConfiguration(err)
	}
	srv, err := open(ctx, settings, warnings, schema, newLogger(settings, talk))
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error {
		defer end()
		return starter.await(ctx)
	})
	g.Go(func() error {
		defer end()
		return srv.Run(ctx)
	})
	if err = json.NewEncoder(out).Encode(readyLine{srv.URL(), srv.MasterKey(), os.Getpid(), srv.DataDir()}); err != nil {
		end() // nobody can know where it is
	}
	<-ctx.Done()
	return errors.Join(err, waitAtMost(stopLimit, g.Wait))
}

// waitAtMost waits for the end of a server that has been told to stop, and gives up after a
// limit: the process then ends with what hangs.
func waitAtMost(limit time.Duration, wait func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(limit):
		return fmt.Errorf("the server has not ended within %s: the next \"lap serve --ephemeral\" removes what is left", limit)
	}
}

// heedSignals returns a context that also the end of the terminal ends, unless nohup has
// that ignored. Nor may a log line that nobody reads any more end the process before its
// time. stop undoes both.
func heedSignals(ctx context.Context) (_ context.Context, stop func()) {
	broken := make(chan os.Signal, 1) // never read: the write fails, and that is all
	signal.Notify(broken, syscall.SIGPIPE)
	if signal.Ignored(syscall.SIGHUP) {
		return ctx, func() { signal.Stop(broken) }
	}
	ctx, hungUp := signal.NotifyContext(ctx, syscall.SIGHUP)
	return ctx, func() {
		hungUp()
		signal.Stop(broken)
	}
}
