package gateway

import (
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
	transport *http.Transport
	errors    *log.Logger
}

func newUpstream(cfg Config) (*upstream, error) {
	base, err := url.Parse(strings.TrimSpace(cfg.BaseURL))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" {
		// The value is not shown: it may hold a password.
		return nil, errors.New("LITELLM_API_BASE is no absolute http or https URL: set it to one such as http://127.0.0.1:4000 or https://litellm.example.com/v1")
	}
	u := &upstream{
		base: base, user: base.User, key: strings.TrimSpace(cfg.APIKey), transport: newTransport(),
		errors: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	u.split()
	u.secrets = secrets(u.key, base.User)
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

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
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
func (u *upstream) forward(w http.ResponseWriter, r *http.Request, t target) (err error) {
	out := r.WithContext(r.Context())
	out.URL, out.Trailer = u.url(t), nil
	place := keyHeader(r.Header, t)
	proxy := httputil.ReverseProxy{
		Transport:      u,
		FlushInterval:  -1,
		ErrorLog:       u.errors,
		Rewrite:        func(p *httputil.ProxyRequest) { u.rewrite(p, place) },
		ModifyResponse: u.clean,
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, cause error) { err = unreachable(cause) },
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
