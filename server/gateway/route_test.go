package gateway_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"lap/server/gateway"
)

func TestForwardedPaths(t *testing.T) {
	tests := []struct{ method, path, want string }{
		{"POST", "/v1/chat/completions", "/v1/chat/completions"},
		{"POST", "/chat/completions", "/v1/chat/completions"},
		{"POST", "/v1/completions", "/v1/completions"},
		{"POST", "/v1/messages", "/v1/messages"},
		{"POST", "/v1/messages?beta=true", "/v1/messages?beta=true"},
		{"POST", "/v1/messages/count_tokens", "/v1/messages/count_tokens"},
		{"POST", "/v1/responses", "/v1/responses"},
		{"POST", "/v1/responses/resp_1/cancel", "/v1/responses/resp_1/cancel"},
		{"GET", "/v1/responses/resp_1?stream=true&starting_after=2", "/v1/responses/resp_1?stream=true&starting_after=2"},
		{"DELETE", "/v1/responses/resp_1", "/v1/responses/resp_1"},
		{"POST", "/embeddings", "/v1/embeddings"},
		{"GET", "/v1/models", "/v1/models"},
		{"GET", "/models", "/v1/models"},
		{"GET", "/v1/models/anthropic/claude-x@2026", "/v1/models/anthropic/claude-x@2026"},
		{"GET", "/model/info", "/v1/model/info"},
		{"POST", "/v1/moderations", "/v1/moderations"},
		{"POST", "/v1/images/generations", "/v1/images/generations"},
		{"POST", "/v1/audio/speech", "/v1/audio/speech"},
		{"POST", "/rerank", "/v1/rerank"},
		{"POST", "/v1beta/models/gemini-x:streamGenerateContent?alt=sse", "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"},
		{"GET", "/v1beta/models", "/v1beta/models"},
		{"POST", "/v1/chat/completions?key=k&API_KEY=k&api-key=k&%6bey=k&apikey=k&a=1&access_token=k&b=%20", "/v1/chat/completions?a=1&b=%20"},
		{"POST", "/v1/chat/completions?a=1;key=k&b=%zz&c=2", "/v1/chat/completions?c=2"},
		{"POST", "/v1/chat/completions?", "/v1/chat/completions"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			up := newUpstream(t, nil)
			at, _ := serve(t, up.URL)
			body := ""
			if tt.method == http.MethodPost {
				body = ask
			}
			send(t, tt.method, at+tt.path, body).want(t, 200)
			got := up.only(t)
			if got.method != tt.method || got.uri != tt.want || got.body != body {
				t.Errorf("upstream got %s %s %q, want %s %s", got.method, got.uri, got.body, tt.method, tt.want)
			}
			if got.host != strings.TrimPrefix(up.URL, "http://") {
				t.Errorf("Host = %s, want that of %s", got.host, up.URL)
			}
		})
	}
}

func TestBaseURLs(t *testing.T) {
	tests := []struct{ base, path, want string }{
		{"", "/v1/chat/completions", "/v1/chat/completions"},
		{"/", "/v1/chat/completions", "/v1/chat/completions"},
		{"/v1", "/v1/chat/completions", "/v1/chat/completions"},
		{"/v1/", "/chat/completions", "/v1/chat/completions"},
		{"/litellm", "/v1/chat/completions", "/litellm/v1/chat/completions"},
		{"/litellm/v1/", "/v1/chat/completions", "/litellm/v1/chat/completions"},
		{"/v1", "/v1beta/models/g:generateContent", "/v1beta/models/g:generateContent"},
		{"/v1beta/openai", "/v1/chat/completions", "/v1beta/openai/chat/completions"},
		{"/api/paas/v4", "/v1/chat/completions", "/api/paas/v4/chat/completions"},
		{"/v1/account/gateway/openai", "/v1/chat/completions", "/v1/account/gateway/openai/chat/completions"},
	}
	for _, tt := range tests {
		t.Run(tt.base+" "+tt.path, func(t *testing.T) {
			up := newUpstream(t, nil)
			at, _ := serve(t, up.URL+tt.base)
			send(t, http.MethodPost, at+tt.path, ask).want(t, 200)
			if got := up.only(t).uri; got != tt.want {
				t.Errorf("upstream got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRefusedBaseURLs(t *testing.T) {
	for _, base := range []string{"litellm:4000", "/v1", "ftp://litellm", "http://", "http://:4000", "http://user:hush@host:port/", "http//litellm"} {
		_, err := gateway.New(gateway.Config{BaseURL: base, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			t.Errorf("New(%q) succeeded", base)
			continue
		}
		if msg := err.Error(); !strings.Contains(msg, "LITELLM_API_BASE") || !strings.Contains(msg, "http://127.0.0.1:4000") || strings.Contains(msg, "hush") {
			t.Errorf("New(%q) = %s", base, msg)
		}
	}
}

// dial sends bytes and returns the connection, closed with the test.
func dial(t *testing.T, at, request string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(at, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// raw sends a request line as it stands, with headers, and returns the answer.
func raw(t *testing.T, at, request string) answer {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(dial(t, at, request)), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

func TestRefusedPaths(t *testing.T) {
	up := newUpstream(t, nil)
	at, _ := serve(t, up.URL+"/v1")
	tests := []string{
		"POST /key/generate", "POST /v1/key/generate", "GET /key/info?key=x", "POST /user/new", "GET /user/info", "POST /team/new",
		"GET /spend/logs", "GET /global/spend", "POST /config/update", "GET /get/config/callbacks", "POST /model/new", "POST /model/delete",
		"GET /model/metrics", "GET /v1/files", "POST /v1/files", "GET /v1/batches", "GET /v1/messages/batches", "POST /v1/messages/batches",
		"GET /v1/fine_tuning/jobs", "POST /v1/assistants", "POST /v1/vector_stores", "GET /v1/realtime", "GET /health", "GET /", "GET /v1", "GET /v1/",
		"GET /ui", "GET /openapi.json", "GET /sso/key/generate", "POST /anthropic/v1/messages", "POST /openai/deployments/x/chat/completions",
		"GET /v1/models/", "GET //v1/models", "GET /v1//models", "POST /v1/chat/completions/", "POST /V1/chat/completions", "POST /v1/Chat/completions",
		"GET /v1/models/../key/info", "GET /v1/models/..", "GET /v1/models/.", "GET /v1/models/./x", "GET /../v1/models", "GET /v1/models/..;/x",
		"GET /v1/models/%2e%2e/key", "GET /v1/models/x%2f..%2fkey", "GET /v1/models/x%2Fy", "GET /v1/models/x%5c..", `GET /v1/models/..\key`,
		"GET /v1/models/x%00", "GET /v1/%6dodels", "GET /v1/models/a%20b", "GET /v1/models/x;a=b", "GET /v1/models/a,b", "GET /v1/models/ü",
		"POST /v1/responses/../../key/generate", "POST /v1beta/models/../x:y", "POST /v1beta/cachedContents",
		"GET http://127.0.0.1:1/v1/models", "POST http://evil.example/v1/chat/completions", "GET https://user:pw@evil.example/v1/models",
		"CONNECT evil.example:443", "GET /v1/" + strings.Repeat("x", 5000),
	}
	for _, line := range tests {
		t.Run(line[:min(len(line), 60)], func(t *testing.T) {
			a := raw(t, at, line+" HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\nAuthorization: Bearer stub\r\n\r\n")
			if a.status != 403 && a.status != 400 {
				t.Errorf("status = %d, want 403: %s", a.status, a.body)
			}
			if a.status == 403 && !strings.Contains(a.body, `"path_not_allowed"`) && !strings.Contains(a.body, `"type":"error"`) {
				t.Errorf("answer = %s", a.body)
			}
			if len(a.body) > 1000 {
				t.Errorf("an answer of %d bytes", len(a.body))
			}
		})
	}
	a := raw(t, at, "POST /key/generate HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\n\r\n")
	a.want(t, 403, `{"error":{"message":"POST /key/generate is not open to sandboxes`, `"type":"permission_error"`)
	if got := up.requests(); len(got) > 0 {
		t.Errorf("the upstream got %v", got)
	}
}

func TestRefusedMethodsAndUpgrades(t *testing.T) {
	up := newUpstream(t, nil)
	at, _ := serve(t, up.URL)
	tests := []struct {
		name, request string
		status        int
	}{
		{"wrong method", "GET /v1/chat/completions HTTP/1.1\r\n", 405},
		{"put", "PUT /v1/models HTTP/1.1\r\n", 405},
		{"options", "OPTIONS /v1/chat/completions HTTP/1.1\r\n", 405},
		{"head", "HEAD /v1/models HTTP/1.1\r\n", 405},
		{"lower case", "post /v1/chat/completions HTTP/1.1\r\n", 405},
		{"made up", "TRACE /v1/models HTTP/1.1\r\n", 405},
		{"long", strings.Repeat("X", 4000) + " /v1/models HTTP/1.1\r\n", 405},
		{"web socket", "GET /v1/responses/x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", 403},
		{"http2", "GET /v1/models HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := raw(t, at, tt.request+"Host: gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
			if a.status != tt.status || len(a.body) > 1000 {
				t.Errorf("answer = %d %s, want %d", a.status, a.body, tt.status)
			}
		})
	}
	if got := up.requests(); len(got) > 0 {
		t.Errorf("the upstream got %v", got)
	}
}

var harmless = regexp.MustCompile(`^/root/(v1|v1beta)/(chat/completions|completions|messages|responses|embeddings|moderations|rerank|images|audio|models|model/info)(/[A-Za-z0-9._~:@+-]+)*$`)

// FuzzPath holds that whatever a sandbox asks for, the upstream sees a plain path of a
// model call, and no key of the client.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{
		"/v1/models", "/v1/chat/completions?key=a", "/v1/models/../x", "/v1/models/%2e%2e", "//x", "/v1beta/models/a:b?x=1&key=2", "http://x/v1/models",
	} {
		f.Add("GET", seed)
		f.Add("POST", seed)
	}
	up := newUpstream(f, nil)
	g := newGateway(f, up.URL+"/root/v1")
	f.Fuzz(func(t *testing.T, method, uri string) {
		to, err := url.ParseRequestURI(uri)
		if err != nil {
			t.Skip() // net/http refuses it before a handler sees it
		}
		r := &http.Request{Method: method, URL: to, RequestURI: uri, Header: http.Header{}, Body: http.NoBody, Host: "gateway"}
		before := len(up.requests())
		rec := httptest.NewRecorder()
		g.ServeHTTP(rec, r.WithContext(t.Context()))
		got := up.requests()[before:]
		if len(got) == 0 {
			if rec.Code < 400 {
				t.Errorf("%s %q: status %d without an upstream", method, uri, rec.Code)
			}
			return
		}
		path, query, _ := strings.Cut(got[0].uri, "?")
		if values, err := url.ParseQuery(query); err != nil || values.Has("key") || values.Has("api_key") {
			t.Errorf("%s %q became the query %q: %v", method, uri, query, err)
		}
		if !harmless.MatchString(path) || strings.Contains(path, "/../") || strings.HasSuffix(path, "/..") {
			t.Errorf("%s %q became %q", method, uri, path)
		}
	})
}
