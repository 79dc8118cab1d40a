//go:build linux

// Package guest is what runs inside a sandbox, as its first process. It serves the
// host over pipes, runs the session's harness, gives it loopback addresses that lead
// to the host, leads all other TCP and the DNS there as well, and collects orphaned
// processes.
package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"lap/sandbox"
	"lap/sandbox/pipe"
	"lap/sandbox/proc"
)

// Socket is where a guest takes further pipes: an abstract Unix socket, which needs no
// folder and lives in the sandbox's own network namespace.
const Socket = "@lap/pipe"

// maxPipes bounds the pipes that are open at once; lap needs one.
const maxPipes = 256

// A Guest supervises one sandbox.
type Guest struct {
	places   places
	log      *slog.Logger
	logs     *logs
	journal  *journal
	feed     *feed
	turns    turns
	children *proc.Table
	link     *link
	egress   *egress
	pipes    net.Listener   // for further pipes; nil: Socket
	confine  func() error   // what runs here, but not this process; nil: not
	entering chan struct{}  // closed when the container is a sandbox; nil: it is not made one
	work     sync.WaitGroup // everything Run must wait for
	closing  chan struct{}  // closed by close
	close    func()         // ends what waits for no harness; more calls do nothing

	loopbacks []netip.Addr // that captured traffic is led to
	uncaught  string       // why none is; empty: it is

	booting sync.Mutex // held while the sandbox is made a session's own
	booted  atomic.Pointer[booted]
}

// places says where a guest finds and keeps things.
type places struct {
	root       string // of the file system whose programs are to trust lap
	work       string // the working tree
	scratch    string // for files of a moment
	record     string // file with the last boot
	newHarness func(g *Guest, boot *sandbox.Boot, env environment) (program, error)
}

// New returns a guest that has not been told its session yet. What it has to say goes
// to stderr, too. It takes further pipes from l, or at Socket when that is nil.
func New(stderr io.Writer, l net.Listener) *Guest {
	g := newGuest(stderr, places{
		root:       "/",
		work:       sandbox.WorkDir,
		scratch:    filepath.Join(os.TempDir(), "lap"),
		record:     "/var/lib/lap/boot.json",
		newHarness: (*Guest).builtIn,
	})
	g.pipes = l
	return g
}

// Confine makes all that Run starts be started by a thread on which confine was called. It
// is called before Run.
func (g *Guest) Confine(confine func() error) { g.confine = confine }

func newGuest(stderr io.Writer, p places) *Guest {
	g := &Guest{places: p, journal: newJournal(), children: proc.NewTable(), link: newLink()}
	g.egress = newEgress(g.link)
	g.closing = make(chan struct{})
	g.close = sync.OnceFunc(func() { close(g.closing) })
	g.feed = newFeed(g.journal)
	g.logs = newLogs(g.feed.log)
	g.log = slog.New(slog.NewTextHandler(io.MultiWriter(g.logs, stderr), nil))
	return g
}

// Run supervises the sandbox until ctx ends. Standard input and output are the first
// pipe.
func (g *Guest) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer g.work.Wait()
	defer cancel()
	srv := &http.Server{
		Handler: g.routes(), ReadHeaderTimeout: 30 * time.Second, ErrorLog: slog.NewLogLogger(g.log.Handler(), slog.LevelWarn),
	}
	defer srv.Close()
	first, err := newStdio()
	if err != nil {
		return err
	}
	// A write to the first pipe after the death of lap is an error. Go ends a process by it
	// that does not want to hear of it, since the pipe is its standard output.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	g.entering = make(chan struct{})
	g.work.Go(func() { g.serve(srv, first) }) // a boot has work to do meanwhile
	if err := g.enter(ctx); err != nil {
		return err
	}
	reserveThreads()
	g.work.Go(func() { g.children.Reap(ctx) })
	if err := g.openWays(ctx); err != nil {
		return err
	}
	close(g.entering)
	l, err := g.listenForPipes(ctx)
	if err != nil {
		return fmt.Errorf("listen for pipes: %w", err)
	}
	g.work.Go(func() {
		<-ctx.Done()
		_ = l.Close() // makes Accept below return
	})
	defer g.closeHarness()
	g.accept(ctx, l, maxPipes, func(conn net.Conn) { g.serve(srv, conn) })
	return nil
}

func (g *Guest) listenForPipes(ctx context.Context) (net.Listener, error) {
	if g.pipes != nil {
		return g.pipes, nil
	}
	return new(net.ListenConfig).Listen(ctx, "unix", Socket)
}

// entered waits until the container is a sandbox. Nothing may be run in it before.
func (g *Guest) entered(ctx context.Context) error {
	if g.entering == nil {
		return nil
	}
	select {
	case <-g.entering:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter makes of the container what a sandbox is, and lets go of what that takes.
func (g *Guest) enter(ctx context.Context) (err error) {
	if g.loopbacks, err = setUpCapture(); err != nil {
		g.uncaught = err.Error()
		g.log.Warn("programs that know no proxy have no way out", "err", err)
	}
	if g.confine == nil {
		return GiveUpCapabilities()
	}
	// One thread starts all commands, so it alone needs bounds: each of the forty costs a
	// stop of all threads, where all are to have it.
	err = g.children.Confine(ctx, &g.work, func() error { return errors.Join(dropBounds(prctlHere), g.confine()) })
	if err != nil {
		return fmt.Errorf("confine what runs in the sandbox: %w", err)
	}
	return dropCapabilities()
}

// openWays opens all ways out of the sandbox, until ctx ends.
func (g *Guest) openWays(ctx context.Context) error {
	for addr, service := range map[string]pipe.Service{
		sandbox.GatewayAddr: pipe.Gateway, sandbox.PlatformAddr: pipe.Platform,
	} {
		if err := g.forward(ctx, addr, service); err != nil {
			return err
		}
	}
	if err := g.openProxy(ctx, sandbox.ProxyAddr); err != nil {
		return err
	}
	if g.uncaught != "" {
		return nil
	}
	return g.startCapture(ctx)
}

// serve answers the host on one pipe until it ends.
func (g *Guest) serve(srv *http.Server, conn io.ReadWriteCloser) {
	p, err := pipe.NewGuest(conn)
	if err != nil {
		g.log.Error("open pipe", "err", err)
		return
	}
	defer p.Close()
	g.link.add(p)
	defer g.link.remove(p)
	_ = srv.Serve(p) // returns when the pipe ends, which is nothing to report
}

// closeHarness ends the harness, once a boot that goes on has come to its end.
func (g *Guest) closeHarness() {
	g.close() // what a boot installs is not waited for
	g.booting.Lock()
	defer g.booting.Unlock()
	if b := g.booted.Load(); b != nil {
		b.harness.close()
	}
}

// stdio is standard input and output as one connection.
type stdio struct{ in, out *os.File }

// newStdio takes standard input and output over. Without blocking mode, so that Close
// ends a Read that waits.
func newStdio() (stdio, error) {
	if err := errors.Join(syscall.SetNonblock(0, true), syscall.SetNonblock(1, true)); err != nil {
		return stdio{}, err
	}
	return stdio{in: os.NewFile(0, "stdin"), out: os.NewFile(1, "stdout")}, nil
}

func (s stdio) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s stdio) Write(b []byte) (int, error) { return s.out.Write(b) }
func (s stdio) Close() error                { return errors.Join(s.in.Close(), s.out.Close()) }
