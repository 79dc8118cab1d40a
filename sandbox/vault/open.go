package vault

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"lap/sandbox/vault/swap"
)

// opened is a connection whose HTTP is read, as the server sees it that reads it.
type opened struct {
	*counted
	of     *connection
	in     io.Reader
	secure bool

	transport, cleartext2 *http.Transport // to the host; cleartext2 speaks HTTP/2 without TLS

	once sync.Once
	done chan struct{} // closed when the server is done with it

	mu     sync.Mutex // guards what follows
	first  net.Conn   // the connection to the host that was made already; nil: it is in use, or was too old
	policy Policy     // that keys are made of
	keys   *swap.Keys // nil: none are made yet
}

// keysOf are the keys of a policy for the host. To make them takes longer than most of what
// else a request needs, and they seldom change.
func (o *opened) keysOf(policy Policy) *swap.Keys {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keys == nil || !o.policy.sameKeys(policy) {
		o.policy, o.keys = policy, policy.keys(o.of.target)
	}
	return o.keys
}

func (o *opened) Read(b []byte) (int, error) { return o.in.Read(b) }

// Close ends what is sent to the sandbox.
func (o *opened) Close() error {
	o.once.Do(func() { close(o.done) })
	return o.counted.Close()
}

// open reads HTTP on the connection, where in is what the client sends and up leads to the
// host, until either ends. secure: they speak TLS.
func (c *connection) open(ctx context.Context, up net.Conn, in io.Reader, secure bool) {
	c.mu.Lock()
	c.seen.Opened = true
	c.mu.Unlock()
	o := &opened{counted: c.down, of: c, in: in, secure: secure, first: up, done: make(chan struct{})}
	o.transport = o.newTransport()
	o.cleartext2 = o.newTransport()
	o.cleartext2.Protocols = new(http.Protocols)
	o.cleartext2.Protocols.SetUnencryptedHTTP2(true)
	defer o.transport.CloseIdleConnections()
	defer o.cleartext2.CloseIdleConnections()
	fresh := time.AfterFunc(maxUnused, func() {
		if first := o.takeFirst(); first != nil {
			_ = first.Close() // there will be another
		}
	})
	defer fresh.Stop()
	var conn net.Conn = o
	if secure {
		conn = tls.Server(o, c.vault.cfg.CA.Config(c.target.String()))
	}
	if !c.vault.opened.Deliver(conn, ctx.Done()) {
		return
	}
	select {
	case <-o.done:
	case <-ctx.Done():
		c.close()
		<-o.done // the server finds the connection closed
	}
}

const (
	upstreamConnections = maxRequests     // to the host, for one connection of the sandbox
	maxUnused           = 5 * time.Second // for the first of them, which hosts give up that wait for TLS
	handshakeTimeout    = 10 * time.Second
	upstreamIdle        = 90 * time.Second
)

// newTransport is for one connection of a sandbox alone: some hosts take a connection for
// the credentials that were sent on it first.
func (o *opened) newTransport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return o.dial(ctx) },
		TLSClientConfig: &tls.Config{
			RootCAs: o.of.vault.cfg.Roots, ServerName: o.of.target.String(), MinVersion: tls.VersionTLS12,
		},
		ForceAttemptHTTP2: true, TLSHandshakeTimeout: handshakeTimeout, ExpectContinueTimeout: time.Second,
		MaxConnsPerHost: upstreamConnections, IdleConnTimeout: upstreamIdle, MaxResponseHeaderBytes: maxHeader,
		HTTP2:              &http.HTTP2Config{MaxReceiveBufferPerStream: streamBuffer, MaxReceiveBufferPerConnection: connectionBuffer},
		DisableCompression: true, // what the sandbox asks for is what it gets
	}
}

// dial returns the connection that was made already, or another one, about which is
// decided anew.
func (o *opened) dial(ctx context.Context) (net.Conn, error) {
	if first := o.takeFirst(); first != nil {
		return first, nil
	}
	policy, err := o.of.vault.cfg.Policy(ctx, o.of.sandbox)
	if err != nil {
		return nil, err
	}
	if d := policy.Rules.Host(o.of.target); !d.Allowed {
		return nil, &refusal{d}
	}
	return o.of.connect(ctx, policy)
}

// takeFirst returns the connection that was made already, once.
func (o *opened) takeFirst() net.Conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := o.first
	o.first = nil
	return first
}
