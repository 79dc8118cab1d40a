package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"lap/server/api"
	"lap/server/session"
)

// pass sends a request to the harness of a session. Its answers need not have the shape
// of lap's.
func (w *world) pass(t *testing.T, method, id, path, body string, header ...string) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, w.url+sessions+"/"+id+"/opencode/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(req) // which follows no redirects
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{res.StatusCode, res.Header, string(text)}
}

func TestPassthrough(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	guest := w.newGuest(t)
	guest.HandleFunc("/harness/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "x/y")
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Location", "http://guest/boot")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s type=%s accept=%s body=%s", r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("Accept"), body)
	})
	tests := []struct{ method, path, body, want string }{
		{"GET", "session?limit=1&x=%2F;y", "", "GET /harness/session?limit=1&x=%2F;y type=application/json accept=*/* body="},
		{"POST", "session", `{"title":"x"}`, `POST /harness/session type=application/json accept=*/* body={"title":"x"}`},
		{"PUT", "a/b/", "x", "PUT /harness/a/b/ type=application/json accept=*/* body=x"},
		{"PATCH", "a%2Fb/c%20d/%3F", "x", "PATCH /harness/a%2Fb/c%20d/%3F type=application/json accept=*/* body=x"},
		{"DELETE", "session/ses%C3%A4", "", "DELETE /harness/session/ses%C3%A4 type=application/json accept=*/* body="},
		{"POST", "session/other/message", `not looked at`, "POST /harness/session/other/message type=application/json accept=*/* body=not looked at"},
		{"POST", "session/harness-1/abort", `{}`, "POST /harness/session/harness-1/abort type=application/json accept=*/* body={}"},
		{"GET", "", "", "GET /harness/ type=application/json accept=*/* body="},
	}
	for _, tt := range tests {
		r := w.pass(t, tt.method, id, tt.path, tt.body)
		if r.status != http.StatusTeapot || r.body != tt.want {
			t.Errorf("%s %s: %d %s, want %s", tt.method, tt.path, r.status, r.body, tt.want)
		}
		if r.header.Get("Content-Type") != "x/y" || r.header.Get("Set-Cookie") != "" || r.header.Get("Location") != "" {
			t.Errorf("%s %s: header = %v", tt.method, tt.path, r.header)
		}
		if got := (<-guest.requests).Header; got.Get("Authorization") != "" || got.Get("Cookie") != "" {
			t.Errorf("the guest gets %v", got)
		}
	}
	r := w.pass(t, "GET", id, "x", "", "Content-Type", "a/b", "Accept", "c/d", "X-Other", "e")
	if want := "GET /harness/x type=a/b accept=c/d body="; r.body != want || (<-guest.requests).Header.Get("X-Other") != "" {
		t.Errorf("body = %s, want %s", r.body, want)
	}
	w.wantReleased(t, len(tests)+1)
}

func TestPassthroughPaths(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	guest := w.newGuest(t)
	for _, path := range []string{"..", "../x", "a/../b", "a/./b", "%2e%2E/x", "a%2F..%2Fb", "a/..%2f", `..%5Cx`, "a%5C..", "."} {
		r := w.pass(t, "GET", id, path, "")
		r.wantError(t, 400, "invalid path")
	}
	w.pass(t, "GET", "x%2Fopencode%2Fy", "z", "").wantError(t, 404, "not found")
	w.pass(t, "GET", noID, "x", "").wantError(t, 404, "session "+noID+" not found")
	w.do(t, "GET", sessions+"/"+id+"/opencode", nil).wantError(t, 404, "not found")
	w.do(t, "OPTIONS", sessions+"/"+id+"/opencode/x", nil).wantError(t, 405, "method not allowed")
	if len(guest.requests) > 0 {
		t.Errorf("the guest got %s", (<-guest.requests).RequestURI)
	}
}

func TestPassMessage(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	body := ` { "model": {"providerID":"p","modelID":"m"}, "parts": [{"type":"text","text":"<x>"}], "noReply":false}`
	r := w.pass(t, "POST", id, "session/harness-1/message", body).want(t, 200)
	if r.body != defaultReply {
		t.Errorf("reply = %s", r.body)
	}
	turn := w.engine.turn()
	if got, want := string(turn.Request), `{"model":{"providerID":"p","modelID":"m"},"noReply":false}`; got != want {
		t.Errorf("request = %s, want %s", got, want)
	}
	if len(turn.Parts) != 1 || string(turn.Parts[0]) != `{"type":"text","text":"<x>"}` {
		t.Errorf("parts = %s", turn.Parts)
	}
	if r := w.pass(t, "POST", id, "session/harness-1/prompt_async", `{"parts":[{"type":"text","text":"y"}]}`).want(t, 204); r.body != "" {
		t.Errorf("prompt_async answered %s", r.body)
	}
	if turn := w.engine.turn(); turn.Request != nil {
		t.Errorf("request = %s, want none", turn.Request)
	}
	for range 2 {
		w.pass(t, "POST", id, "session/harness-1/prompt_async", `{"parts":[{"type":"text","text":"z"}]}`, keyHeader, "k").want(t, 204)
	}
	w.pass(t, "POST", id, "session/harness-1/message", `{"parts":[{"type":"text","text":"z"}]}`, keyHeader, "k").wantError(t, 409, keyHeader)
	if n := w.engine.sent(); n != 3 {
		t.Errorf("%d turns, want 3", n)
	}
	for bad, phrase := range map[string]string{
		`{}`: "parts: is required", `{"parts":[]}`: "parts: must not be empty", `{"parts":[{}]}`: "parts.0.type: is required",
		`[]`: "invalid JSON body", `{"parts":"x","text":"y"}`: "parts: must be an array",
	} {
		w.pass(t, "POST", id, "session/harness-1/message", bad).wantError(t, 400, phrase)
	}
	w.engine.answer(nil, fmt.Errorf("%w: no", session.ErrHarness))
	w.pass(t, "POST", id, "session/harness-1/message", body).wantError(t, 502, "harness request failed: no")
}

func TestPassthroughFaults(t *testing.T) {
	w := newWorld(t)
	w.api.Hurry(api.Timing{Ready: 30 * time.Millisecond, Poll: 5 * time.Millisecond})
	agent := w.newAgent(t)
	id := w.newSession(t, agent)
	guest := w.newGuest(t)
	guest.HandleFunc("/harness/cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	guest.HandleFunc("/harness/none", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	guest.HandleFunc("/harness/part", func(w http.ResponseWriter, _ *http.Request) { breakOff(w, strings.Repeat("x", 100_000)) })
	w.pass(t, "GET", id, "cut", "").wantError(t, 502, "harness request failed")
	w.pass(t, "GET", id, "none", "").want(t, 204)
	w.pass(t, "GET", id, "nothing", "").want(t, 404)
	if got, err := io.ReadAll(w.listen(t, "GET", sessions+"/"+id+"/opencode/part", "").body); err == nil {
		t.Errorf("%d bytes look like all", len(got))
	}
	creating := w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	w.pass(t, "GET", creating, "x", "").wantError(t, 504, "not ready within 0.03s")
	dead := w.newSession(t, agent)
	w.do(t, "DELETE", sessions+"/"+dead, nil).want(t, 204)
	w.pass(t, "GET", dead, "x", "").wantError(t, 410, "session "+dead+" is dead")
	w.engine.answer(nil, fmt.Errorf("%w: away", session.ErrHarness))
	w.pass(t, "GET", id, "x", "").wantError(t, 502, "harness request failed")
	w.engine.answer(nil, errors.New("x"))
	w.pass(t, "GET", id, "x", "").wantError(t, 500, "internal error")
}

// TestPassMessageRevives sends to a session whose sandbox was lost.
func TestPassMessageRevives(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	if err := w.store.MarkDead(t.Context(), id, 1, "task disappeared", true); err != nil {
		t.Fatal(err)
	}
	w.pass(t, "POST", id, "session/harness-1/message", `{"parts":[{"type":"text","text":"x"}]}`).want(t, 200)
	w.pass(t, "GET", id, "session", "").wantError(t, 410, "session "+id+" is dead")
	if r := w.pass(t, "GET", id, "session/harness-1/message", "").want(t, 200); r.body != "[]" {
		t.Errorf("thread = %s", r.body)
	}
}

func TestPassThread(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	guest := w.newGuest(t)
	guest.HandleFunc("/harness/session/harness-1/message", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "live") })
	guest.HandleFunc("/harness/session/harness-3/message", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	w.engine.answer([]json.RawMessage{json.RawMessage(`{"info":{"id":"m1"},"parts":[]}`)}, nil)
	for hid, want := range map[string]string{"harness-1": "live", "harness-2": `[{"info":{"id":"m1"},"parts":[]}]`, "harness-3": `[{"info":{"id":"m1"},"parts":[]}]`} {
		if r := w.pass(t, "GET", id, "session/"+hid+"/message", "").want(t, 200); r.body != want {
			t.Errorf("%s: %s, want %s", hid, r.body, want)
		}
	}
}

func TestPassEvents(t *testing.T) {
	w := newWorld(t)
	w.api.Hurry(api.Timing{Touch: 5 * time.Millisecond})
	id := w.newSession(t, w.newAgent(t))
	guest := w.newGuest(t)
	guest.HandleFunc("/harness/event", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	before := w.do(t, "GET", sessions+"/"+id, nil).get("last_seen_at").String()
	l := w.listen(t, "GET", sessions+"/"+id+"/opencode/event", "")
	if got := l.res.Header.Get("Content-Type") + l.res.Header.Get("X-Accel-Buffering"); got != "text/event-stream; charset=utf-8no" {
		t.Errorf("headers = %v", l.res.Header)
	}
	if got := l.next(); got != "data: 1" {
		t.Errorf("frame = %q", got)
	}
	for deadline := time.Now().Add(patience); w.do(t, "GET", sessions+"/"+id, nil).get("last_seen_at").String() <= before; {
		if time.Now().After(deadline) {
			t.Fatal("an open stream does not refresh last_seen_at")
		}
	}
	w.api.EndStreams()
	l.end()
	w.wantReleased(t, 1)
}

func TestPassthroughBodyTooLarge(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	guest := w.newGuest(t)
	guest.HandleFunc("/harness/", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	const limit = 80 << 20
	r := w.pass(t, "POST", id, "x", strings.Repeat("x", limit+1))
	r.wantError(t, 413, "request body too large")
	if n := len(guest.requests); n > 0 {
		t.Errorf("the guest got %d requests", n)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+sessions+"/"+id+"/opencode/x", io.LimitReader(zeros{}, limit+1))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("in chunks: %d, want 413", res.StatusCode)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
