// Package fuzz_test is apart from the other tests of scripted models, since the clients that
// those use take minutes to be built for fuzzing.
package fuzz_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lap/server/gateway"
)

const (
	repository    = "../../../.."
	chatPath      = "/v1/chat/completions"
	messagesPath  = "/v1/messages?beta=true"
	responsesPath = "/v1/responses"

	ranBash = `{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"bash","arguments":"{}"}}]},` +
		`{"role":"tool","tool_call_id":"call_1","content":"hello"}`
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
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "s.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{chatPath, messagesPath, responsesPath} {
			body, err := json.Marshal(map[string]any{"model": "scripted/s", "stream": stream, "messages": json.RawMessage(messages), "input": json.RawMessage(messages)})
			if err != nil {
				t.Skip()
			}
			sameTwice(t, dir, path, string(body))
		}
	})
}

// FuzzChatCompletions, FuzzMessages and FuzzResponses hold the same of whatever is asked.
func FuzzChatCompletions(f *testing.F) {
	f.Add(`{"model":"scripted/echo","messages":[{"role":"user","content":"RUN: ls"},` + ranBash + `],"tools":[{"type":"function","function":{"name":"bash","parameters":{}}}]}`)
	f.Add(`{"model":"scripted/echo","stream":true,"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:"}}]}]}`)
	f.Fuzz(func(t *testing.T, body string) { sameTwice(t, "", chatPath, body) })
}

func FuzzMessages(f *testing.F) {
	f.Add(`{"model":"scripted/echo","messages":[{"role":"user","content":"RUN: ls"}],"tools":[{"name":"Bash","input_schema":{"type":"object","properties":{"command":{"type":"string"},"description":{"type":"string"}}}}]}`)
	f.Add(`{"model":"scripted/echo","stream":true,"system":"s","messages":[{"role":"user","content":[{"type":"text","text":"RUN: ls"}]},` +
		`{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"bash","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"b"}]},{"type":"text","text":"<system-reminder></system-reminder>"}]}]}`)
	f.Add(`{"model":"scripted/echo","tool_choice":{"type":"none"},"messages":[{"role":"user","content":[{"type":"image","source":{"data":"AA"}}]}]}`)
	f.Fuzz(func(t *testing.T, body string) { sameTwice(t, "", messagesPath, body) })
}

func FuzzResponses(f *testing.F) {
	f.Add(`{"model":"scripted/echo","stream":true,"input":"RUN: ls","tools":[{"type":"local_shell"},{"type":"custom","name":"c"},{"type":"namespace","name":"n","tools":[{"type":"function","name":"shell","parameters":{"properties":{"command":{"type":"array"}}}}]}]}`)
	f.Add(`{"model":"scripted/echo","include":["reasoning.encrypted_content"],"input":[{"role":"user","content":[{"type":"input_text","text":"RUN: ls"}]},{"type":"reasoning"},` +
		`{"type":"function_call","call_id":"a"},{"type":"function_call_output","call_id":"a","output":"b"},{"type":"additional_tools","tools":[]},{"type":"item_reference","id":"x"}]}`)
	f.Add(`{"model":"scripted/echo","previous_response_id":"a","input":[]}`)
	f.Fuzz(func(t *testing.T, body string) { sameTwice(t, "", responsesPath, body) })
}

func sameTwice(t *testing.T, dir, path, body string) {
	t.Helper()
	if !strings.Contains(body, `"scripted/`) {
		t.Skip() // no scripted model is asked
	}
	first, second := outcome(t, dir, path, body), outcome(t, dir, path, body)
	if first != second {
		t.Errorf("one request, two answers:\n%s\n%s", first, second)
	}
}

// ends are how streams end, whole or with an error.
var ends = map[string]*regexp.Regexp{
	chatPath:      regexp.MustCompile(`data: (\[DONE\]|\{"error":.*\})\n\n$`),
	messagesPath:  regexp.MustCompile(`event: (message_stop|error)\ndata: .*\n\n$`),
	responsesPath: regexp.MustCompile(`event: response\.(completed|incomplete|failed)\ndata: .*\n\n$`),
}

// outcome returns the bytes of an answer, which may be cut, after a look at them.
func outcome(t *testing.T, dir, path, body string) (text string) {
	t.Helper()
	g, err := gateway.New(gateway.Config{Scripts: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
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
		req := httptest.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, path, strings.NewReader(body))
		g.ServeHTTP(rec, req)
	}()
	text = rec.Body.String()
	switch {
	case cut || malformed(dir):
	case strings.HasPrefix(rec.Header().Get("Content-Type"), "text/event-stream"):
		if !ends[path].MatchString(text) {
			t.Errorf("stream ends in %q", text[max(0, len(text)-40):])
		}
	case !json.Valid([]byte(text)):
		t.Errorf("answer = %q", text)
	}
	return text
}

// malformed reports whether a script may want its answer to be so.
func malformed(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "s.yaml"))
	return err == nil && strings.Contains(string(text), "malformed")
}
