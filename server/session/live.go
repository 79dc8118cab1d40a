package session

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"

	"lap/db"
	"lap/sandbox"
	"lap/sandbox/pipe"
)

// A live is what this process holds of a session that is not over: its pipe, its queue
// of turns, its running bring-up.
type live struct {
	id, agent  string
	generation int64
	turns      queue

	cancel  context.CancelFunc // ends the bring-up
	bringUp chan struct{}      // closed when the bring-up has ended; nil: this process made none

	stored string // id of the newest message in the stored thread; only the running turn uses it

	mu   sync.Mutex // guards what follows
	host *pipe.Host
	http *http.Client
}

// adopt returns the live of a session, making it when this process has none yet.
func (e *Engine) adopt(s db.Session) *live {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.live[s.ID]; l != nil && l.generation == s.Generation {
		return l
	}
	l := &live{id: s.ID, agent: s.AgentID, generation: s.Generation, cancel: func() {}}
	e.live[s.ID] = l
	return l
}

// register makes l the live of its session.
func (e *Engine) register(l *live) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.live[l.id] = l
}

// find returns the live of a session, or nil.
func (e *Engine) find(id string) *live {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.live[id]
}

// forget drops the live of a session that is over and closes its pipe.
func (e *Engine) forget(l *live) {
	e.mu.Lock()
	if e.live[l.id] == l {
		delete(e.live, l.id)
	}
	e.mu.Unlock()
	l.disconnect()
}

// connect takes over conn, the host's end of a new pipe, and serves what the sandbox
// asks for until it ends.
func (e *Engine) connect(l *live, conn io.ReadWriteCloser) error {
	host, err := pipe.NewHost(conn)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	served := e.launch(func(context.Context) {
		host.Serve(l.id, map[pipe.Service]*pipe.Listener{pipe.Gateway: e.gateway, pipe.Platform: e.platform})
	})
	if !served {
		return errors.Join(ErrStopping, host.Close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.host = host
	l.http = &http.Client{Transport: &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return host.Dial(ctx) },
		MaxIdleConnsPerHost: 2,
		DisableCompression:  true,
	}}
	return nil
}

// client returns an HTTP client to the session's guest, opening a pipe when there is
// none. The error wraps sandbox.ErrGone when the sandbox does not run any more.
func (e *Engine) client(ctx context.Context, l *live, containerID string) (*http.Client, error) {
	if c := l.connected(); c != nil {
		return c, nil
	}
	if containerID == "" {
		return nil, sandbox.ErrGone
	}
	conn, err := e.cfg.Runtime.Dial(ctx, containerID)
	if err != nil {
		return nil, err
	}
	if err := e.connect(l, conn); err != nil {
		return nil, err
	}
	return l.connected(), nil
}

// connected returns the client of a pipe that has not ended, or nil.
func (l *live) connected() *http.Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.host == nil {
		return nil
	}
	select {
	case <-l.host.Done():
		return nil
	default:
		return l.http
	}
}

// disconnect closes the pipe, if there is one. The sandbox runs on.
func (l *live) disconnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.host != nil {
		_ = l.host.Close() // always nil
	}
}
