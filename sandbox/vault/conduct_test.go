package vault_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lap/sandbox"
)

// A host that answers before it has the whole request gets the whole all the same, and its
// answer is not kept back.
func TestEarlyAnswer(t *testing.T) {
	w := newWorld(t)
	var got bytes.Buffer
	ended := make(chan error, 1)
	w.plain.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).EnableFullDuplex()
		_, _ = io.WriteString(rw, "early")
		_ = http.NewResponseController(rw).Flush()
		_, err := io.Copy(&got, r.Body)
		ended <- err
	})
	conn, a := w.open("api.github.com", 80, sandbox.ViaProxy)
	if a.Error != "" {
		t.Fatal(a)
	}
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: api.github.com\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	seen := make([]byte, 0, 4096)
	for buf := make([]byte, 1024); !bytes.Contains(seen, []byte("early")); {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%q, %v", seen, err)
		}
		seen = append(seen, buf[:n]...)
	}
	for range 50 {
		_, _ = fmt.Fprintf(conn, "400\r\n%s\r\n", strings.Repeat("x", 1024))
	}
	_, _ = io.WriteString(conn, "0\r\n\r\n")
	if err := <-ended; err != nil || got.Len() != 4+50*1024 {
		t.Errorf("the host got %d bytes, %v", got.Len(), err)
	}
}

// Trailers of a request come after its body.
func TestTrailersOfARequest(t *testing.T) {
	w := newWorld(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.github.com/", io.LimitReader(zeros{}, 100))
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"X-Sum": {"42"}}
	res, err := w.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got, _ := w.only(); got.Trailer.Get("X-Sum") != "42" {
		t.Errorf("trailers = %v", got.Trailer)
	}
}

// A host does not give a credential of another away, however it came by it.
func TestCredentialsOfOtherHosts(t *testing.T) {
	w := newWorld(t)
	w.set(func(w *world) {
		w.answer = func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "see "+realOther) }
	})
	if a := w.do(w.client(), http.MethodGet, "https://api.github.com/", ""); a.body != "see "+stubOther {
		t.Errorf("body = %q", a.body)
	}
}

// A connection that was passed on unread ends when its host gets a credential.
func TestBindingEndsUnreadConnections(t *testing.T) {
	w := newWorld(t)
	conn, _ := w.open("other.example", 443, sandbox.ViaProxy)
	c := secure(t, w, conn, "other.example")
	if status, _ := get(t, c, "other.example"); status != 200 {
		t.Fatalf("status = %d", status)
	}
	w.set(func(w *world) { w.policy.Credentials[1].Hosts = entries(t, "other.example") })
	w.vault.Changed(t.Context(), "s1")
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection lives on: %v", err)
	}
}

// Answers that nobody reads wait at the host, not here.
func TestUnreadAnswersTakeLittle(t *testing.T) {
	w := newWorld(t)
	host := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.Copy(rw, io.LimitReader(zeros{}, 64<<20))
	}))
	host.Config.Protocols = new(http.Protocols)
	host.Config.Protocols.SetHTTP1(true)
	host.Config.Protocols.SetUnencryptedHTTP2(true)
	host.Start()
	t.Cleanup(host.Close)
	w.set(func(w *world) { w.at[publicAddr+":80"] = host.Listener.Addr().String() })
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	peak := watchHeap(t)
	for range 2 {
		conn, a := w.open("api.github.com", 80, sandbox.ViaProxy)
		if a.Error != "" {
			t.Fatal(a)
		}
		client := &http.Transport{
			Protocols: protocols, DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil },
			HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 64 << 10},
		}
		for range 30 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.github.com/", nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = res.Body.Close() })
		}
	}
	time.Sleep(500 * time.Millisecond) // for what there is to come
	if grown := peak(); grown > 40<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}
