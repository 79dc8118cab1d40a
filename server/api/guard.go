package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// A guard refuses what a browser sends on behalf of a foreign page: requests under a
// name that is not the server's (DNS rebinding), and requests from other origins.
type guard struct {
	names    map[string]bool // what the server is called: lower case, without port
	allowed  map[string]bool // those of names whose pages are trusted on any port
	wildcard bool            // the server listens on every address
	baseURL  string          // host:port of the public URL
}

func newGuard(listen, baseURL string, allowed []string) guard {
	g := guard{names: map[string]bool{}, allowed: map[string]bool{}}
	if g.wildcard = anyAddress(hostname(listen)); !g.wildcard {
		g.names[hostname(listen)] = true
	}
	for _, entry := range allowed {
		if name := hostname(strings.TrimSpace(entry)); name != "" {
			g.names[name], g.allowed[name] = true, true
		}
	}
	if u, err := url.Parse(baseURL); err == nil && !anyAddress(hostname(u.Host)) {
		g.baseURL = originHost(u)
		g.names[hostname(u.Host)] = true
	}
	return g
}

// anyAddress reports whether host means every address, which is nobody's name.
func anyAddress(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// hostname is the host of host:port in lower case. A port, brackets and a last dot are
// dropped.
func hostname(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// guarded refuses requests of foreign pages before anything else looks at them.
func (a *API) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.guard.check(r); err != nil {
			a.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g guard) check(r *http.Request) error {
	if !g.knows(r.Host) {
		return forbidden("host %q is not one of this server's names: add it to LAP_ALLOWED_HOSTS to allow it", clip(r.Host))
	}
	origins := r.Header.Values("Origin")
	for _, origin := range origins {
		if !g.trusts(origin, r.Host) {
			return forbidden("origin %q may not use this server: add its host to LAP_ALLOWED_HOSTS to allow it", clip(origin))
		}
	}
	if len(origins) == 0 && !safe(r.Method) && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return forbidden("requests from pages of other sites may not use this server: see LAP_ALLOWED_HOSTS")
	}
	return nil
}

func forbidden(format string, args ...any) error {
	return &requestError{http.StatusForbidden, fmt.Sprintf(format, args...)}
}

// knows reports whether host, of a Host header, names this server. Ports do not matter.
func (g guard) knows(host string) bool {
	name := hostname(host)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || g.names[name] {
		return true
	}
	// To rebind takes a name: under its own address a server may always be reached.
	ip, err := netip.ParseAddr(name)
	return err == nil && (ip.IsLoopback() || g.wildcard)
}

// trusts reports whether a page of the given origin may send requests to host.
func (g guard) trusts(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return false // also the origin "null"
	}
	at := originHost(u)
	return at == originHost(&url.URL{Scheme: u.Scheme, Host: host}) || at == g.baseURL || g.allowed[hostname(u.Host)]
}

// originHost is host:port of a URL, with the port of its scheme when it names none.
func originHost(u *url.URL) string {
	port := u.Port()
	if port == "" && u.Scheme == "https" {
		port = "443"
	} else if port == "" {
		port = "80"
	}
	return net.JoinHostPort(hostname(u.Host), port)
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}
