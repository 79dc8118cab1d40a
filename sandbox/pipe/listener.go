package pipe

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"sync"

	"github.com/hashicorp/yamux"
)

// A Listener is one service's share of the streams that guests open. It outlives any
// single pipe. It is a net.Listener for connections of any other origin, too.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

// NewListener returns an open Listener.
func NewListener() *Listener {
	return &Listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept waits for the next stream. Its error after Close is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close makes Accept return. Streams that were accepted stay open.
func (l *Listener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

// Addr is a placeholder: a stream has no address.
func (l *Listener) Addr() net.Addr { return addr{} }

// Deliver gives c to Accept, and reports whether it has: not when l is closed first, or
// ended is.
func (l *Listener) Deliver(c net.Conn, ended <-chan struct{}) bool {
	select {
	case l.conns <- c:
		return true
	case <-ended:
		return false
	case <-l.done:
		return false
	}
}

type addr struct{}

func (addr) Network() string { return "pipe" }
func (addr) String() string  { return "sandbox" }

// A conn is a stream that a guest opened, with the bytes that came with its name.
type conn struct {
	*yamux.Stream
	owner    string
	service  Service
	buffered *bufio.Reader
	once     sync.Once
	release  func() // gives the slot back
}

// Read fails after its deadline as a connection of the standard library does, not as the
// multiplexer's streams do: TLS goes on only after errors that call themselves temporary,
// and http.Server interrupts a Read with a deadline after every request.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.buffered.Read(b)
	if errors.Is(err, yamux.ErrTimeout) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func (c *conn) Close() error {
	err := c.Stream.Close()
	c.once.Do(c.release)
	return err
}

// RemoteAddr is a placeholder: a stream has no address.
func (c *conn) RemoteAddr() net.Addr { return addr{} }

// A dialed is a stream that the host opened.
type dialed struct {
	*yamux.Stream
	once    sync.Once
	release func()
}

func (d *dialed) Close() error {
	err := d.Stream.Close()
	d.once.Do(d.release)
	return err
}

// OwnerOf returns who owns the pipe that a stream came up, or "" for another connection.
func OwnerOf(stream net.Conn) string {
	if c, ok := stream.(*conn); ok {
		return c.owner
	}
	return ""
}

type ownerKey struct{}

// ConnContext is the http.Server.ConnContext of a server on a Listener. It makes Owner
// work in handlers.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, ownerKey{}, OwnerOf(c))
}

// Owner returns who owns the pipe that a request came up, or "" outside a handler of
// a server with ConnContext.
func Owner(ctx context.Context) string {
	owner, _ := ctx.Value(ownerKey{}).(string)
	return owner
}
