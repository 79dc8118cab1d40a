//go:build linux

package guest

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"lap/sandbox/pipe"
)

// The host ends the pipe of a guest that holds too many streams, so what runs in the
// sandbox must not be able to make this guest do it. The bounds leave room for streams that
// only this end has closed, and link.open waits when there is none.
const (
	// maxCarried bounds the connections to one service that is a local address.
	maxCarried = pipe.MaxStreams / 8
	// maxOutward bounds the connections to the outside.
	maxOutward = pipe.MaxStreams * 2 / 3
	// fullPause is how long to leave a pipe alone that has no room.
	fullPause = 50 * time.Millisecond
)

// A link leads to the host over the newest pipe that is open. While lap is away there
// is none, and who needs one waits.
type link struct {
	mu    sync.Mutex    // guards pipes and added
	pipes []*pipe.Guest // oldest first
	added chan struct{} // closed when a pipe is added
}

func newLink() *link { return &link{added: make(chan struct{})} }

func (l *link) add(p *pipe.Guest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pipes = append(l.pipes, p)
	close(l.added)
	l.added = make(chan struct{})
}

func (l *link) remove(p *pipe.Guest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pipes = slices.DeleteFunc(l.pipes, func(q *pipe.Guest) bool { return q == p })
}

// open opens a stream to a service of the host, waiting for a pipe when there is none and
// for room in the newest when it is full.
func (l *link) open(ctx context.Context, s pipe.Service) (net.Conn, error) {
	for {
		l.mu.Lock()
		pipes, added := slices.Clone(l.pipes), l.added
		l.mu.Unlock()
		var full <-chan time.Time
		for _, p := range slices.Backward(pipes) {
			if p.NumStreams() >= room(s) {
				full = time.After(fullPause)
				break
			}
			if conn, err := p.Open(s); err == nil {
				return conn, nil
			}
		}
		select {
		case <-added:
		case <-full:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// room is how many streams a pipe may have at most for one more to s. The other services
// always have some that connections to the outside cannot take.
func room(s pipe.Service) int {
	if s == pipe.Egress {
		return pipe.MaxStreams - 2*maxCarried
	}
	return pipe.MaxStreams
}

// forward listens on a loopback address and carries every connection to a service of
// the host, until ctx ends.
func (g *Guest) forward(ctx context.Context, addr string, service pipe.Service) error {
	return g.listen(ctx, addr, maxCarried, func(conn *net.TCPConn) { g.carry(ctx, conn, service) })
}

// listen runs handle for every connection to a loopback address, for at most limit at
// once, until ctx ends.
func (g *Guest) listen(ctx context.Context, addr string, limit int, handle func(*net.TCPConn)) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	g.work.Go(func() {
		stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // makes Accept return
		defer stop()
		g.accept(ctx, l, limit, func(conn net.Conn) { handle(conn.(*net.TCPConn)) })
	})
	return nil
}

// carry joins one local connection with a new stream.
func (g *Guest) carry(ctx context.Context, local net.Conn, service pipe.Service) {
	defer local.Close()
	remote, err := g.link.open(ctx, service)
	if err != nil {
		return
	}
	defer remote.Close()
	join(ctx, local, remote)
}
