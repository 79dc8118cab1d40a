// Package pipe multiplexes the one byte pipe between lap and a sandbox into streams.
//
// The host opens streams to speak HTTP with the guest. The guest opens streams to
// reach one of the host's services; such a stream starts with the service's name and
// a newline. Whatever comes up the pipe may come from the agent, so all of it is
// bounded here: name length, open streams, bytes in flight per stream.
package pipe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// A Service is what a guest can reach on the host.
type Service string

// The services of the host.
const (
	Gateway  Service = "gateway"  // the model gateway, HTTP
	Platform Service = "platform" // lap's own REST API, HTTP
	Egress   Service = "egress"   // a connection to the outside, see sandbox.EgressRequest
)

const (
	maxName     = 32               // bytes of a service name
	nameTimeout = 10 * time.Second // for a guest to say which service it wants
	// closeTimeout is how long a stream that one end has closed is kept for the other to
	// read what is left.
	closeTimeout = time.Hour
	// MaxStreams bounds the streams that one guest may hold open at once: 256 connections
	// to the outside, which a package manager or a crawler comes near, and a third for all
	// else. Guests see to it that they do not even remember more.
	MaxStreams = 384
	// tooMany is for how many streams the host ends the pipe of a guest, those included
	// that only one end has closed. Each can hold a streamWindow of the host's memory.
	tooMany = MaxStreams + MaxStreams/4
)

// ErrClosed says that the pipe has ended.
var ErrClosed = errors.New("the pipe to the sandbox is closed")

func config() *yamux.Config {
	c := yamux.DefaultConfig()
	// An end is noticed as the end of the underlying stream. Probes would only wake
	// idle sandboxes and break pipes to frozen ones.
	c.EnableKeepAlive = false
	c.AcceptBacklog = MaxStreams
	c.MaxStreamWindowSize = streamWindow
	c.StreamCloseTimeout = closeTimeout
	c.LogOutput = nil
	c.Logger = log.New(io.Discard, "", 0) // what ends a pipe is reported by Err
	return c
}

// A Host is the host's end of a pipe.
type Host struct {
	mux         *yamux.Session
	in          *inflow
	dialed      atomic.Int64 // streams of Dial that are open
	nameTimeout time.Duration
}

// NewHost takes over conn, the host's end of a sandbox's pipe.
func NewHost(conn io.ReadWriteCloser) (*Host, error) {
	return newHost(conn, config(), nameTimeout)
}

func newHost(conn io.ReadWriteCloser, config *yamux.Config, nameTimeout time.Duration) (*Host, error) {
	in := newInflow(conn)
	mux, err := yamux.Client(in, config)
	if err != nil {
		return nil, err
	}
	return &Host{mux: mux, in: in, nameTimeout: nameTimeout}, nil
}

// Dial opens a stream to the guest.
func (h *Host) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.dialed.Add(1)
	release := func() { h.dialed.Add(-1) }
	stream, err := h.mux.OpenStream()
	if err != nil {
		release()
		return nil, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return &dialed{Stream: stream, release: release}, nil
}

// Done is closed when the pipe has ended.
func (h *Host) Done() <-chan struct{} { return h.mux.CloseChan() }

// Err is why the pipe has ended, as an ErrClosed: with what the connection's Read
// failed with, or an ErrViolation; with no more after Close. It is nil while the pipe
// lives, and final when Serve has returned.
func (h *Host) Err() error {
	if !h.mux.IsClosed() {
		return nil
	}
	if cause := h.in.err(); cause != nil {
		return fmt.Errorf("%w: %w", ErrClosed, cause)
	}
	return ErrClosed
}

// Close ends the pipe and all its streams.
func (h *Host) Close() error {
	// The connection first: Reads that wait turn in circles from when the multiplexer ends
	// to when it closes their streams. It does the latter at once when its own Read has
	// failed, and else only after they have let it run, seconds later when they are many.
	_ = h.in.Close() // as little is to be done about it as the multiplexer does
	<-h.mux.CloseChan()
	return h.mux.Close()
}

// Serve hands every stream that the guest opens to the listener of the service it
// asks for, until the pipe ends. A stream for any other name is closed. owner is what
// Owner reports for these streams: a sandbox is known by its pipe, not by what it says.
// When Serve returns, the pipe is closed, for no one would answer the guest any more.
func (h *Host) Serve(owner string, services map[Service]*Listener) {
	slots := make(chan struct{}, MaxStreams)
	var routing sync.WaitGroup
	defer routing.Wait()
	defer h.end()
	for {
		stream, err := h.accept()
		if err != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		default: // the guest holds more streams than it may
			_ = stream.Close()
			continue
		}
		c := &conn{Stream: stream, owner: owner, release: func() { <-slots }}
		routing.Go(func() { h.route(c, services) })
	}
}

// accept waits for the next stream of a guest that has not opened too many.
func (h *Host) accept() (*yamux.Stream, error) {
	stream, err := h.mux.AcceptStream()
	if err == nil && h.mux.NumStreams()-int(h.dialed.Load()) > tooMany {
		err = fmt.Errorf("%w: more than %d streams", ErrViolation, tooMany)
	}
	if err != nil && !errors.Is(err, yamux.ErrSessionShutdown) {
		h.in.end(err)
	}
	return stream, err
}

// end closes the pipe, and finds out what the multiplexer ended it for, if it did. That
// is told behind the streams that wait to be accepted.
func (h *Host) end() {
	_ = h.Close() // always nil
	for range MaxStreams + 1 {
		if _, err := h.mux.AcceptStream(); err != nil && !errors.Is(err, yamux.ErrSessionShutdown) {
			h.in.explain(err)
			return
		}
	}
}

// route reads the service's name and hands the stream over. It ends within
// nameTimeout, or when the pipe does.
func (h *Host) route(c *conn, services map[Service]*Listener) {
	c.buffered = bufio.NewReaderSize(c.Stream, maxName)
	err := c.SetReadDeadline(time.Now().Add(h.nameTimeout))
	if err == nil {
		var name []byte
		name, err = c.buffered.ReadSlice('\n')
		c.service = Service(strings.TrimSuffix(string(name), "\n"))
	}
	l, known := services[c.service]
	if err != nil || !known || c.SetReadDeadline(time.Time{}) != nil || !l.Deliver(c, h.Done()) {
		_ = c.Close() // the guest sees its stream end, which is all there is to tell it
	}
}

// A Guest is the guest's end of a pipe. It is a net.Listener for the host's streams.
type Guest struct{ *yamux.Session }

// NewGuest takes over conn, the guest's end of a sandbox's pipe.
func NewGuest(conn io.ReadWriteCloser) (*Guest, error) {
	mux, err := yamux.Server(conn, config())
	if err != nil {
		return nil, err
	}
	return &Guest{mux}, nil
}

// Open opens a stream to a service of the host.
func (g *Guest) Open(s Service) (net.Conn, error) {
	stream, err := g.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if _, err := io.WriteString(stream, string(s)+"\n"); err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return stream, nil
}

// Broken reports of a stream of Open that has come to its end whether its pipe has, too.
// Then it may lack some of what the host sent.
func Broken(stream net.Conn) bool {
	s, ok := stream.(*yamux.Stream)
	return ok && s.Session().IsClosed()
}
