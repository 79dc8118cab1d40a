package vault_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/sandbox"
	"lap/sandbox/pipe"
)

// piped makes a connection to a host as a sandbox does: over a stream of a pipe, with TLS.
func (w *world) piped(host string) *tls.Conn {
	w.tb.Helper()
	a, b := net.Pipe()
	far, err := pipe.NewHost(a)
	if err != nil {
		w.tb.Fatal(err)
	}
	near, err := pipe.NewGuest(b)
	if err != nil {
		w.tb.Fatal(err)
	}
	streams := pipe.NewListener()
	var serving sync.WaitGroup
	serving.Go(func() { far.Serve("s1", map[pipe.Service]*pipe.Listener{pipe.Egress: streams}) })
	serving.Go(func() {
		if conn, err := streams.Accept(); err == nil {
			w.vault.Serve(w.tb.Context(), conn, pipe.OwnerOf(conn))
		}
	})
	w.tb.Cleanup(func() {
		_ = near.Close()
		_ = far.Close()
		_ = streams.Close()
		serving.Wait()
	})
	conn, err := near.Open(pipe.Egress)
	if err != nil {
		w.tb.Fatal(err)
	}
	line, err := json.Marshal(sandbox.EgressRequest{Host: host, Port: 443, Via: sandbox.ViaCapture})
	if err != nil {
		w.tb.Fatal(err)
	}
	if _, err := conn.Write(append(line, '\n')); err != nil {
		w.tb.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if answer, err := in.ReadString('\n'); err != nil || answer != "{}\n" {
		w.tb.Fatalf("answer %q, %v", answer, err)
	}
	secure := tls.Client(&buffered{conn, in}, &tls.Config{RootCAs: w.roots(), ServerName: host})
	if err := secure.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		w.tb.Fatal(err)
	}
	return secure
}

// TestKeepAliveOverPipe makes the server wait for more between two requests, and give up
// waiting to answer.
func TestKeepAliveOverPipe(t *testing.T) {
	w := newWorld(t)
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond) // by now the vault waits for a next request
		_, _ = io.Copy(rw, r.Body)
	}
	conn := w.piped("api.github.com")
	in := bufio.NewReader(conn)
	for n := range 3 {
		body := fmt.Sprint("body ", n)
		fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: api.github.com\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("request %d: %v", n, err)
		}
		text, err := io.ReadAll(res.Body)
		if err != nil || string(text) != body {
			t.Errorf("request %d: %q, %v", n, text, err)
		}
	}
}

func TestUpgradeOverPipe(t *testing.T) {
	w := newWorld(t)
	w.answer = func(rw http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, _ := buf.ReadString('\n')
		_, _ = io.WriteString(conn, r.Header.Get("Authorization")+" "+line)
	}
	conn := w.piped("api.github.com")
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: api.github.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: %s\r\n\r\n", stubToken)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	line, err := in.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, stubToken) || !strings.HasSuffix(line, " hello\n") {
		t.Errorf("%q, %v", line, err)
	}
}
