package gateway_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"lap/server/gateway"
)

const (
	realKey = "sk-real/secret+0123456789"
	ask     = `{"model":"gpt-x","messages":[{"role":"user","content":"hi"}]}`
)

// received is a request as it reached the upstream.
type received struct {
	method, uri, host string
	header            http.Header
	body              string
}

// upstream is a fake model gateway that records what it gets.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex // guards got
	got  []received
	seen http.HandlerFunc // answers, after the body has been read; nil: 200 {}
}

func newUpstream(tb testing.TB, answer http.HandlerFunc) *upstream {
	tb.Helper()
	u := &upstream{seen: answer}
	u.Server = httptest.NewServer(u)
	tb.Cleanup(u.Close)
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	u.mu.Lock()
	u.got = append(u.got, received{r.Method, r.RequestURI, r.Host, r.Header, string(body)})
	u.mu.Unlock()
	if u.seen != nil {
		u.seen(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}")
}

func (u *upstream) requests() []received {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.got
}

// only returns the one request that the upstream got.
func (u *upstream) only(t *testing.T) received {
	t.Helper()
	got := u.requests()
	if len(got) != 1 {
		t.Fatalf("the upstream got %d requests, want 1: %v", len(got), got)
	}
	return got[0]
}

// lines is a log that can be read.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// serve starts a gateway in front of base and returns its URL and its log.
func serve(tb testing.TB, base string) (string, *lines) {
	tb.Helper()
	log := &lines{}
	g, err := gateway.New(gateway.Config{
		BaseURL: base, APIKey: realKey, Scripts: tb.TempDir(),
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		tb.Fatal(err)
	}
	srv := httptest.NewServer(g)
	tb.Cleanup(srv.Close)
	return srv.URL, log
}

// newGateway makes a gateway that is called without a network.
func newGateway(tb testing.TB, base string) *gateway.Gateway {
	tb.Helper()
	g, err := gateway.New(gateway.Config{BaseURL: base, APIKey: realKey, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

// send makes a request; header comes in pairs of name and value.
func send(tb testing.TB, method, url, body string, header ...string) answer {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, url, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// want fails unless the answer has a status and holds all of texts.
func (a answer) want(t *testing.T, status int, texts ...string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status = %d, want %d: %s", a.status, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("answer = %s, want %q in it", a.body, text)
		}
	}
}
