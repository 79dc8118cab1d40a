//go:build linux

package guest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// harnessURL stands for the harness wherever it is: its client knows.
const harnessURL = "http://harness"

// openTimeout is how long a harness has until its event stream is open.
const openTimeout = 30 * time.Second

// A program is what can be a harness inside the guest: an opencode-style HTTP API.
type program interface {
	http.Handler
	Close()
}

// A harness is the program behind the session and what the guest has at it: a client,
// and a tail of its events.
type harness struct {
	http.Handler
	client *http.Client
	close  func() // ends the program and waits for all goroutines; more calls do nothing
	work   sync.WaitGroup

	mu     sync.Mutex // guards closed, and is held over work.Go
	closed bool
}

// newHarness takes over a program and returns when its events are being read. They go
// on being read when ctx has ended.
func newHarness(ctx context.Context, p program, f *feed, log *slog.Logger) (*harness, error) {
	lines := newLines()
	srv := &http.Server{Handler: p, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	h := &harness{Handler: p, client: &http.Client{Transport: &http.Transport{
		DialContext: lines.dial, DisableCompression: true, IdleConnTimeout: time.Minute,
	}}}
	t := newTail(h.client, f, log)
	h.work.Go(func() { _ = srv.Serve(lines) }) // returns when lines is closed
	h.work.Go(func() { t.run(life) })
	h.close = sync.OnceFunc(func() {
		h.mu.Lock()
		h.closed = true
		h.mu.Unlock()
		end()
		p.Close()
		_ = srv.Close() // in memory, there is nothing to fail
		h.work.Wait()
	})
	select {
	case <-t.opened:
		return h, nil
	case <-time.After(openTimeout):
		h.close()
		return nil, errors.New("the harness does not open its event stream")
	case <-ctx.Done():
		h.close()
		return nil, ctx.Err()
	}
}

// start runs fn in a goroutine that close waits for; false means that it is too late.
func (h *harness) start(fn func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.work.Go(fn)
	}
	return !h.closed
}

// lines is a net.Listener for connections inside this process.
type lines struct {
	calls  chan net.Conn
	closed chan struct{}
	close  func()
}

func newLines() *lines {
	l := &lines{calls: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

// dial is the DialContext of an http.Transport.
func (l *lines) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.calls <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *lines) Accept() (net.Conn, error) {
	select {
	case conn := <-l.calls:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *lines) Close() error   { l.close(); return nil }
func (l *lines) Addr() net.Addr { return &net.UnixAddr{Name: "harness", Net: "memory"} }
