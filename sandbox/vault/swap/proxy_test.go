package swap_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"lap/sandbox/vault/swap"
)

const (
	token   = "ghp_0123456789abcdef"
	strange = "p&s \"w/rd+é%<='x"
)

var (
	tokenCred   = swap.Credential{Name: "TOKEN", Stub: "stub_token_11111111", Value: token}
	strangeCred = swap.Credential{Name: "STRANGE", Stub: "stub_strange_22222222", Value: strange}
	linesCred   = swap.Credential{Name: "LINES", Stub: "stub_lines_33333333", Value: "first line\nsecond"}
	otherCred   = swap.Credential{Name: "TOKEN_2", Stub: "stub_token_11111111_2", Value: "elsewhere-only"}
	pinCred     = swap.Credential{Name: "PIN", Stub: "stub_pin_44444444", Value: "1234"}
)

const bindReason = "it is bound to other.example"

func keys(bodies swap.Bodies) *swap.Keys {
	bound := []swap.Credential{tokenCred, strangeCred, linesCred, pinCred}
	return swap.New(bound, append(bound, otherCred), []swap.Declined{{Name: "TOKEN_2", Reason: bindReason}}, bodies)
}

// A seen is a request as it came to a host.
type seen struct {
	uri, body string
	length    int64
	header    http.Header
}

// A relay is a reverse proxy in front of a host.
type relay struct {
	url    string
	client *http.Client
	seen   *seen
	report func() swap.Report
	err    error // of Request or Response
}

// newRelay starts host behind a proxy that uses k. A nil host answers with what it got.
func newRelay(t *testing.T, k *swap.Keys, host http.HandlerFunc) *relay {
	t.Helper()
	r := &relay{seen: &seen{}, client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if host != nil {
			host(w, req)
			return
		}
		body, _ := io.ReadAll(req.Body)
		*r.seen = seen{req.RequestURI, string(body), req.ContentLength, req.Header.Clone()}
	}))
	t.Cleanup(origin.Close)
	target, err := url.Parse(origin.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transportFunc(func(req *http.Request) (*http.Response, error) {
			if r.report, r.err = k.Request(req); r.err != nil {
				return nil, r.err
			}
			return transport.RoundTrip(req)
		}),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host = target.Scheme, target.Host
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery
		},
		ModifyResponse: func(res *http.Response) error {
			r.err = k.Response(res)
			return r.err
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(proxy.Close)
	t.Cleanup(r.client.CloseIdleConnections)
	r.url = proxy.URL
	return r
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// do sends a request; edit may change it first.
func (r *relay) do(t *testing.T, method, path string, body io.Reader, edit func(*http.Request)) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = path
	if edit != nil {
		edit(req)
	}
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(rep swap.Report) string {
	var list []string
	for _, c := range rep.Swapped {
		list = append(list, c.Name)
	}
	for _, d := range rep.Declined {
		list = append(list, "-"+d.Name+": "+d.Reason)
	}
	return strings.Join(list, "; ")
}
