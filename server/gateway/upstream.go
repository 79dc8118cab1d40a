package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"time"

	"lap/sandbox/vault/swap"
)

const (
	dialTimeout   = 10 * time.Second
	answerTimeout = 30 * time.Minute // for a model to begin to answer
	idleTimeout   = 90 * time.Second
	idlePerHost   = 64
)

// upstream is the configured model gateway.
type upstream struct {
	base      *url.URL // whose path ends before that of the API
	user      *url.Userinfo
	version   string // "/v1", or "" where base has a version already
	key       string
	secrets   *strings.Replacer
	echoes    *swap.Keys // takes the key out of answers that are no errors; nil without one
	transport http.RoundTripper
	errors    *log.Logger
}

func newUpstream(cfg Config) (*upstream, error) {
	base, err := url.Parse(strings.TrimSpace(cfg.BaseURL))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" {
		// The value is not shown: it may hold a password.
		return nil, errors.New("LITELLM_API_BASE is no absolute http or https URL: set it to one such as http://127.0.0.1:4000 or https://litellm.example.com/v1")
	}
	u := &upstream{
		base: base, user: base.User, key: strings.TrimSpace(cfg.APIKey), transport: newTransport(cfg.Roots),
		errors: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	u.split()
	u.secrets = secrets(u.key, base.User)
	if u.key != "" {
		u.echoes = swap.New([]swap.Credential{{Name: "LITELLM_API_KEY", Stub: hidden, Value: u.key}}, nil, nil, swap.BodiesOAuth)
	}
	return u, nil
}

// versioned finds the version in the path of a URL that names an API's root.
var versioned = regexp.MustCompile(`/v[0-9]+(alpha|beta)?[0-9]*(/|$)`)

// split takes /v1 off the end of the base. A base with another version, or one further
// up, as some vendors have them, is taken as the place where the API starts.
func (u *upstream) split() {
	root := strings.TrimRight(u.base.Path, "/")
	root = strings.TrimRight(strings.TrimSuffix(root, "/v1"), "/")
	u.base = &url.URL{Scheme: u.base.Scheme, Host: u.base.Host, Path: root}
	if !versioned.MatchString(root) {
		u.version = "/v1"
	}
}

func (u *upstream) url(t target) *url.URL {
	to := *u.base
	if !t.gemini {
		to.Path += u.version
	}
	to.Path += "/" + t.path
	to.RawQuery = t.query
	return &to
}

func newTransport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: answerTimeout,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConnsPerHost:   idlePerHost,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // what the sandbox asks for is what it gets
	}
}

// forward sends a call on and streams the answer back. It returns an error only when
// it has written nothing; later ones break the connection off.
func (u *upstream) forward(w http.ResponseWriter, r *http.Request, c *call) (err error) {
	_ = http.NewResponseController(w).EnableFullDuplex() // an answer may come before the whole request is there; HTTP/2 has no other way
	c.addUsage()
	out := r.WithContext(r.Context())
	if c.body != nil {
		out = c.body.into(r, c.added)
	}
	out.URL, out.Trailer = u.url(c.target), nil
	place := keyHeader(r.Header, c.target)
	proxy := httputil.ReverseProxy{
		Transport:     &sender{upstream: u, call: c},
		FlushInterval: -1,
		ErrorLog:      u.errors,
		Rewrite: func(p *httputil.ProxyRequest) {
			u.rewrite(p, place)
			if c.body != nil && len(c.body.data) > 0 { // it was read as JSON, and must not be read as anything else
				p.Out.Header.Set("Content-Type", "application/json")
			}
			if c.meter != nil || c.recording != nil {
				p.Out.Header.Del("Accept-Encoding") // the answer is to be read here
			}
		},
		ModifyResponse: func(res *http.Response) error {
			if err := u.clean(res); err != nil {
				return err
			}
			c.recording.watch(res)
			c.watch(res)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, cause error) { err = unreachable(cause) },
	}
	proxy.ServeHTTP(finalOnly{w}, out)
	return err
}

// unreachable is what a sandbox is told when there is no answer.
func unreachable(cause error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](cause); ok {
		return cause
	}
	if f, ok := errors.AsType[*apiError](cause); ok {
		return f
	}
	return badGateway("model_gateway_unreachable", "the model gateway gave no answer: %v", cause)
}

// RoundTrip is that of the transport, without trailers, which come after the answer has
// been cleaned.
func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := u.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	seen := *res // the transport writes trailers into its own
	seen.Trailer = nil
	return &seen, nil
}

// finalOnly keeps informational answers to itself. They would be passed on uncleaned.
type finalOnly struct{ http.ResponseWriter }

// WriteHeader ignores a status below 200.
func (w finalOnly) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Unwrap is for http.ResponseController.
func (w finalOnly) Unwrap() http.ResponseWriter { return w.ResponseWriter }
