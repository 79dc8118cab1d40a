package scripted_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzScript holds that whatever a script and a request say, there is a valid answer:
// nothing panics but a cut, and the same request gets the same bytes.
func FuzzScript(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(repository, "testdata", "scripts", "*.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), `[{"role":"user","content":"cut"}]`, true)
		f.Add(string(text), `[{"role":"user","content":"length"},`+ranBash+`]`, false)
	}
	f.Fuzz(func(t *testing.T, text, messages string, stream bool) {
		if strings.Contains(text, "delay") || !json.Valid([]byte(messages)) {
			t.Skip()
		}
		dir := script(t, "s", text)
		body, err := json.Marshal(map[string]any{"model": "scripted/s", "stream": stream, "messages": json.RawMessage(messages)})
		if err != nil {
			t.Skip()
		}
		first, second := outcome(t, dir, string(body)), outcome(t, dir, string(body))
		if first != second {
			t.Errorf("one request, two answers:\n%s\n%s", first, second)
		}
	})
}

// outcome returns the bytes of an answer, which may be cut, after a look at them.
func outcome(t *testing.T, dir, body string) (text string) {
	t.Helper()
	rec := httptest.NewRecorder()
	cut := false
	func() {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				cut = true
			default:
				panic(p)
			}
		}()
		req := httptest.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
		newGateway(t, dir).ServeHTTP(rec, req)
	}()
	text = rec.Body.String()
	switch {
	case cut:
	case strings.HasPrefix(rec.Header().Get("Content-Type"), "text/event-stream"):
		if !strings.HasSuffix(text, "data: [DONE]\n\n") {
			t.Errorf("stream ends in %q", text[max(0, len(text)-40):])
		}
	case !json.Valid([]byte(text)):
		t.Errorf("answer = %q", text)
	}
	return text
}
