package tool_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lap/sandbox/agent/tool"
)

// platform answers one call of the memory API and keeps what it was asked.
type platform struct {
	status         int
	answer         string
	asked, carried string
}

func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // a cut body shows in the test
	p.asked, p.carried = r.Method+" "+r.URL.String(), string(body)
	w.WriteHeader(p.status)
	fmt.Fprint(w, p.answer)
}

func (p *platform) start(t *testing.T) *fixture {
	t.Helper()
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return start(t, func(c *tool.Config) { c.Memory = server.URL + "/memory" })
}

func TestSaveMemory(t *testing.T) {
	t.Parallel()
	p := &platform{status: 201, answer: "{}"}
	f := p.start(t)
	got := f.outcome("save_memory", `{"text":"use tabs","tags":["go"],"type":"convention","priority":3,"pinned":true}`)
	if got != "Saved: use tabs" || p.asked != "POST /memory" {
		t.Errorf("%q, asked %q", got, p.asked)
	}
	if want := `{"text":"use tabs","tags":["go"],"type":"convention","priority":3,"pinned":true,"source":"agent"}`; p.carried != want {
		t.Errorf("body = %s, want %s", p.carried, want)
	}
	p.status, p.answer = 400, `{"error":"text is too long"}`
	if got := f.outcome("save_memory", `{"text":"x"}`); got != `error: the platform answered 400 Bad Request: {"error":"text is too long"}` {
		t.Error(got)
	}
	if got := f.outcome("save_memory", `{"text":" "}`); got != "error: text is missing" {
		t.Error(got)
	}
}

func TestMemoryHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"plain", "run make test before each commit, see docs/token.md", "run make test before each commit, see docs/token.md"},
		{"openai key", "it is sk-proj-abcdefghijklmnop123 ok", "it is [secret] ok"},
		{"github", "ghp_abcdefghijklmnop github_pat_11ABCDEFG_xyz", "[secret] [secret]"},
		{"slack", "xoxb-1234567890-abc", "[secret]"},
		{"aws", "AKIAIOSFODNN7EXAMPLE.", "[secret]."},
		{"bearer", "send Authorization: Bearer abc.def-123", "send Authorization: Bearer [secret]"},
		{"assignment", "export DB_PASSWORD=hunter2 and go", "export DB_PASSWORD=[secret] and go"},
		{"quoted", `"api_key": "a b c", "x": 1`, `"api_key": [secret], "x": 1`},
		{"pem", "a -----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- b", "a [secret] b"},
		{"pem without end", "a -----BEGIN PRIVATE KEY-----\nMII", "a [secret]"},
	}
	p := &platform{status: 201}
	f := p.start(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := f.outcome("save_memory", `{"text":`+quote(tt.text)+`}`); got != "Saved: "+tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSearchMemory(t *testing.T) {
	t.Parallel()
	p := &platform{status: 200, answer: `{"data":[{"text":"use tabs","tags":["go","style"],"type":"convention","priority":1,"pinned":false}],"has_more":false}`}
	f := p.start(t)
	if got := f.outcome("search_memory", `{"query":"a b","tags":["go"]}`); got != "- [convention, go, style] use tabs\n" {
		t.Error(got)
	}
	if want := "GET /memory?q=a+b&tag=go"; p.asked != want {
		t.Errorf("asked %q, want %q", p.asked, want)
	}
	p.answer = `{"data":[]}`
	if got := f.outcome("search_memory", `{}`); got != "Nothing is remembered about that." {
		t.Error(got)
	}
	p.answer = `<html>`
	if got := f.outcome("search_memory", `{}`); !strings.HasPrefix(got, "error: the platform's answer is not JSON") {
		t.Error(got)
	}
}
