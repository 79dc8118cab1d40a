package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"lap/sandbox"
	"lap/sandbox/vault/rule"
	"lap/sandbox/vault/swap"
)

type openedKey struct{}

// connContext makes the connection known to serveOpened.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return context.WithValue(ctx, openedKey{}, conn)
}

// serveOpened answers one request of a sandbox with what its host answers.
func serveOpened(w http.ResponseWriter, r *http.Request) {
	o, ok := r.Context().Value(openedKey{}).(*opened)
	if !ok {
		panic("a connection of no sandbox") // a mistake in this package
	}
	// A host may answer before it has all of the body, which then still goes on its way. HTTP/2
	// has no other way.
	_ = http.NewResponseController(w).EnableFullDuplex()
	seen := Request{At: time.Now(), Method: r.Method, Path: r.URL.EscapedPath()}
	defer func() { o.of.request(seen) }()
	giveBack, ok := o.of.vault.take(o.of, requests, maxOpen)
	if !ok {
		w.Header().Set("Retry-After", "1")
		seen.Status = deny(w, http.StatusServiceUnavailable, "this sandbox has too many requests under way: wait for one to end")
		return
	}
	defer giveBack()
	policy, err := o.of.vault.cfg.Policy(r.Context(), o.of.sandbox)
	if err != nil {
		seen.Status = deny(w, http.StatusServiceUnavailable, "the rules of this sandbox cannot be read, so nothing leaves it: "+err.Error())
		return
	}
	if d, status := o.admits(policy, r); !d.Allowed {
		seen.Blocked, seen.Note = true, d.Reason
		w.Header().Set(sandbox.BlockedHeader, sandbox.BlockedValue)
		seen.Status = deny(w, status, d.Reason)
		return
	}
	o.pass(w, r, o.keysOf(policy), &seen)
}

// admits decides about one request, and says with which status it is refused.
func (o *opened) admits(policy Policy, r *http.Request) (rule.Decision, int) {
	if d := policy.Rules.Host(o.of.target); !d.Allowed {
		return d, http.StatusForbidden
	}
	if r.Method == http.MethodConnect {
		return rule.Decision{Rule: "CONNECT", Reason: "CONNECT is no request to a host behind the proxy"}, http.StatusMethodNotAllowed
	}
	if r.Host == "" && !r.ProtoAtLeast(1, 1) { // which had no other way
		return rule.Decision{Allowed: true}, 0
	}
	return policy.name(o.of.target, hostOf(r.Host)), http.StatusMisdirectedRequest
}

// hostOf is the host of a Host header without its port. What else may come after a colon is
// for others to misread, so it stays.
func hostOf(host string) string {
	if name, port, err := net.SplitHostPort(host); err == nil && strings.Trim(port, "0123456789") == "" {
		return name
	}
	return strings.Trim(host, "[]")
}

func deny(w http.ResponseWriter, status int, reason string) int {
	http.Error(w, reason, status)
	return status
}

// pass sends a request on with credentials in it, and answers with the host's answer
// without.
func (o *opened) pass(w http.ResponseWriter, r *http.Request, keys *swap.Keys, seen *Request) {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = "http", hostport(o.of.target)
	if o.secure {
		out.URL.Scheme = "https"
	}
	keepProtocol(out.Header)
	report, err := keys.Request(out)
	if err != nil {
		seen.Note = err.Error()
		seen.Status = deny(w, http.StatusBadRequest, err.Error())
		return
	}
	defer func() { seen.Report = report() }()
	transport := o.transport
	if r.ProtoMajor == 2 && !o.secure {
		transport = o.cleartext2
	}
	proxy := httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, BufferPool: chunkPool{}, ErrorLog: o.of.vault.log,
		Rewrite: func(p *httputil.ProxyRequest) {
			untouched(p)
			p.Out.Trailer = r.Trailer // which is filled when the body has been read
		},
		ModifyResponse: func(res *http.Response) error {
			seen.Status = res.StatusCode
			return keys.Response(res)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, cause error) {
			seen.Note = clip(keys.Scrub(cause.Error())) // which may quote the host
			seen.Status = o.fail(w, cause, seen.Note)
		},
	}
	proxy.ServeHTTP(finalOnly{w}, out)
}

// keepProtocol takes out of h what would change the protocol to one in which nobody sees which
// host a request is for, or what comes back. Frames of a WebSocket can be looked through.
func keepProtocol(h http.Header) {
	if !strings.EqualFold(strings.Join(h.Values("Upgrade"), ", "), "websocket") {
		h.Del("Upgrade")
	}
	h.Del("Http2-Settings")
}

// untouched undoes what the proxy changes beyond need.
func untouched(p *httputil.ProxyRequest) {
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	for name, values := range p.In.Header {
		if name == "Forwarded" || strings.HasPrefix(name, "X-Forwarded-") {
			p.Out.Header[name] = values
		}
	}
}

// fail answers a request that its host has not answered, and why is cause for the sandbox to read.
func (o *opened) fail(w http.ResponseWriter, cause error, why string) int {
	if r, ok := errors.AsType[*refusal](cause); ok {
		w.Header().Set(sandbox.BlockedHeader, sandbox.BlockedValue)
		return deny(w, http.StatusForbidden, r.Reason)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](cause); ok {
		return deny(w, http.StatusBadGateway, fmt.Sprintf("the certificate of %s is not trusted by lap serve: %s: if it should be, start lap serve with SSL_CERT_FILE", o.of.target, why))
	}
	return deny(w, http.StatusBadGateway, fmt.Sprintf("%s gave no answer: %s", o.of.target, why))
}

// finalOnly keeps informational answers to itself. They would be passed on with what is in
// them.
type finalOnly struct{ http.ResponseWriter }

// WriteHeader ignores a status below 200.
func (w finalOnly) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Unwrap is for http.ResponseController.
func (w finalOnly) Unwrap() http.ResponseWriter { return w.ResponseWriter }
