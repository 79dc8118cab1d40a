package pipe_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"lap/sandbox/pipe"
)

// patience is how long a test waits for what must happen.
const patience = 5 * time.Second

const (
	data   = 0
	window = 1
	ping   = 2
	goAway = 3
	syn    = 1
)

// frame returns one frame's header as it is on the wire.
func frame(kind byte, flags uint16, stream, length uint32) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, kind}, flags)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, stream), length)
}

// openHostile returns a host, being served, and the bare other end of its pipe.
func openHostile(t *testing.T) (*pipe.Host, net.Conn) {
	t.Helper()
	a, b := net.Pipe()
	host, err := pipe.NewHost(a)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, host, "hostile")
	t.Cleanup(func() { _ = b.Close() })
	return host, b
}

func wait(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: nothing in %v", what, patience)
	}
}

func TestFramesOfNoGuestEndThePipe(t *testing.T) {
	for name, bad := range map[string][]byte{
		"ping":               frame(ping, syn, 0, 1),
		"ping answer":        frame(ping, 2, 0, 1),
		"go away":            frame(goAway, 0, 0, 0),
		"unknown type":       frame(7, 0, 0, 0),
		"unknown flag":       frame(window, 1<<9, 2, 0),
		"unknown version":    append([]byte{1}, frame(window, syn, 2, 0)[1:]...),
		"stream of the host": frame(window, syn, 3, 0),
		"stream zero":        frame(window, syn, 0, 0),
		"more than a window": frame(data, 0, 2, 256<<10+1),
	} {
		t.Run(name, func(t *testing.T) {
			host, guest := openHostile(t)
			go func() { _, _ = guest.Write(append(frame(window, syn, 2, 0), bad...)) }() // answers are not read
			wait(t, host.Done(), "end of the pipe")
			if err := host.Err(); !errors.Is(err, pipe.ErrViolation) || !errors.Is(err, pipe.ErrClosed) {
				t.Errorf("Err() = %v, want ErrClosed and ErrViolation", err)
			}
		})
	}
}

func TestTooManyStreamsEndThePipe(t *testing.T) {
	host, guest := openHostile(t)
	go func() { _, _ = io.Copy(io.Discard, guest) }() // but never ends a stream
	go func() {
		for id := uint32(2); ; id += 2 {
			if _, err := guest.Write(append(frame(data, syn, id, 6), "shell\n"...)); err != nil {
				return
			}
		}
	}()
	wait(t, host.Done(), "end of the pipe")
	if got, most := host.NumStreams(), 3*pipe.MaxStreams; got > most {
		t.Errorf("%d streams were let in, want at most %d", got, most)
	}
}

func TestStreamsTheHostClosedAreForgotten(t *testing.T) {
	a, b := net.Pipe()
	host, err := pipe.NewImpatientHost(a, patience, time.Millisecond, patience)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, host, "s")
	t.Cleanup(func() { _ = b.Close() })
	go func() { _, _ = b.Write(append(frame(data, syn, 2, 6), "shell\n"...)) }()
	answer := make([]byte, 12)
	for answer[3]&8 == 0 { // until the reset, which is sent when the stream is forgotten
		if _, err := io.ReadFull(b, answer); err != nil {
			t.Fatal(err)
		}
	}
	if n := host.NumStreams(); n != 0 {
		t.Errorf("%d streams remembered", n)
	}
}

func TestStreamsWithoutNameGiveWay(t *testing.T) {
	a, b := net.Pipe()
	host, err := pipe.NewImpatientHost(a, 50*time.Millisecond, patience, patience)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, host, "s")
	guest, err := pipe.NewGuest(b)
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	for range pipe.MaxStreams {
		silent, err := guest.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		defer func() {
			if _, err := silent.Read(make([]byte, 1)); err == nil {
				t.Error("a stream without a name was answered")
			}
		}()
	}
	for begin := time.Now(); time.Since(begin) < patience; {
		if got := get(guest); strings.HasSuffix(got, "s /") {
			return
		}
	}
	t.Error("no request came through")
}

// get asks the gateway for / and returns the whole answer, "" when there is none.
func get(guest *pipe.Guest) string {
	stream, err := guest.Open(pipe.Gateway)
	if err != nil {
		return ""
	}
	defer stream.Close()
	_, _ = io.WriteString(stream, "GET / HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
	answer, _ := io.ReadAll(stream)
	return string(answer)
}

func TestHostileGuestLeavesOthersAlone(t *testing.T) {
	l := pipe.NewListener()
	defer l.Close()
	services := map[pipe.Service]*pipe.Listener{pipe.Gateway: l}
	hostileHost, hostile := openUnserved(t)
	goodHost, good := openUnserved(t)
	ended := make(chan struct{}, 2)
	for _, host := range []*pipe.Host{hostileHost, goodHost} {
		go func() { host.Serve("s", services); ended <- struct{}{} }()
	}
	for range pipe.MaxStreams { // all wait for Accept
		if _, err := hostile.Open(pipe.Gateway); err != nil {
			t.Fatal(err)
		}
	}
	if err := hostileHost.Close(); err != nil {
		t.Fatal(err)
	}
	wait(t, ended, "Serve of the hostile guest") // though nothing was accepted
	if _, err := good.Open(pipe.Gateway); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); err != nil {
		t.Error(err)
	}
	if err := goodHost.Err(); err != nil {
		t.Errorf("Err() = %v of a pipe that lives", err)
	}
	if err := goodHost.Close(); err != nil {
		t.Fatal(err)
	}
	wait(t, ended, "Serve of the good guest")
}

func FuzzInflow(f *testing.F) {
	f.Add(append(frame(data, syn, 2, 5), "shell"...))
	f.Add(append(frame(window, syn, 2, 0), frame(ping, syn, 0, 0)...))
	f.Add(frame(data, 0, 2, 1<<31))
	f.Fuzz(func(t *testing.T, sent []byte) {
		whole, wholeErr := io.ReadAll(pipe.NewInflow(reading(bytes.NewReader(sent))))
		bytewise, bytewiseErr := io.ReadAll(pipe.NewInflow(reading(iotest.OneByteReader(bytes.NewReader(sent)))))
		if !bytes.HasPrefix(sent, whole) || !bytes.HasPrefix(sent, bytewise) {
			t.Error("bytes changed on the way")
		}
		if wholeErr == nil && !bytes.Equal(whole, sent) {
			t.Error("bytes lost on the way")
		}
		if (wholeErr == nil) != (bytewiseErr == nil) {
			t.Errorf("as a whole %v, in parts %v", wholeErr, bytewiseErr)
		}
	})
}
