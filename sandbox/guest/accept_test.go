//go:build linux

package guest

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
)

// A fakeListener gives what its channel holds, then net.ErrClosed.
type fakeListener struct {
	net.Listener
	results chan error // nil is a connection
}

func (l fakeListener) Accept() (net.Conn, error) {
	err, open := <-l.results
	if !open {
		return nil, net.ErrClosed
	}
	if err != nil {
		return nil, err
	}
	conn, _ := net.Pipe()
	return conn, nil
}

func (fakeListener) Addr() net.Addr { return &net.UnixAddr{Name: Socket, Net: "unix"} }

func newListener(results ...error) fakeListener {
	l := fakeListener{results: make(chan error, len(results))}
	for _, err := range results {
		l.results <- err
	}
	close(l.results)
	return l
}

func TestAcceptGoesOnAfterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(io.Discard, nil)
		handled := make(chan struct{}, 2)
		l := newListener(syscall.EMFILE, nil, syscall.ECONNABORTED, nil)
		g.accept(t.Context(), l, 2, func(net.Conn) { handled <- struct{}{} })
		g.work.Wait()
		if n := len(handled); n != 2 {
			t.Errorf("%d connections handled, want 2", n)
		}
	})
}

func TestAcceptEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(io.Discard, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		l := fakeListener{results: make(chan error, 1)}
		l.results <- syscall.EMFILE
		g.accept(ctx, l, 1, nil) // returns, or the bubble is deadlocked
	})
}

func TestAcceptHoldsNoMoreThanItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(io.Discard, nil)
		held, release := make(chan struct{}, 3), make(chan struct{})
		go g.accept(t.Context(), newListener(nil, nil, nil), 2, func(net.Conn) { held <- struct{}{}; <-release })
		synctest.Wait()
		if n := len(held); n != 2 {
			t.Errorf("%d connections at once, want 2", n)
		}
		close(release)
		synctest.Wait()
		if n := len(held); n != 3 {
			t.Errorf("%d connections in all, want 3", n)
		}
	})
}
