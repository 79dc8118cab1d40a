package vault

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"lap/sandbox"
	"lap/sandbox/vault/rule"
)

// A refusal is a connection that a rule does not allow.
type refusal struct{ rule.Decision }

func (r *refusal) Error() string { return r.Reason }

// explainTimeout is for a program to take in why its connection was refused.
const explainTimeout = 10 * time.Second

// turnDown tells the sandbox that there is no connection. A program that knows no proxy
// is told in its own protocol, where lap speaks that.
func (c *connection) turnDown(ctx context.Context, err error) {
	r, refused := errors.AsType[*refusal](err)
	if !refused {
		c.failed(err)
		_ = c.answer(err) // the guest may be gone
		return
	}
	c.refuse(r.Decision)
	if c.via != sandbox.ViaCapture {
		_ = c.answer(err)
		return
	}
	if c.answer(nil) == nil {
		c.explain(ctx, c.in, "")
	}
}

// refuse notes that a rule has ended the connection.
func (c *connection) refuse(d rule.Decision) {
	c.failed(&refusal{d})
	c.request(Request{Method: http.MethodConnect, Path: "/", Blocked: true, Note: d.Reason})
}

// explain answers a request over TLS or plain HTTP with the reason of a refusal. name is
// what TLS asks for; empty: not known. Nothing of it leaves this machine.
func (c *connection) explain(ctx context.Context, in io.Reader, name string) {
	if c.down.SetDeadline(time.Now().Add(explainTimeout)) != nil {
		return
	}
	reader, ok := in.(*bufio.Reader)
	if !ok {
		reader = bufio.NewReader(in)
	}
	var conn net.Conn = &prefixed{c.down, reader}
	switch sniff(reader, false) {
	case protocolTLS:
		secure, err := c.posing(ctx, conn, name)
		if err != nil {
			return
		}
		defer secure.Close()
		conn = secure
	case protocolHTTP:
	default:
		return
	}
	if _, err := http.ReadRequest(bufio.NewReader(io.LimitReader(conn, maxHeader))); err != nil {
		return
	}
	c.mu.Lock()
	reason := c.seen.Reason
	c.mu.Unlock()
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 403 Forbidden\r\n%s: %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n",
		sandbox.BlockedHeader, sandbox.BlockedValue, len(reason)+1, reason) // who asked may be gone
}

// posing takes the part of the host in TLS.
func (c *connection) posing(ctx context.Context, conn net.Conn, name string) (*tls.Conn, error) {
	conf := c.vault.cfg.CA.Config(c.target.String())
	if name != "" {
		conf = c.vault.cfg.CA.Config(name)
	}
	conf.NextProtos = []string{"http/1.1"}
	secure := tls.Server(conn, conf)
	return secure, secure.HandshakeContext(ctx)
}
