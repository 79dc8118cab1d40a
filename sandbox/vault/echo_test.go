package vault_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"lap/sandbox"
)

// An echo is a host that sends the credential back, in one of many ways. Whatever the
// sandbox gets must hold a stub in its place, or nothing.
func TestEchoNeverShowsTheCredential(t *testing.T) {
	sent := func(r *http.Request) string { return r.Header.Get("X-Key") }
	for name, echo := range map[string]http.HandlerFunc{
		"header":           func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Echo", sent(r)) },
		"cookie":           func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Set-Cookie", "a="+sent(r)) },
		"content type":     func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "text/"+sent(r)) },
		"content encoding": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Encoding", sent(r)) },
		"content range":    func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Range", "bytes "+sent(r)) },
		"upgrade":          func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Upgrade", sent(r)) },
		"trailer header":   func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Trailer", sent(r)) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://other.example/?k="+sent(r))
			w.WriteHeader(http.StatusFound)
		},
		"body": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, sent(r)) },
		"binary": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, sent(r))
		},
		"json": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(r.Header)
		},
		"base64": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, base64.StdEncoding.EncodeToString([]byte("x"+sent(r))))
		},
		"query": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, url.QueryEscape(sent(r))) },
		"gzip": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, sent(r))
			_ = z.Close()
		},
		"byte by byte": func(w http.ResponseWriter, r *http.Request) {
			for _, b := range []byte(sent(r)) {
				_, _ = w.Write([]byte{b})
				w.(http.Flusher).Flush()
			}
		},
		"trailer": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Known")
			_, _ = io.WriteString(w, "ok")
			w.Header().Set("X-Known", sent(r))
			w.Header().Set(http.TrailerPrefix+"X-Unknown", sent(r))
		},
		"trailer without a body": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Known")
			w.WriteHeader(http.StatusNotModified)
			w.(http.Flusher).Flush()
			w.Header().Set("X-Known", sent(r))
			w.Header().Set(http.TrailerPrefix+"X-Unknown", sent(r))
		},
		"early hint": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</"+sent(r)+">")
			w.WriteHeader(http.StatusEarlyHints)
		},
		"status 404": func(w http.ResponseWriter, r *http.Request) { http.Error(w, sent(r), http.StatusNotFound) },
	} {
		for _, scheme := range []string{"https", "http"} {
			t.Run(name+" over "+scheme, func(t *testing.T) {
				w := newWorld(t)
				w.set(func(w *world) { w.answer = echo })
				raw := w.exchangeAll(scheme, "X-Key: "+stubToken)
				if got, _ := w.only(); got.Header.Get("X-Key") != realToken {
					t.Errorf("the host got %q", got.Header.Get("X-Key"))
				}
				w.hidden(raw)
			})
		}
	}
}

// exchangeAll returns all that comes back for one request: over HTTP/2 where scheme is
// https, as the bytes of HTTP/1.1 else.
func (w *world) exchangeAll(scheme string, header string) string {
	w.tb.Helper()
	if scheme == "http" {
		conn, a := w.open("api.github.com", 80, sandbox.ViaProxy)
		if a.Error != "" {
			w.tb.Fatal(a)
		}
		return rawExchange(w.tb, conn, "GET / HTTP/1.1\r\nHost: api.github.com\r\nAccept-Encoding: gzip\r\nTE: trailers\r\nConnection: close\r\n"+header+"\r\n\r\n")
	}
	req, err := http.NewRequestWithContext(w.tb.Context(), http.MethodGet, "https://api.github.com/", nil)
	if err != nil {
		w.tb.Fatal(err)
	}
	name, value, _ := strings.Cut(header, ": ")
	req.Header.Set(name, value)
	req.Header.Set("Accept-Encoding", "gzip")
	client := w.client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return fmt.Sprint(res.Status, res.Header, string(body), res.Trailer, err)
}

// rawExchange sends bytes and returns all bytes that come back until the end.
func rawExchange(tb testing.TB, conn net.Conn, request string) string {
	tb.Helper()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		tb.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) == 0 {
		tb.Errorf("no answer: %v", err)
	}
	return string(answer)
}

// hidden fails when the real token is in what the sandbox got, or in what is noted of it.
func (w *world) hidden(raw string) {
	w.tb.Helper()
	eventually(w.tb, "the request is noted", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.asked) > 0 })
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.asked {
		w.asked[i].Swapped = nil // it has the value, of which only the end is stored
	}
	for what, text := range map[string]string{"the answer": raw, "the record": fmt.Sprintf("%+v", w.asked)} {
		for _, form := range []string{realToken, base64.StdEncoding.EncodeToString([]byte(realToken))[:20], base64.StdEncoding.EncodeToString([]byte("x" + realToken))[2:20]} {
			if strings.Contains(text, form) {
				w.tb.Errorf("the credential is in %s: %s", what, text)
			}
		}
	}
}

// What a host answers that is no HTTP shows up in messages.
func TestBrokenEchoNeverShowsTheCredential(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":          "%s\r\n\r\n",
		"version":          "HTTP/%s 200 OK\r\n\r\n",
		"status":           "HTTP/1.1 %s OK\r\n\r\n",
		"reason":           "HTTP/1.1 200 %s\r\nContent-Length: 0\r\n\r\n",
		"header line":      "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
		"length":           "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"coding":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
		"content encoding": "HTTP/1.1 200 OK\r\nContent-Encoding: gzip, %s\r\n\r\n",
		"chunk":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n0\r\n\r\n",
		"hint":             "HTTP/1.1 103 Early Hints\r\nLink: %s\r\n\r\nHTTP/1.1 200 %[1]s\r\nContent-Length: 0\r\n\r\n",
		"unasked upgrade":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n",
		"connection":       "HTTP/1.1 200 OK\r\nConnection: close, %s\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.rawHost(func(conn net.Conn, r *http.Request) { _, _ = fmt.Fprintf(conn, answer, r.Header.Get("X-Key")) })
			w.hidden(w.exchangeAll("http", "X-Key: "+stubToken))
		})
	}
}

// The request to upgrade is the agent's own as well.
func TestUpgradeNeverShowsTheCredential(t *testing.T) {
	w := newWorld(t)
	w.rawHost(func(conn net.Conn, r *http.Request) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
	})
	conn, _ := w.open("api.github.com", 80, sandbox.ViaProxy)
	w.hidden(rawExchange(t, conn, "GET / HTTP/1.1\r\nHost: api.github.com\r\nConnection: Upgrade\r\nUpgrade: "+stubToken+"\r\n\r\n"))

	w = newWorld(t)
	w.rawHost(func(conn net.Conn, r *http.Request) {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for _, b := range []byte("you sent " + r.Header.Get("X-Key") + " to us") {
			_, _ = conn.Write([]byte{b})
			time.Sleep(time.Millisecond)
		}
	})
	conn, _ = w.open("api.github.com", 80, sandbox.ViaProxy)
	raw := rawExchange(t, conn, "GET / HTTP/1.1\r\nHost: api.github.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Key: "+stubToken+"\r\n\r\n")
	if !strings.Contains(raw, "you sent ") || !strings.Contains(raw, " to us") {
		t.Errorf("the stream came as %q", raw)
	}
	w.hidden(raw)
}

// A connection that is upgraded to HTTP/2 could ask for any host.
func TestUpgradeToHTTP2(t *testing.T) {
	w := newWorld(t)
	w.set(func(w *world) { w.policy.Rules.Deny = entries(t, "other.example") })
	upgraded := make(chan string, 1)
	w.rawHost(func(conn net.Conn, r *http.Request) {
		upgraded <- r.Header.Get("Upgrade") + r.Header.Get("Http2-Settings")
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	conn, _ := w.open("api.github.com", 80, sandbox.ViaProxy)
	status, _ := exchange(t, conn, "GET / HTTP/1.1\r\nHost: api.github.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
	if got := <-upgraded; got != "" || status != 200 {
		t.Errorf("the host was asked to upgrade to %q; status %d", got, status)
	}
}

// rawHost lets the host answer as it likes, once each request was read.
func (w *world) rawHost(answer func(net.Conn, *http.Request)) {
	w.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { _ = l.Close() })
	w.set(func(w *world) { w.at[publicAddr+":80"] = l.Addr().String() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					answer(conn, r)
				}
			}()
		}
	}()
}

// Names that are spelled to be one host here and another there.
func TestHostInDisguise(t *testing.T) {
	for _, host := range []string{
		"api.github.com:80@other.example", "api.github.com@other.example", "other.example:80", "api.github.com:80:80", "api.github.com:x", "api.github.com, other.example",
		"api.github.com/other.example", "api.github.com#other.example", "api.github.com\tother.example", "[api.github.com]other.example", "api.github.com..", "",
	} {
		w := newWorld(t)
		conn, a := w.open("api.github.com", 80, sandbox.ViaProxy)
		if a.Error != "" {
			t.Fatal(a)
		}
		if status, text := exchange(t, conn, "GET / HTTP/1.1\r\nHost: "+host+"\r\nX-Key: "+stubToken+"\r\n\r\n"); status == 200 {
			t.Errorf("Host %q: %d %s", host, status, text)
		}
		w.mu.Lock()
		if len(w.got) > 0 {
			t.Errorf("Host %q: the host got it as %q", host, w.got[0].Host)
		}
		w.mu.Unlock()
	}
	for _, host := range []string{"API.GitHub.com", "api.github.com.", "api.github.com:80", "API.GITHUB.COM.:80"} {
		w := newWorld(t)
		conn, _ := w.open(strings.Split(host, ":")[0], 80, sandbox.ViaProxy)
		if status, text := exchange(t, conn, "GET / HTTP/1.1\r\nHost: "+host+"\r\nX-Key: "+stubToken+"\r\n\r\n"); status != 200 {
			t.Errorf("Host %q: %d %s", host, status, text)
		}
		if got, _ := w.only(); got.Header.Get("X-Key") != realToken {
			t.Errorf("Host %q: the host got %v", host, got.Header)
		}
	}
}

// What looks like no HTTP at first is looked at again where rules could be evaded with it.
func TestRequestInDisguise(t *testing.T) {
	for _, begin := range []string{
		strings.Repeat("A", 33) + " / HTTP/1.1\r\n", strings.Repeat("A", 3000) + " / HTTP/1.1\r\n", "GET\t/ HTTP/1.1\r\n", "G E T / HTTP/1.1\r\n",
		"GET /" + strings.Repeat("a", 100_000) + " HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n", "\n\n\nGET / HTTP/1.1\r\n", " GET / HTTP/1.1\r\n",
	} {
		w := newWorld(t)
		w.set(func(w *world) { w.policy.Rules.Deny = entries(t, "refused.example") })
		var got bytes.Buffer
		done := make(chan struct{}, 10)
		w.rawBytes(func(b []byte) { got.Write(b); done <- struct{}{} })
		conn, a := w.open("other.example", 80, sandbox.ViaProxy)
		if a.Error != "" {
			t.Fatal(a)
		}
		go func() { _, _ = io.WriteString(conn, begin+"Host: refused.example\r\n\r\n") }()
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
		<-done
		if strings.Contains(got.String(), "Host: refused.example") {
			t.Errorf("%.40q reached the host", begin)
		}
	}
}

// rawBytes gives what comes to the host, when it has ended.
func (w *world) rawBytes(take func([]byte)) {
	w.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() { _ = l.Close() })
	w.set(func(w *world) { w.at[publicAddr+":80"] = l.Addr().String() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		b, _ := io.ReadAll(conn)
		take(b)
	}()
}
