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
	owner       string // the session it speaks for
	containerID string
	dialing     chan struct{} // held by the one who opens a pipe

	mu     sync.Mutex // guards what follows
	host   *pipe.Host
	http   *http.Client
	opened chan struct{} // closed when the next pipe is opened
	closed bool
}

func newConnection(owner, containerID string) *connection {
	return &connection{owner: owner, containerID: containerID, dialing: make(chan struct{}, 1), opened: make(chan struct{})}
}

// client returns an HTTP client to the guest of c, opening a pipe when there is none.
// greet, when it is not nil, has a look at the guest of a pipe that was just opened. The
// error wraps sandbox.ErrGone when the sandbox does not run any more, and is errReplaced
// when the connection was closed.
func (e *Engine) client(ctx context.Context, c *connection, greet func(context.Context, *http.Client) error) (*http.Client, error) {
	if client := c.current(); client != nil {
		return client, nil
	}
	select {
	case c.dialing <- struct{}{}:
		defer func() { <-c.dialing }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if client := c.current(); client != nil { // opened while this call waited
		return client, nil
	}
	if c.isClosed() {
		return nil, errReplaced
	}
	raw, err := e.cfg.Runtime.Dial(ctx, c.containerID)
	if err != nil {
		return nil, err
	}
	client, host, err := e.serve(c.owner, raw)
	if err != nil {
		return nil, err
	}
	if greet != nil {
		err = greet(ctx, client)
	}
	if err == nil { // nobody else uses it before
		err = c.install(host, client)
	}
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return client, nil
}

// connect makes raw, the host's end of a new pipe, the way to a sandbox.
func (e *Engine) connect(c *connection, raw io.ReadWriteCloser) (*http.Client, error) {
	client, host, err := e.serve(c.owner, raw)
	if err != nil {
		return nil, err
	}
	if err := c.install(host, client); err != nil {
		return nil, errors.Join(err, host.Close())
	}
	return client, nil
}

// serve takes over raw, the host's end of a new pipe, and serves what the sandbox asks
// for until it ends. The error is ErrStopping.
func (e *Engine) serve(owner string, raw io.ReadWriteCloser) (*http.Client, *pipe.Host, error) {
	host, err := pipe.NewHost(raw)
	if err != nil {
		return nil, nil, errors.Join(err, raw.Close())
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return host.Dial(ctx) },
		MaxIdleConnsPerHost:   2,
		DisableCompression:    true,
		ExpectContinueTimeout: 2 * turnAccept, // the turn is given up before: its body is not sent unasked
	}}
	services := map[pipe.Service]*pipe.Listener{pipe.Gateway: e.gateway, pipe.Platform: e.platform, pipe.Egress: e.egress}
	serve := func(ctx context.Context) {
		host.Serve(owner, services)
		if err := host.Err(); errors.Is(err, pipe.ErrViolation) {
			e.cfg.Log.WarnContext(ctx, "sandbox cut off", "session", owner, "err", err)
		}
	}
	if !e.launch(serve) {
		return nil, nil, errors.Join(ErrStopping, host.Close())
	}
	return client, host, nil
}

// install makes host the way to the sandbox. The error is errReplaced when the connection
// has been closed.
func (c *connection) install(host *pipe.Host, client *http.Client) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errReplaced
	}
	if c.host != nil {
		_ = c.host.Close() // it has ended
	}
	c.host, c.http = host, client
	close(c.opened)
	c.opened = make(chan struct{})
	return nil
}

// next returns a channel that is closed when the next pipe is opened.
func (c *connection) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}

func (c *connection) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
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

// errGuest says that another guest process than the one that was booted runs in a
// sandbox: it was restarted behind lap's back.
var errGuest = fmt.Errorf("%w: it was restarted", sandbox.ErrGone)
