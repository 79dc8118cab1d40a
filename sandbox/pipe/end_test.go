package pipe_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/sandbox/pipe"
)

// A fakeConn is a connection of which each half does as told.
type fakeConn struct {
	io.Reader
	io.Writer
	close func()
}

func (c fakeConn) Close() error { c.close(); return nil }

// reading returns a connection that reads from r.
func reading(r io.Reader) fakeConn {
	return fakeConn{Reader: r, Writer: io.Discard, close: func() {}}
}

// openUnserved returns both ends of a pipe, the guest's closed with the test.
func openUnserved(t *testing.T) (*pipe.Host, *pipe.Guest) {
	t.Helper()
	a, b := net.Pipe()
	host, err := pipe.NewHost(a)
	if err != nil {
		t.Fatal(err)
	}
	guest, err := pipe.NewGuest(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guest.Close() })
	return host, guest
}

func TestErrTellsWhyReadFailed(t *testing.T) {
	why := errors.New("the sandbox's supervisor ended: out of memory")
	r, w := io.Pipe()
	host, err := pipe.NewHost(fakeConn{Reader: r, Writer: io.Discard, close: func() { _ = r.Close() }})
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Err(); err != nil {
		t.Errorf("Err() = %v of a pipe that lives", err)
	}
	w.CloseWithError(why)
	wait(t, host.Done(), "end of the pipe")
	if err := host.Err(); !errors.Is(err, why) || !errors.Is(err, pipe.ErrClosed) {
		t.Errorf("Err() = %v, want ErrClosed with what Read said", err)
	}
}

func TestErrPrefersReadToWrite(t *testing.T) {
	why, broken := errors.New("the sandbox's supervisor ended"), errors.New("broken pipe")
	r, w := io.Pipe()
	gone, goneWriter := io.Pipe()
	_ = gone.CloseWithError(broken)
	host, err := pipe.NewHost(fakeConn{Reader: r, Writer: hook{goneWriter, func() { go w.CloseWithError(why) }}, close: func() { _ = r.Close() }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := host.Dial(t.Context()); !errors.Is(err, pipe.ErrClosed) {
		t.Errorf("Dial: %v, want ErrClosed", err)
	}
	wait(t, host.Done(), "end of the pipe")
	if err := host.Err(); !errors.Is(err, why) {
		t.Errorf("Err() = %v, want what Read said after Write had failed", err)
	}
}

// A hook is a writer that calls before each Write.
type hook struct {
	io.Writer
	before func()
}

func (h hook) Write(b []byte) (int, error) { h.before(); return h.Writer.Write(b) }

func TestErrAfterCloseIsErrClosed(t *testing.T) {
	host, _ := openUnserved(t)
	if err := host.Close(); err != nil {
		t.Fatal(err)
	}
	if err := host.Err(); !errors.Is(err, pipe.ErrClosed) || strings.Contains(err.Error(), ":") {
		t.Errorf("Err() = %v, want only ErrClosed", err)
	}
}

func TestErrTellsWhatTheMultiplexerFound(t *testing.T) {
	host, served, guest := serveBare(t, patience)
	go func() { _, _ = io.Copy(io.Discard, guest) }()
	go func() { _, _ = guest.Write(append(frame(window, syn, 2, 0), frame(window, syn, 2, 0)...)) }()
	wait(t, served, "end of Serve")
	if err := host.Err(); err == nil || !strings.Contains(err.Error(), "duplicate stream") {
		t.Errorf("Err() = %v, want the duplicate stream", err)
	}
}

func TestServeClosesThePipe(t *testing.T) {
	host, served, guest := serveBare(t, time.Millisecond)
	if _, err := guest.Write(frame(window, syn, 2, 0)); err != nil {
		t.Fatal(err)
	}
	wait(t, served, "end of Serve, which cannot accept while nothing is read")
	wait(t, host.Done(), "end of the pipe")
	if err := host.Err(); err == nil || !strings.Contains(err.Error(), "write timeout") {
		t.Errorf("Err() = %v, want the timeout", err)
	}
}

// serveBare serves a guest that is only a connection, and may leave the host's writes
// unread for the given time. The channel is closed when Serve returns.
func serveBare(t *testing.T, write time.Duration) (*pipe.Host, <-chan struct{}, net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	host, err := pipe.NewImpatientHost(a, patience, patience, write)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	served := make(chan struct{})
	go func() { host.Serve("s", nil); close(served) }()
	return host, served, b
}

// TestCloseIsQuickWithManyStreamsThatWait closes full pipes. On a busy machine one of them
// may take long; if all did, as when the multiplexer is closed first, it is no accident.
func TestCloseIsQuickWithManyStreamsThatWait(t *testing.T) {
	var took time.Duration
	for range 5 {
		if took = closeFull(t); took < time.Second {
			return
		}
	}
	t.Errorf("took %v, and no less the times before", took)
}

// closeFull closes a pipe on all of whose streams somebody waits, and says how long it took.
func closeFull(t *testing.T) time.Duration {
	t.Helper()
	host, guest := openUnserved(t)
	l := pipe.NewListener()
	served := make(chan struct{})
	go func() { host.Serve("s", map[pipe.Service]*pipe.Listener{pipe.Egress: l}); close(served) }()
	var waiting sync.WaitGroup
	for range pipe.MaxStreams {
		if _, err := guest.Open(pipe.Egress); err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		waiting.Go(func() { _, _ = conn.Read(make([]byte, 1)) })
	}
	begin := time.Now()
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	waiting.Wait()
	took := time.Since(begin)
	wait(t, served, "end of Serve")
	if err := host.Err(); !errors.Is(err, pipe.ErrClosed) || strings.Contains(err.Error(), ":") {
		t.Errorf("Err() = %v, want only ErrClosed", err)
	}
	return took
}
