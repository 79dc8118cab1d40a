package gateway

import (
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
)

// keyHeaders are where clients put a key, the most telling first: of two that a client
// sends, Authorization is the one for somebody else.
var keyHeaders = []string{"X-Litellm-Api-Key", "X-Api-Key", "X-Goog-Api-Key", "Api-Key", "Authorization"}

// dropped are headers that do not pass, in either direction: keys, cookies, and what
// could tell a server behind the gateway of another host, path, method or client.
var dropped = []string{
	"x-litellm-api-key", "x-api-key", "x-goog-api-key", "api-key", "authorization", "ocp-apim-subscription-key",
	"cookie", "cookie2", "set-cookie", "set-cookie2",
	"forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip", "x-cluster-client-ip",
	"x-http-method", "x-http-method-override", "x-method-override", "x-rewrite-url",
	"expect", "te", "trailer", "alt-svc", "connection", "keep-alive", "upgrade", "transfer-encoding",
}

var droppedPrefixes = []string{"x-forwarded", "x-original", "x-envoy", "proxy-", "sec-websocket-"}

// isDropped takes _ for -, as some servers do.
func isDropped(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	return slices.Contains(dropped, name) ||
		slices.ContainsFunc(droppedPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func dropHeaders(h http.Header) {
	for name := range h {
		if isDropped(name) {
			delete(h, name)
		}
	}
}

// keyHeader is the header in which the real key goes: that of the client's own.
func keyHeader(in http.Header, t target) string {
	for _, name := range keyHeaders {
		if len(in[name]) > 0 {
			return name
		}
	}
	if t.keyed && t.gemini {
		return "X-Goog-Api-Key"
	}
	return "Authorization"
}

// rewrite makes the headers of the call on its way out.
func (u *upstream) rewrite(p *httputil.ProxyRequest, place string) {
	h := p.Out.Header
	dropHeaders(h)
	p.Out.Host = u.base.Host
	// Only what can be read here if it is an error; see scrub.
	if strings.Contains(h.Get("Accept-Encoding"), "gzip") {
		h.Set("Accept-Encoding", "gzip")
	} else {
		h.Del("Accept-Encoding")
	}
	if u.user != nil {
		password, _ := u.user.Password()
		p.Out.SetBasicAuth(u.user.Username(), password)
	}
	switch {
	case u.key == "":
	case place == "Authorization":
		h.Set(place, "Bearer "+u.key)
	default:
		h.Set(place, u.key)
	}
}
