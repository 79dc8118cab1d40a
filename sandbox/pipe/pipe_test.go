package pipe_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"lap/sandbox/pipe"
)

// open returns both ends of a pipe, closed with the test.
func open(t *testing.T) (*pipe.Host, *pipe.Guest) {
	t.Helper()
	host, guest := openUnserved(t)
	t.Cleanup(func() {
		if err := errors.Join(host.Close(), guest.Close()); err != nil {
			t.Error(err)
		}
	})
	return host, guest
}

// serve answers gateway requests on the host's end with the owner of the pipe.
func serve(t *testing.T, host *pipe.Host, owner string) {
	t.Helper()
	l := pipe.NewListener()
	srv := &http.Server{ConnContext: pipe.ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, pipe.Owner(r.Context())+" "+r.URL.Path)
	})}
	done := make(chan struct{}, 2)
	go func() { _ = srv.Serve(l); done <- struct{}{} }()
	go func() { host.Serve(owner, map[pipe.Service]*pipe.Listener{pipe.Gateway: l}); done <- struct{}{} }()
	t.Cleanup(func() {
		if err := errors.Join(srv.Close(), host.Close()); err != nil {
			t.Error(err)
		}
		<-done
		<-done
	})
}

func TestHostSpeaksHTTPWithGuest(t *testing.T) {
	host, guest := open(t)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })}
	go func() { _ = srv.Serve(guest) }()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return host.Dial(ctx) },
	}}
	text := strings.Repeat("twelve bytes", 100_000)
	res, err := client.Post("http://sandbox/", "text/plain", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	if err != nil || string(got) != text {
		t.Errorf("got %d bytes back, error %v; want the %d sent", len(got), err, len(text))
	}
}

func TestGuestReachesServiceAsItsOwner(t *testing.T) {
	host, guest := open(t)
	serve(t, host, "session-7")
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return guest.Open(pipe.Gateway) },
	}}
	res, err := client.Get("http://gateway/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	if err != nil || string(got) != "session-7 /v1/models" {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestStreamForNoServiceEnds(t *testing.T) {
	host, guest := open(t)
	serve(t, host, "s")
	for name, first := range map[string]string{
		"unknown":     "shell\n",
		"empty":       "\n",
		"not started": strings.Repeat("x", 4096),
		"other case":  "GATEWAY\n",
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := guest.OpenStream()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(stream, first); err != nil {
				t.Fatal(err)
			}
			if n, err := stream.Read(make([]byte, 1)); err == nil {
				t.Errorf("read %d bytes from a stream that leads nowhere", n)
			}
		})
	}
}

func TestGuestCannotHoldMoreStreamsThanAllowed(t *testing.T) {
	host, guest := open(t)
	serve(t, host, "s")
	for range pipe.MaxStreams { // held open without a name
		if _, err := guest.OpenStream(); err != nil {
			t.Fatal(err)
		}
	}
	extra, err := guest.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := extra.Read(make([]byte, 1)); err == nil {
		t.Error("one stream more than allowed was kept")
	}
}

func TestGarbageEndsThePipe(t *testing.T) {
	a, b := net.Pipe()
	host, err := pipe.NewHost(a)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = b.Write([]byte(strings.Repeat("not a frame ", 100))) }()
	go func() { _, _ = io.Copy(io.Discard, b) }()
	<-host.Done()
	if _, err := host.Dial(t.Context()); !errors.Is(err, pipe.ErrClosed) {
		t.Errorf("Dial after garbage: %v, want ErrClosed", err)
	}
	_ = b.Close()
}
