package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"lap/sandbox"
	"lap/sandbox/pipe"
)

// A connection is the way to one sandbox: a pipe that is opened when it is needed, and
// again when it has ended.
type connection struct {
	dialing chan struct{} // held by the one who opens a pipe

	mu     sync.Mutex // guards what follows
	host   *pipe.Host
	http   *http.Client
	closed bool
}

func newConnection() *connection { return &connection{dialing: make(chan struct{}, 1)} }

// client returns an HTTP client to the session's guest, opening a pipe when there is
// none. The error wraps sandbox.ErrGone when the sandbox does not run any more.
func (e *Engine) client(ctx context.Context, l *live, containerID string) (*http.Client, error) {
	if c := l.conn.current(); c != nil {
		return c, nil
	}
	if containerID == "" {
		return nil, sandbox.ErrGone
	}
	select {
	case l.conn.dialing <- struct{}{}:
		defer func() { <-l.conn.dialing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c := l.conn.current(); c != nil { // opened while this call waited
		return c, nil
	}
	raw, err := e.cfg.Runtime.Dial(ctx, containerID)
	if err != nil {
		return nil, err
	}
	return e.connect(l, raw)
}

// connect takes over raw, the host's end of a new pipe, and serves what the sandbox
// asks for until it ends.
func (e *Engine) connect(l *live, raw io.ReadWriteCloser) (*http.Client, error) {
	host, err := pipe.NewHost(raw)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return host.Dial(ctx) },
		MaxIdleConnsPerHost: 2,
		DisableCompression:  true,
	}}
	services := map[pipe.Service]*pipe.Listener{pipe.Gateway: e.gateway, pipe.Platform: e.platform}
	serve := func(ctx context.Context) {
		host.Serve(l.id, services)
		if err := host.Err(); errors.Is(err, pipe.ErrViolation) {
			e.cfg.Log.WarnContext(ctx, "sandbox cut off", "session", l.id, "err", err)
		}
	}
	if !l.conn.install(host, client) || !e.launch(serve) {
		return nil, errors.Join(ErrStopping, host.Close())
	}
	return client, nil
}

// install makes host the way to the sandbox, unless the connection has been closed.
func (c *connection) install(host *pipe.Host, client *http.Client) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if c.host != nil {
		_ = c.host.Close() // it has ended
	}
	c.host, c.http = host, client
	return true
}

// current returns the client of a pipe that has not ended, or nil.
func (c *connection) current() *http.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.host == nil {
		return nil
	}
	select {
	case <-c.host.Done():
		return nil
	default:
		return c.http
	}
}

// explain adds to err why the pipe has ended, if it has.
func (c *connection) explain(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || c.host == nil || c.host.Err() == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, c.host.Err())
}

// close ends the pipe, if there is one, and lets no other be opened. The sandbox runs on.
func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.host != nil {
		_ = c.host.Close() // always nil
	}
}
