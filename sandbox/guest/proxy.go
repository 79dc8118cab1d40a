//go:build linux

package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"

	"lap/sandbox"
)

const (
	// openingTimeout is for a client to say what it wants, and idleTimeout to want more.
	openingTimeout = time.Minute
	idleTimeout    = 2 * time.Minute
	// maxIdle bounds the connections to the outside that are kept for further requests,
	// keepIdle how long.
	maxIdle  = 64
	keepIdle = 30 * time.Second
)

const whatThisIs = "This is the way out of a lap sandbox: a proxy for HTTP, CONNECT and SOCKS5, and no web server.\n" +
	"Programs find it by http_proxy, https_proxy and all_proxy."

// A proxy is what is at sandbox.ProxyAddr.
type proxy struct {
	egress  *egress
	lines   *lines // HTTP clients, for the server
	forward *httputil.ReverseProxy
}

// openProxy opens a proxy at a loopback address until ctx ends.
func (g *Guest) openProxy(ctx context.Context, addr string) error {
	p := g.newProxy(ctx)
	return g.listen(ctx, addr, maxOutward, func(conn *net.TCPConn) { p.serve(ctx, conn) })
}

// newProxy returns a proxy that works until ctx ends.
func (g *Guest) newProxy(ctx context.Context) *proxy {
	p := newProxy(g.egress)
	silent := log.New(io.Discard, "", 0) // clients and servers that break off are no concern of lap's
	p.forward.ErrorLog = silent
	srv := &http.Server{
		Handler: p, DisableGeneralOptionsHandler: true, ErrorLog: silent, ReadHeaderTimeout: openingTimeout, IdleTimeout: idleTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	g.work.Go(func() {
		stop := context.AfterFunc(ctx, func() { _ = srv.Close(); p.egress.idle() })
		defer stop()
		_ = srv.Serve(p.lines) // until then
	})
	return p
}

func newProxy(e *egress) *proxy {
	p := &proxy{egress: e, lines: newLines()}
	transport := &http.Transport{
		DialContext: p.dial, DisableCompression: true, MaxResponseHeaderBytes: 1 << 20,
		MaxIdleConns: maxIdle, MaxIdleConnsPerHost: maxIdle, IdleConnTimeout: keepIdle, ExpectContinueTimeout: time.Second,
	}
	e.idle = transport.CloseIdleConnections
	p.forward = &httputil.ReverseProxy{
		Transport: transport, Rewrite: rewrite, FlushInterval: -1, BufferPool: chunkPool{},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { deny(w, err) },
	}
	return p
}

// serve serves one client until it hangs up. The first byte tells what it speaks.
func (p *proxy) serve(ctx context.Context, conn *net.TCPConn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	defer stop()
	client := &begun{TCPConn: conn, closed: make(chan struct{})}
	_ = conn.SetReadDeadline(time.Now().Add(openingTimeout)) // of a connection that is open
	if _, err := io.ReadFull(conn, client.first[:]); err != nil {
		return
	}
	client.left = 1
	if client.first[0] == socksVersion {
		p.socks(ctx, client)
		return
	}
	select {
	case p.lines.calls <- client:
	case <-ctx.Done():
		return
	}
	select {
	case <-client.closed:
	case <-ctx.Done(): // the server may not have seen it
	}
}

// socks serves a SOCKS5 client.
func (p *proxy) socks(ctx context.Context, client *begun) {
	host, port, err := socksRequest(client)
	if err != nil {
		return
	}
	_ = client.SetReadDeadline(time.Time{})
	patience, done := patient(ctx, client.TCPConn)
	remote, err := p.egress.dial(patience, host, port, sandbox.ViaSOCKS)
	done()
	if err != nil {
		_ = socksReply(client, socksCode(err)) // it may be gone
		return
	}
	defer remote.Close()
	if socksReply(client, socksDone) == nil {
		join(ctx, client, remote)
	}
}

// ServeHTTP serves one request of an HTTP client.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		p.connect(w, r)
	case r.URL.Scheme == "http" && r.URL.Host != "":
		_ = http.NewResponseController(w).EnableFullDuplex() // a host may answer before it has all of the body
		p.forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, r.Context())))
	case r.URL.Scheme != "":
		http.Error(w, "This proxy takes requests for http addresses. For others, ask it to CONNECT.", http.StatusBadRequest)
	default:
		http.Error(w, whatThisIs, http.StatusBadRequest)
	}
}

// connect answers CONNECT.
func (p *proxy) connect(w http.ResponseWriter, r *http.Request) {
	host, port, err := splitHostPort(r.URL.Host)
	if err != nil {
		http.Error(w, "CONNECT takes a host and a port, such as example.com:443.", http.StatusBadRequest)
		return
	}
	remote, err := p.egress.dial(r.Context(), host, port, sandbox.ViaProxy)
	if err != nil {
		deny(w, err)
		return
	}
	defer remote.Close()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // the client has gone
	}
	defer conn.Close()
	client, ok := conn.(*begun)
	if !ok {
		return // the server has only those
	}
	early, _ := buffered.Peek(buffered.Reader.Buffered()) // as many there are
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	if _, err := remote.Write(early); err == nil {
		join(r.Context(), client, remote)
	}
}

// requestKey is the key of a request's context in its own values.
type requestKey struct{}

// dial makes a connection for the transport, which takes from ctx that its request ends:
// the connection might serve another. But without lap that may be never.
func (p *proxy) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if request, ok := ctx.Value(requestKey{}).(context.Context); ok {
		defer context.AfterFunc(request, cancel)() //nolint:contextcheck // it is the request's own
	}
	host, port, err := splitHostPort(addr)
	if err != nil {
		return nil, &deniedError{sentence: fmt.Sprintf("%.300q is no host to connect with.", addr)}
	}
	return p.egress.dial(ctx, host, port, sandbox.ViaProxy)
}

// rewrite undoes what ReverseProxy does to a request that a client did not send through
// it by its own choice.
func rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
}

// deny answers a request to which no server has.
func deny(w http.ResponseWriter, err error) {
	status, text := http.StatusBadGateway, "The connection broke off: "+err.Error()+"."
	if denied, ok := errors.AsType[*deniedError](err); ok {
		text = denied.sentence
		if denied.refused {
			status = http.StatusForbidden
			w.Header().Set(sandbox.BlockedHeader, sandbox.BlockedValue)
		}
	}
	http.Error(w, text, status)
}

func splitHostPort(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, int(n), err
}

// A begun is a connection of which the first byte has been read.
type begun struct {
	*net.TCPConn
	first  [1]byte
	left   int // of first
	once   sync.Once
	closed chan struct{}
}

func (b *begun) Read(p []byte) (int, error) {
	if b.left == 0 || len(p) == 0 {
		return b.TCPConn.Read(p)
	}
	b.left = 0
	return copy(p, b.first[:]), nil
}

// WriteTo is the way io.Copy takes, which else would go by Read.
func (b *begun) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{b})
}

func (b *begun) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.TCPConn.Close()
}
