package vault_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"lap/sandbox"
	"lap/sandbox/vault"
)

// echo answers with what it was sent.
func echo(rw http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(rw, r.Header.Get("Authorization")+" "+r.URL.RawQuery)
}

// A host that a credential is bound to cannot be asked in a way in which nobody looks through
// the answer.
func TestBoundHostIsAlwaysRead(t *testing.T) {
	w := newWorld(t)
	w.set(func(w *world) { w.answer = echo })
	t.Run("other protocols of TLS", func(t *testing.T) {
		for _, protocols := range [][]string{{"http/1.0"}, {"http/0.9"}, {"acme-tls/1"}, {"imap"}} {
			conn, a := w.open("api.github.com", 443, sandbox.ViaProxy)
			if a.Error != "" {
				t.Fatal(a)
			}
			c := tls.Client(conn, &tls.Config{RootCAs: w.roots(), ServerName: "api.github.com", NextProtos: protocols})
			if err := c.Handshake(); err == nil {
				t.Errorf("%v is passed on", protocols)
			}
		}
	})
	t.Run("its address", func(t *testing.T) {
		conn, _ := w.open(publicAddr, 443, sandbox.ViaCapture)
		if status, text := getTLS(t, w, conn, "api.github.com"); status != 403 || !strings.Contains(text, "by its name") {
			t.Errorf("%d %s", status, text)
		}
		conn, _ = w.open(publicAddr, 80, sandbox.ViaCapture)
		if status, text := get(t, conn, "api.github.com"); status != 421 || !strings.Contains(text, "by its name") {
			t.Errorf("%d %s", status, text)
		}
		conn, _ = w.open(publicAddr, 443, sandbox.ViaCapture)
		c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err == nil {
			if status, text := get(t, c, "api.github.com"); status != 403 || !strings.Contains(text, "bare address") {
				t.Errorf("%d %s", status, text)
			}
		}
		w.set(func(w *world) { w.policy.Rules.ServerAllow = entries(t, publicAddr) })
		conn, _ = w.open(publicAddr, 443, sandbox.ViaCapture)
		if err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).Handshake(); err != nil {
			t.Errorf("an address that is named: %v", err)
		}
	})
	t.Run("a bare line", func(t *testing.T) {
		conn, _ := w.open("api.github.com", 80, sandbox.ViaProxy)
		_, _ = io.WriteString(conn, "GET /?"+stubToken+"\r\n")
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if text, _ := io.ReadAll(conn); !strings.HasPrefix(string(text), "HTTP/1.1 400") {
			t.Errorf("answer = %q", text)
		}
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.got) > 0 {
		t.Errorf("the host got %d requests", len(w.got))
	}
}

// A part of an answer could be chosen to be a part of a credential.
func TestNoPartsOfAnswers(t *testing.T) {
	w := newWorld(t)
	w.set(func(w *world) {
		w.answer = func(rw http.ResponseWriter, r *http.Request) {
			http.ServeContent(rw, r, "x.bin", time.Time{}, strings.NewReader(realToken))
		}
	})
	a := w.do(w.client(), "GET", "https://api.github.com/x.bin", "", "Range", "bytes=0-6")
	if a.status != 200 || strings.Contains(a.body, realToken[:7]) {
		t.Errorf("%d %q", a.status, a.body)
	}
}

func TestHalfClosedConnectionGoesOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			said, _ := io.ReadAll(conn) // until the client has no more to say
			_, _ = conn.Write(append(said, "!"...))
			conn.Close()
		}
	}()
	for _, credentials := range []bool{true, false} {
		w := newWorld(t)
		w.set(func(w *world) {
			w.at[publicAddr+":79"] = l.Addr().String()
			if !credentials {
				w.policy.Credentials = nil
			}
		})
		conn, a := w.open("other.example", 79, sandbox.ViaCapture)
		if a.Error != "" {
			t.Fatal(a)
		}
		_, _ = io.WriteString(conn, "\x00hello")
		_ = conn.(*buffered).CloseWrite()
		if text, err := io.ReadAll(conn); err != nil || string(text) != "\x00hello!" {
			t.Errorf("answer = %q, %v", text, err)
		}
	}
}

// Behind a proxy of lap's machine nobody knows where a name leads that does not resolve here.
func TestNamesThatOnlyAProxyKnows(t *testing.T) {
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	asked := make(chan string, 10)
	go func() {
		for {
			conn, err := proxy.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 1024)
			n, _ := conn.Read(buf)
			asked <- string(buf[:n])
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nhello from behind")
			conn.Close()
		}
	}()
	w := newWorld(t)
	via := w.with(&vault.Network{Lookup: w.lookup, Dial: w.dialAddr, Proxy: func(string) (*url.URL, error) {
		return &url.URL{Scheme: "http", Host: proxy.Addr().String(), User: url.UserPassword("u", "p")}, nil
	}})
	if _, a := via.open("only.behind", 25, sandbox.ViaProxy); a.Error == "" {
		t.Error("a name that nobody has named was passed to the proxy")
	}
	w.set(func(w *world) { w.names["inner.example"] = []string{"10.0.0.1"} })
	if _, a := via.open("inner.example", 25, sandbox.ViaProxy); !a.Refused {
		t.Errorf("answer = %+v", a)
	}
	w.set(func(w *world) { w.policy.Rules.Allow = entries(t, "*.behind", "other.example") })
	for _, host := range []string{"only.behind", "other.example"} {
		conn, a := via.open(host, 25, sandbox.ViaProxy)
		if a.Error != "" {
			t.Fatal(a)
		}
		if text, _ := io.ReadAll(conn); string(text) != "hello from behind" {
			t.Errorf("text = %q", text)
		}
		if got := <-asked; !strings.HasPrefix(got, "CONNECT "+host+":25 HTTP/1.1\r\n") || !strings.Contains(got, "Proxy-Authorization: Basic dTpw\r\n") {
			t.Errorf("the proxy was asked %q", got)
		}
	}
	w.nothing()
}

func TestAddressesOfThisMachine(t *testing.T) {
	w := newWorld(t)
	local := w.with(&vault.Network{Lookup: w.lookup, Dial: w.dialAddr, Local: func(a netip.Addr) bool { return a.String() == publicAddr }})
	if _, a := local.open("other.example", 80, sandbox.ViaProxy); !a.Refused || !strings.Contains(a.Error, "machine that lap runs on") {
		t.Errorf("answer = %+v", a)
	}
	w.nothing()
	w.set(func(w *world) { w.policy.Rules.ServerAllow = entries(t, publicAddr) })
	if _, a := local.open("other.example", 80, sandbox.ViaProxy); a.Error != "" {
		t.Errorf("answer = %+v", a)
	}
}

// What rules forbid while a connection is being made is not made.
func TestRulesThatChangeMeanwhile(t *testing.T) {
	w := newWorld(t)
	dialling, goOn := make(chan bool), make(chan bool)
	network := &vault.Network{Lookup: w.lookup}
	network.Dial = func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		dialling <- true
		<-goOn
		return w.dialAddr(ctx, addr)
	}
	slow := w.with(network)
	answered := make(chan sandbox.EgressAnswer)
	go func() { _, a := slow.open("other.example", 80, sandbox.ViaProxy); answered <- a }()
	<-dialling
	w.set(func(w *world) { w.policy.Rules.Deny = entries(t, "192.0.2.0/24") })
	slow.vault.Changed(t.Context(), "s1")
	close(goOn)
	if a := <-answered; a.Error == "" {
		t.Error("the connection was made")
	}
}

func TestManyConnectionsToAHost(t *testing.T) {
	w := newWorld(t)
	block := make(chan bool)
	full := w.with(&vault.Network{Lookup: w.lookup, Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
		<-block
		return nil, errors.New("too late")
	}})
	defer close(block)
	for range 512 {
		full.begin("other.example", 80)
	}
	eventually(t, "no more connections", func() bool {
		conn := full.begin("other.example", 80)
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		buf := make([]byte, 200)
		n, _ := conn.Read(buf)
		return strings.Contains(string(buf[:n]), "too many connections")
	})
}
