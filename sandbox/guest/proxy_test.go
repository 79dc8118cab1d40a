//go:build linux

package guest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/sandbox"
	"lap/sandbox/pipe"
)

// client returns an HTTP client that uses the proxy.
func (o *outside) client() *http.Client {
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: o.addr}), DisableCompression: true}
	o.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// say writes text to the proxy and returns the response to it.
func (o *outside) say(text string) (*http.Response, string) {
	o.t.Helper()
	conn := o.dial()
	if _, err := io.WriteString(conn, text); err != nil {
		o.t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		o.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return res, string(body)
}

func TestProxyRequest(t *testing.T) {
	got := make(chan *http.Request, 1)
	o := newOutside(t, &outside{serve: web(func(w http.ResponseWriter, r *http.Request) {
		got <- r
		w.Header().Set("Location", "http://elsewhere/")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.WriteHeader(http.StatusFound)
	})})
	o.connect()
	res, _ := o.say("GET http://example.com/a%2Fb?x=1;y=%zz HTTP/1.1\r\nHost: other\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n" +
		"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp4\r\nAccept: text/x\r\nX-Forwarded-Host: mine\r\n\r\n")
	if res.StatusCode != http.StatusFound || res.Header.Get("Location") != "http://elsewhere/" || res.Header.Get("Keep-Alive") != "" {
		t.Errorf("response %s %v", res.Status, res.Header)
	}
	r := <-got
	if r.RequestURI != "/a%2Fb?x=1;y=%zz" || r.Host != "example.com" {
		t.Errorf("%s of %s", r.RequestURI, r.Host)
	}
	want := http.Header{"Accept": {"text/x"}, "X-Forwarded-Host": {"mine"}}
	if diff := cmp.Diff(want, r.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]sandbox.EgressRequest{{Host: "example.com", Port: 80, Via: "proxy"}}, o.requests()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestProxyKeepsConnectionsApartAndAlive(t *testing.T) {
	o := newOutside(t, &outside{})
	o.serve = func(asked sandbox.EgressRequest, conn net.Conn) {
		web(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s:%d", asked.Host, asked.Port) })(asked, conn)
	}
	o.connect()
	c := o.client()
	for range 3 {
		for _, host := range []string{"one.test:80", "two.test:8080"} {
			res, err := c.Get("http://" + host + "/")
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			if err != nil || string(text) != host {
				t.Errorf("%s answered %s, %v", host, text, err)
			}
			_ = res.Body.Close()
		}
	}
	if n := len(o.requests()); n != 2 {
		t.Errorf("%d connections, want one for each host", n)
	}
	o.guest.egress.idle()
	o.free()
}

func TestProxyAnswersItself(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		answer        func(sandbox.EgressRequest) sandbox.EgressAnswer
		status        int
		blocked, body string
	}{
		{"refused", "GET http://example.com/ HTTP/1.1\r\nHost: x\r\n\r\n", refuseAll, 403, "egress-policy", "example.com is not on the list.\n"},
		{"refused to connect", "CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", refuseAll, 403, "egress-policy", "example.com is not on the list.\n"},
		{"failed", "GET http://example.com/ HTTP/1.1\r\nHost: x\r\n\r\n", failAll, 502, "", "example.com has no address.\n"},
		{"failed to connect", "CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", failAll, 502, "", "example.com has no address.\n"},
		{"no proxy request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", nil, 400, "", whatThisIs + "\n"},
		{"options", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", nil, 400, "", whatThisIs + "\n"},
		{"other scheme", "GET ftp://example.com/ HTTP/1.1\r\nHost: x\r\n\r\n", nil, 400, "", "This proxy takes requests for http addresses. For others, ask it to CONNECT.\n"},
		{"connect without port", "CONNECT example.com HTTP/1.1\r\nHost: x\r\n\r\n", nil, 400, "", "CONNECT takes a host and a port, such as example.com:443.\n"},
		{"port of no use", "CONNECT example.com:70000 HTTP/1.1\r\nHost: x\r\n\r\n", nil, 400, "", "CONNECT takes a host and a port, such as example.com:443.\n"},
		{"no host", "CONNECT :443 HTTP/1.1\r\nHost: x\r\n\r\n", nil, 502, "", "\"\" is no host to connect with.\n"},
		{"address of no name", "CONNECT 198.18.0.9:443 HTTP/1.1\r\nHost: x\r\n\r\n", nil, 502, "", "No name has been looked up of late that 198.18.0.9 stands for.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOutside(t, &outside{answer: tt.answer})
			o.connect()
			res, body := o.say(tt.request)
			if res.StatusCode != tt.status || body != tt.body || res.Header.Get("X-Vault-Blocked") != tt.blocked {
				t.Errorf("%s, %q, blocked %q", res.Status, body, res.Header.Get("X-Vault-Blocked"))
			}
			if got := res.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain") {
				t.Errorf("content type %q", got)
			}
			if n := len(o.requests()); tt.answer == nil && n > 0 {
				t.Errorf("%d connections were asked for", n)
			}
			o.free()
		})
	}
}

func TestConnectCarriesBothWays(t *testing.T) {
	o := newOutside(t, &outside{serve: func(_ sandbox.EgressRequest, conn net.Conn) {
		all, _ := io.ReadAll(conn) // up to the client's half-close
		_, _ = conn.Write(bytes.ToUpper(all))
	}})
	o.connect()
	conn := o.dial()
	// A client may well send on before the answer.
	if _, err := io.WriteString(conn, "CONNECT [2001:db8::1]:99 HTTP/1.1\r\nHost: x\r\n\r\nearly "); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	if _, err := io.WriteString(conn, "late"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); string(got) != "EARLY LATE" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got := o.requests()[0]; got != (sandbox.EgressRequest{Host: "2001:db8::1", Port: 99, Via: "proxy"}) {
		t.Errorf("asked for %+v", got)
	}
	o.free()
}

func TestProxyUpgrade(t *testing.T) {
	o := newOutside(t, &outside{serve: func(_ sandbox.EgressRequest, conn net.Conn) {
		in := bufio.NewReader(conn)
		r, err := http.ReadRequest(in)
		if err != nil || r.Header.Get("Upgrade") != "websocket" {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, _ := in.ReadString('\n')
		_, _ = io.WriteString(conn, "you said "+line)
	}})
	o.connect()
	conn := o.dial()
	if _, err := io.WriteString(conn, "GET http://ws.test/ HTTP/1.1\r\nHost: ws.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res, err)
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := in.ReadString('\n'); got != "you said hello\n" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = conn.Close()
	o.free()
}

func TestProxyBigBodies(t *testing.T) {
	const size = 8 << 20
	o := newOutside(t, &outside{serve: web(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })})
	o.connect()
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	res, err := o.client().Post("http://echo.test/", "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

func TestProxyWaitsForLap(t *testing.T) {
	o := newOutside(t, &outside{serve: web(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "at last") })})
	got := make(chan string, 2)
	for _, url := range []string{"http://a.test/", "http://b.test/"} {
		go func() {
			res, err := o.client().Get(url)
			if err != nil {
				got <- err.Error()
				return
			}
			defer res.Body.Close()
			text, _ := io.ReadAll(res.Body)
			got <- string(text)
		}()
	}
	for len(o.guest.egress.slots) < 2 {
		time.Sleep(time.Millisecond)
	}
	o.connect()
	for range 2 {
		if text := <-got; text != "at last" {
			t.Error(text)
		}
	}
}

func TestClientsThatLeaveAreNotWaitedFor(t *testing.T) {
	for name, opening := range map[string]string{
		"http":    "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"connect": "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"socks":   "\x05\x01\x00\x05\x01\x00\x03\x06a.test\x01\xbb",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOutside(t, &outside{})
			conn := o.dial()
			if _, err := io.WriteString(conn, opening); err != nil {
				t.Fatal(err)
			}
			for len(o.guest.egress.slots) == 0 {
				time.Sleep(time.Millisecond)
			}
			if err := conn.SetLinger(0); err != nil { // it is killed
				t.Fatal(err)
			}
			_ = conn.Close()
			o.free()
		})
	}
}

func TestConnectionIsAskedForAgainOverTheNextPipe(t *testing.T) {
	o := newOutside(t, &outside{})
	asked, dead := make(chan struct{}), make(chan struct{})
	first := true
	o.answer = func(sandbox.EgressRequest) sandbox.EgressAnswer {
		if first {
			first = false
			close(asked)
			<-dead
		}
		return sandbox.EgressAnswer{}
	}
	end := o.connect()
	go func() { <-asked; end(); o.connect(); close(dead) }()
	conn := o.dial()
	if _, err := io.WriteString(conn, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\nping"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if res, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect}); err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	if got := make([]byte, 4); len(got) > 0 {
		if _, err := io.ReadFull(in, got); err != nil || string(got) != "ping" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if n := len(o.requests()); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestPipeThatEndsResetsItsConnections(t *testing.T) {
	o := newOutside(t, &outside{})
	end := o.connect()
	conn := o.dial()
	if _, err := io.WriteString(conn, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if _, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect}); err != nil {
		t.Fatal(err)
	}
	end()
	if _, err := in.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset, for more might have come", err)
	}
	o.free()
}

func TestCaptureRefusesWhoMeansIt(t *testing.T) {
	o := newOutside(t, &outside{})
	o.connect()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	o.guest.capture(t.Context(), accepted.(*net.TCPConn))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want a reset", err)
	}
	if n := len(o.requests()); n > 0 {
		t.Errorf("%d connections were asked for", n)
	}
}

func TestManyConnectionsLeaveNothing(t *testing.T) {
	o := newOutside(t, &outside{answer: func(asked sandbox.EgressRequest) sandbox.EgressAnswer {
		if asked.Port%2 == 0 {
			return failAll(asked)
		}
		return sandbox.EgressAnswer{}
	}})
	o.connect()
	done := make(chan struct{})
	for i := range 3 * maxOutward {
		go func() {
			defer func() { done <- struct{}{} }()
			conn, err := net.Dial("tcp", o.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "CONNECT a.test:%d HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", i+1)
			_ = conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, conn)
		}()
	}
	for range 3 * maxOutward {
		<-done
	}
	o.free()
}

func TestFullPipeHasRoomForOthersThanTheOutside(t *testing.T) {
	o := newOutside(t, &outside{})
	o.connect()
	var last net.Conn
	for range room(pipe.Egress) {
		var err error
		if last, err = o.guest.link.open(t.Context(), pipe.Egress); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(last, `{"host":"a.test","port":1}`+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*fullPause)
	defer cancel()
	if _, err := o.guest.link.open(ctx, pipe.Egress); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one stream more: %v", err)
	}
	other, err := o.guest.link.open(t.Context(), pipe.Gateway)
	if err != nil {
		t.Fatalf("another service: %v", err)
	}
	_ = other.Close()
	_ = last.Close() // and the other end closes it, too
	if _, err := o.guest.link.open(t.Context(), pipe.Egress); err != nil {
		t.Error(err)
	}
}

func TestProxyVariablesWin(t *testing.T) {
	env := environment{"HTTP_PROXY": "http://mine", "no_proxy": "*", "PATH": "/bin"}
	proxied(env)
	const proxy, local = "http://127.0.0.1:3128", "localhost,127.0.0.1,::1"
	want := environment{
		"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "http_proxy": proxy, "https_proxy": proxy, "all_proxy": proxy,
		"NO_PROXY": local, "no_proxy": local, "NODE_USE_ENV_PROXY": "1", "PATH": "/bin",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}
