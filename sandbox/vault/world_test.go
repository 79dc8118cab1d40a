package vault_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/sandbox"
	"lap/sandbox/vault"
	"lap/sandbox/vault/ca"
	"lap/sandbox/vault/rule"
	"lap/sandbox/vault/swap"
)

const (
	realToken = "ghp_RealRealRealRealRealRealReal0042"
	stubToken = "stub_github_token_0123abcd"
	realOther = "sk-other-OtherOtherOtherOther-0077"
	stubOther = "stub_other_key_89ab4567"

	publicAddr = "192.0.2.10" // of every name that the world knows
)

// A world is a vault with nothing but fakes around it: names resolve to what the test says,
// and what is dialled is written down and leads to a server of the test.
type world struct {
	tb        testing.TB
	vault     *vault.Vault
	authority *ca.Authority
	host      *httptest.Server // behind publicAddr, on port 443
	plain     *httptest.Server // behind publicAddr, on port 80

	mu      sync.Mutex // guards what follows
	policy  vault.Policy
	failing error // of the policy
	names   map[string][]string
	at      map[string]string // address and port as dialled, to a listener of the test
	dialled []string
	seen    []vault.Connection
	asked   []vault.Request
	got     []*http.Request // by the hosts
	bodies  []string
	answer  http.HandlerFunc // nil: 200, "ok"
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	dir := tb.TempDir()
	authority, err := ca.Open(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{tb: tb, authority: authority, at: map[string]string{}, names: map[string][]string{"api.github.com": {publicAddr}, "other.example": {publicAddr}}}
	w.host = httptest.NewUnstartedServer(w)
	w.host.EnableHTTP2 = true
	w.host.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		conf := authority.Config(hostName(h)) // any authority will do
		return conf, nil
	}}
	w.host.StartTLS()
	w.plain = httptest.NewServer(w)
	tb.Cleanup(w.host.Close)
	tb.Cleanup(w.plain.Close)
	w.at[publicAddr+":443"], w.at[publicAddr+":80"] = w.host.Listener.Addr().String(), w.plain.Listener.Addr().String()
	w.policy = vault.Policy{Credentials: []vault.Credential{
		{Credential: swap.Credential{Name: "GITHUB_TOKEN", Stub: stubToken, Value: realToken}, Hosts: entries(tb, "api.github.com", "*.githubusercontent.com")},
		{Credential: swap.Credential{Name: "OTHER_KEY", Stub: stubOther, Value: realOther}, Reason: "OTHER_KEY is bound to no host"},
	}}
	w.vault = vault.New(vault.Config{
		CA: authority, Network: &vault.Network{Lookup: w.lookup, Dial: w.dialAddr}, Roots: w.roots(),
		Policy: w.rules, Connected: w.connected, Requested: w.requested, Log: slog.New(slog.DiscardHandler),
	})
	w.run()
	return w
}

func hostName(h *tls.ClientHelloInfo) string {
	if h.ServerName != "" {
		return h.ServerName
	}
	return publicAddr
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.tb.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.vault.Run(ctx) }()
	w.tb.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.tb.Errorf("Run = %v", err)
		}
	})
}

func (w *world) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(w.authority.Certificate())) {
		w.tb.Fatal("the authority has no certificate")
	}
	return pool
}

func entries(tb testing.TB, list ...string) []rule.Entry {
	tb.Helper()
	var out []rule.Entry
	for _, text := range list {
		e, err := rule.ParseEntry(text)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// set changes the world.
func (w *world) set(change func(w *world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *world) rules(context.Context, string) (vault.Policy, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.policy, w.failing
}

func (w *world) lookup(_ context.Context, name string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list, ok := w.names[name]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	var addrs []netip.Addr
	for _, text := range list {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs, nil
}

func (w *world) dialAddr(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, addr.String())
	at := w.at[addr.String()]
	w.mu.Unlock()
	if at == "" {
		return nil, errors.New("connection refused")
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", at)
}

func (w *world) connected(c vault.Connection) { w.set(func(w *world) { w.seen = append(w.seen, c) }) }

func (w *world) requested(r vault.Request) { w.set(func(w *world) { w.asked = append(w.asked, r) }) }

// ServeHTTP is the host.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	w.got, w.bodies = append(w.got, r), append(w.bodies, string(body))
	answer := w.answer
	w.mu.Unlock()
	if answer != nil {
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		answer(rw, r)
		return
	}
	_, _ = io.WriteString(rw, "ok")
}

// open asks the vault for a connection as a guest does, and returns it with the answer.
func (w *world) open(host string, port int, via string) (net.Conn, sandbox.EgressAnswer) {
	w.tb.Helper()
	conn, a, err := ask(w.stream(), host, port, via)
	if err != nil {
		w.tb.Fatal(err)
	}
	return conn, a
}

// ask asks for a connection on a stream to the vault.
func ask(stream net.Conn, host string, port int, via string) (net.Conn, sandbox.EgressAnswer, error) {
	var a sandbox.EgressAnswer
	line, err := json.Marshal(sandbox.EgressRequest{Host: host, Port: port, Via: via})
	if err != nil {
		return nil, a, err
	}
	if _, err := stream.Write(append(line, '\n')); err != nil {
		return nil, a, err
	}
	in := bufio.NewReader(stream)
	_ = stream.SetReadDeadline(time.Now().Add(20 * time.Second))
	text, err := in.ReadBytes('\n')
	if err != nil {
		return nil, a, fmt.Errorf("no answer: %w", err)
	}
	_ = stream.SetReadDeadline(time.Time{})
	return &buffered{stream, in}, a, json.Unmarshal(text, &a)
}

// begin asks for a connection and does not wait for the answer.
func (w *world) begin(host string, port int) net.Conn {
	w.tb.Helper()
	stream := w.stream()
	line, err := json.Marshal(sandbox.EgressRequest{Host: host, Port: port, Via: sandbox.ViaProxy})
	if err != nil {
		w.tb.Fatal(err)
	}
	if _, err := stream.Write(append(line, '\n')); err != nil {
		w.tb.Fatal(err)
	}
	return stream
}

// stream is a stream to the vault.
func (w *world) stream() net.Conn {
	w.tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.tb.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		w.tb.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		w.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.tb.Context()))
	served := make(chan struct{})
	go func() { w.vault.Serve(ctx, far, "s1"); close(served) }()
	w.tb.Cleanup(func() {
		_ = near.Close()
		cancel()
		select {
		case <-served:
		case <-time.After(20 * time.Second):
			w.tb.Error("Serve does not return")
		}
	})
	return near
}

type buffered struct {
	net.Conn
	in *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.in.Read(p) }
func (b *buffered) CloseWrite() error          { return b.Conn.(*net.TCPConn).CloseWrite() }

// client is an HTTP client in the sandbox.
func (w *world) client() *http.Client {
	t := &http.Transport{
		DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			n, err := strconv.Atoi(port)
			if err != nil {
				return nil, err
			}
			conn, a := w.open(host, n, sandbox.ViaProxy) //nolint:contextcheck // a connection outlives the request that needs it first
			if a.Error != "" {
				return nil, errors.New(a.Error)
			}
			return conn, nil
		},
		TLSClientConfig: &tls.Config{RootCAs: w.roots()}, ForceAttemptHTTP2: true, DisableCompression: true,
	}
	w.tb.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return nil }}
}

// answerOf is a response, read.
type answerOf struct {
	status int
	header http.Header
	body   string
	proto  string
}

// do sends a request; header comes in pairs of name and value.
func (w *world) do(c *http.Client, method, url, body string, header ...string) answerOf {
	w.tb.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		w.tb.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.tb.Fatal(err)
	}
	return answerOf{res.StatusCode, res.Header, string(text), res.Proto}
}

func (a answerOf) want(tb testing.TB, status int, texts ...string) {
	tb.Helper()
	if a.status != status {
		tb.Errorf("status = %d, want %d: %s", a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			tb.Errorf("answer = %q, want %q in it", a.body, text)
		}
	}
}

// only returns the one request that the host got.
func (w *world) only() (*http.Request, string) {
	w.tb.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.got) != 1 {
		w.tb.Fatalf("the host got %d requests, want 1", len(w.got))
	}
	return w.got[0], w.bodies[0]
}

// nothing fails when anything was dialled.
func (w *world) nothing() {
	w.tb.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.dialled) > 0 {
		w.tb.Errorf("dialled %v", w.dialled)
	}
}

// eventually waits until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for range 400 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	tb.Fatalf("never: %s", what)
}

// with returns a world like w whose vault has another network.
func (w *world) with(n *vault.Network) *world {
	other := &world{tb: w.tb, authority: w.authority}
	other.vault = vault.New(vault.Config{
		CA: w.authority, Network: n, Roots: w.roots(), Policy: w.rules, Connected: w.connected, Requested: w.requested, Log: slog.New(slog.DiscardHandler),
	})
	other.run()
	return other
}
