//go:build linux

package guest

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"lap/sandbox/pipe"
)

const (
	// maxCarried bounds the connections to one service. The host ends the pipe of a guest
	// that holds too many streams, so what runs in the sandbox must not be able to make
	// this guest do it.
	maxCarried = pipe.MaxStreams * 3 / 8
	// lingerTimeout is for a local program to hang up once the host has: until then its
	// connection counts.
	lingerTimeout = 10 * time.Second
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

// open opens a stream to a service of the host, waiting for a pipe when there is none.
func (l *link) open(ctx context.Context, s pipe.Service) (net.Conn, error) {
	for {
		l.mu.Lock()
		pipes, added := slices.Clone(l.pipes), l.added
		l.mu.Unlock()
		for _, p := range slices.Backward(pipes) {
			if conn, err := p.Open(s); err == nil {
				return conn, nil
			}
		}
		select {
		case <-added:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// forward listens on a loopback address and carries every connection to a service of
// the host, until ctx ends.
func (g *Guest) forward(ctx context.Context, addr string, service pipe.Service) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	g.work.Go(func() {
		<-ctx.Done()
		_ = l.Close() // makes Accept below return
	})
	g.work.Go(func() {
		g.accept(ctx, l, maxCarried, func(conn net.Conn) { g.carry(ctx, conn, service) })
	})
	return nil
}

// carry joins one local connection with a new stream until both directions have ended
// or ctx does.
func (g *Guest) carry(ctx context.Context, local net.Conn, service pipe.Service) {
	defer local.Close()
	remote, err := g.link.open(ctx, service)
	if err != nil {
		return
	}
	defer remote.Close()
	stop := context.AfterFunc(ctx, func() { _ = local.Close(); _ = remote.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(remote, local) // either side may hang up at any time
		_ = remote.Close()            // half-close: the answer can still come
	})
	both.Go(func() {
		_, _ = io.Copy(local, remote)
		if tcp, ok := local.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		_ = local.SetReadDeadline(time.Now().Add(lingerTimeout))
		_ = remote.SetWriteDeadline(time.Now().Add(lingerTimeout))
	})
	both.Wait()
}
