package api_test

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/db"
	"lap/server/session"
)

// raw sends bytes as they are and returns the status of the answer.
func (w *world) raw(t *testing.T, request string) int {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

func TestWrongMethod(t *testing.T) {
	w := newWorld(t)
	tests := []struct{ method, path, allow string }{
		{"PUT", agents, "GET, HEAD, POST"},
		{"OPTIONS", agents, "GET, HEAD, POST"},
		{"DELETE", agents, "GET, HEAD, POST"},
		{"POST", agents + "/" + noID, "DELETE, GET, HEAD, PATCH"},
		{"GET", agents + "/" + noID + "/session", "POST"},
		{"HEAD", agents + "/" + noID + "/session", "POST"},
		{"GET", sessions + "/" + noID + "/stop", "POST"},
		{"GET", agents + "/" + noID + "/skill", "DELETE, POST"},
		{"PUT", agents + "/" + noID + "/memory/" + noID, "DELETE, PATCH"},
		{"TRACE", skills + "/" + noID, "DELETE, GET, HEAD, PATCH"},
	}
	for _, tt := range tests {
		r := w.do(t, tt.method, tt.path, nil).want(t, http.StatusMethodNotAllowed)
		if tt.method != "HEAD" && r.get("error").String() != "method not allowed" {
			t.Errorf("%s %s: %s", tt.method, tt.path, r.body)
		}
		if got := r.header.Get("Allow"); got != tt.allow {
			t.Errorf("%s %s: Allow = %q, want %q", tt.method, tt.path, got, tt.allow)
		}
	}
}

func TestUnknownPath(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{
		"/", "/api", "/api/v1", managed, agents + "/", "/" + agents, strings.ToUpper(agents), agents + "/a%2Fb",
		agents + "/" + noID + "/nothing", skills + "/" + noID + "/x", sessions + "/", "/metrics", "/favicon.ico", agents + "/../agents",
	} {
		if r := w.do(t, "GET", path, nil).want(t, http.StatusNotFound); !strings.Contains(r.body, "not found") {
			t.Errorf("%s: %s", path, r.body)
		}
	}
}

func TestHead(t *testing.T) {
	w := newWorld(t)
	id := w.newAgent(t)
	get := w.do(t, "GET", agents+"/"+id, nil).want(t, http.StatusOK)
	head := w.do(t, "HEAD", agents+"/"+id, nil).want(t, http.StatusOK)
	if head.body != "" || head.header.Get("Content-Length") != get.header.Get("Content-Length") {
		t.Errorf("HEAD: %q, %v, want no body and the length of GET's", head.body, head.header)
	}
}

// withBody are all routes that read a body, with paths that exist.
func withBody(t *testing.T, w *world) map[string]int {
	t.Helper()
	agent, skill := w.newAgent(t), w.newSkill(t, "s", "c")
	session := w.newSession(t, agent)
	memory := w.do(t, "POST", agents+"/"+agent+"/memory", `{"text":"t"}`).want(t, http.StatusCreated).get("id").String()
	const small, large, message = 1 << 20, 16 << 20, 80 << 20
	return map[string]int{
		"POST " + agents:                                                           large,
		"PATCH " + agents + "/" + agent:                                            large,
		"POST " + agents + "/" + agent + "/session":                                message,
		"POST " + sessions + "/" + session + "/message":                            message,
		"POST " + sessions + "/" + session + "/message_stream":                     message,
		"POST " + sessions + "/" + session + "/opencode/session/harness-1/message": message,
		"POST " + sessions + "/" + session + "/restart":                            small,
		"POST " + sessions + "/" + session + "/memory":                             small,
		"POST " + skills:                                      large,
		"PATCH " + skills + "/" + skill:                       large,
		"POST " + agents + "/" + agent + "/skill":             large,
		"POST " + agents + "/" + agent + "/memory":            small,
		"PATCH " + agents + "/" + agent + "/memory/" + memory: small,
	}
}

func TestInvalidJSON(t *testing.T) {
	w := newWorld(t)
	bodies := []string{
		"", " ", "{", "{}{}", "{} x", "null", "[]", `"text"`, "1", "true", `{"a":}`, `{"a" 1}`, `{a:1}`, `{'a':1}`, `{"a":1,}`,
		"{\"a\":\"\xff\"}", "\ufeff{}", `{"a":01}`, `{"a":"` + "\n" + `"}`, strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000),
	}
	for route := range withBody(t, w) {
		method, path, _ := strings.Cut(route, " ")
		for _, body := range bodies {
			if (strings.HasSuffix(path, "/session") || strings.HasSuffix(path, "/restart")) && strings.TrimSpace(body) == "" {
				continue // means {}
			}
			r := w.do(t, method, path, body)
			if r.status != http.StatusBadRequest || r.get("error").String() != "invalid JSON body" {
				t.Errorf("%s with %.40q: %d %s", route, body, r.status, r.body)
			}
		}
	}
}

func TestBodyTooLarge(t *testing.T) {
	w := newWorld(t)
	for route, limit := range withBody(t, w) {
		method, path, _ := strings.Cut(route, " ")
		head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n", method, path, masterKey)
		if status := w.raw(t, fmt.Sprintf("%sContent-Length: %d\r\n\r\n", head, limit+1)); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s with a length above the limit: %d, want 413", route, status)
		}
		if limit > 1<<20 {
			continue
		}
		chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", limit+1, strings.Repeat(" ", limit+1))
		if status := w.raw(t, head+"Transfer-Encoding: chunked\r\n\r\n"+chunk); status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s in chunks: %d, want 413", route, status)
		}
		r := w.do(t, method, path, `{"text":"x","pad":"`+strings.Repeat("x", limit-40)+`"}`)
		if r.status >= http.StatusBadRequest {
			t.Errorf("%s below the limit: %d %s", route, r.status, r.body)
		}
	}
}

func TestBodyBreaksOff(t *testing.T) {
	w := newWorld(t)
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", agents, masterKey)
	if status := w.raw(t, request); status != http.StatusBadRequest {
		t.Errorf("status = %d, want 400", status)
	}
}

func TestEngineErrors(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	tests := []struct {
		name    string
		err     error
		status  int
		message string
	}{
		{"harness", fmt.Errorf("%w: connection\nrefused", session.ErrHarness), 502, "harness request failed: connection refused"},
		{"long", fmt.Errorf("%w: %s", session.ErrHarness, strings.Repeat("ä", 1000)), 502, "harness request failed: ää"},
		{"stopping", session.ErrStopping, 503, "lap is shutting down"},
		{"not ready", fmt.Errorf("s: %w", session.ErrNotReady), 404, "session " + id + " not found or not ready"},
		{"terminal", session.ErrTerminal, 400, "tty_url"},
		{"database", noDatabase(t), 503, "session store temporarily unavailable"},
		{"other", errors.New("secret detail"), 500, "internal error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.engine.answer(nil, tt.err)
			r := w.do(t, "POST", sessions+"/"+id+"/message", `{"text":"x"}`)
			r.wantError(t, tt.status, tt.message)
			if len(r.body) > 700 || strings.Contains(r.body, "secret detail") {
				t.Errorf("body = %s", r.body)
			}
		})
	}
	for _, detail := range []string{"secret detail", "unable to open database file"} {
		if !strings.Contains(w.log.String(), detail) {
			t.Errorf("the log does not have %q", detail)
		}
	}
}

// noDatabase is what SQLite says of a file that it cannot open.
func noDatabase(t *testing.T) error {
	t.Helper()
	file, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "missing", "lap.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err = file.PingContext(t.Context()); !db.Unavailable(err) {
		t.Fatal(err)
	}
	return fmt.Errorf("secret detail: %w", err)
}

func TestPanic(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	w.engine.panics = true
	w.do(t, "GET", sessions+"/"+id+"/messages", nil).wantError(t, http.StatusInternalServerError, "internal error")
	if log := w.log.String(); !strings.Contains(log, "the engine panics") || !strings.Contains(log, "engine_test.go") {
		t.Errorf("the log has no stack: %s", log)
	}
}

func TestLogTellsNoSecrets(t *testing.T) {
	const secret = "hush-4711"
	w := newWorld(t)
	agent := w.newAgent(t, `"env_vars": {"TOKEN": "`+secret+`"}`, `"requirements": "`+secret+`"`)
	w.do(t, "PATCH", agents+"/"+agent, `{"env_vars": {"TOKEN": "`+secret+`\u0000", "1": "`+secret+`", "PORT": "`+secret+`"}}`).want(t, 400)
	w.do(t, "POST", agents+"/"+agent+"/session", `{"env_vars": {"A": "`+secret+`"}, "initial_prompt": "`+secret+`"}`).want(t, 201)
	w.do(t, "GET", agents+"?search="+secret, nil).want(t, 200)
	w.do(t, "GET", "/nowhere/"+secret, nil).want(t, 404)
	w.do(t, "POST", agents, `{"env_vars": {"A": {"x": "`+secret+`"}}}`).want(t, 400)
	log := w.log.String()
	if strings.Contains(log, secret) || strings.Contains(log, masterKey) {
		t.Errorf("a secret is in the log: %s", log)
	}
	if !strings.Contains(log, `"route":"`+agents+`/:agent_id/session","status":201`) {
		t.Errorf("no line of the request in the log: %s", log)
	}
}

func TestErrorsShowNoValues(t *testing.T) {
	const secret = "hush-4711"
	w := newWorld(t)
	for _, body := range []string{
		`{"model": "m", "env_vars": {"A": "` + secret + `\u0000"}}`,
		`{"model": "m", "env_vars": {"1A": "` + secret + `"}}`,
		`{"model": "m", "env_vars": {"PORT": "` + secret + `"}}`,
		`{"model": "m", "env_vars": {"A": ["` + secret + `"]}}`,
		`{"model": "m", "env_vars": "` + secret + `"}`,
		`{"model": "m", "requirements": ["` + secret + `"]}`,
		`{"model": "m", "env_vars": {"A": "` + strings.Repeat(secret, 2000) + `"}}`,
	} {
		if r := w.do(t, "POST", agents, body).want(t, 400); strings.Contains(r.body, secret) {
			t.Errorf("%.80s: %s", body, r.body)
		}
	}
	if r := w.do(t, "GET", agents, nil); r.get("total").Int() != 0 {
		t.Errorf("stored all the same: %s", r.body)
	}
}

func TestIssuesComeInTheOrderOfTheBody(t *testing.T) {
	w := newWorld(t)
	r := w.do(t, "POST", agents, `{"name": 1, "branch": "-x", "allow_out": ["ok.com", "a b", 2], "prompt": null, "unknown": 1}`).want(t, 400)
	want := []string{
		"name: must be a string", "branch: must not start with -", `allow_out.1: "a b" is not a host: want a domain, *.domain, an IPv4 address or a range like 10.0.0.0/8, without scheme or port`,
		"allow_out.2: must be a string", "prompt: must be a string", "model: is required",
	}
	if diff := cmp.Diff(want, strings.Split(r.get("error").String(), "; ")); diff != "" {
		t.Error(diff)
	}
	r = w.do(t, "POST", agents, `{"model": "m", "mcp_servers": [`+strings.Repeat("1,", 99)+`1]}`).want(t, 400)
	if text := r.get("error").String(); !strings.HasSuffix(text, "; and 80 more") {
		t.Errorf("error = %s", text)
	}
}
