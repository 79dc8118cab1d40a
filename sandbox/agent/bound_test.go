package agent_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"lap/sandbox/agent"
)

// flood writes text without end, until the reader has had enough.
func flood(text string) step {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 1 << 30 / len(text) {
			if _, err := fmt.Fprint(w, text); err != nil {
				return
			}
		}
	}
}

// delta is an event with a piece of an answer.
func delta(piece string) string {
	return `data: {"choices":[{"index":0,"delta":` + piece + "}]}\n\n"
}

// Whatever a gateway answers, it ends, and what is held of it is small.
func TestEndlessAnswers(t *testing.T) {
	kilobyte := strings.Repeat("x", 1<<10)
	after := func(first string, rest step) step {
		return func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, first)
			rest(w, r)
		}
	}
	tests := []struct {
		name  string
		step  step
		error string
	}{
		{"text", flood(delta(`{"content":"` + kilobyte + `"}`)), "the model's answer is longer than 4 MiB"},
		{"thoughts", flood(delta(`{"reasoning_content":"` + kilobyte + `"}`)), "longer than 4 MiB"},
		{"arguments", flood(delta(`{"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":"` + kilobyte + `"}}]}`)), "longer than 4 MiB"},
		{"parts", flood(delta(`{"content":"a"}`) + delta(`{"reasoning":"b"}`)), "longer than 4 MiB"},
		{"line", flood(kilobyte), "an event of more than 2 MiB"},
		{"data line", after("data: ", flood(kilobyte)), "an event of more than 2 MiB"},
		{"event of many lines", flood("data: " + kilobyte + "\n"), "an event of more than 2 MiB"},
		{"comments", flood(": ping\n\n"), "an event of more than 2 MiB"},
		{"error", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			flood(kilobyte)(w, r)
		}, "Bad Request: xxx"},
		{"JSON error", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":{"message":"`)
			flood(kilobyte)(w, r)
		}, ""},
		{"error event", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "data: {\"error\":{\"code\":400,\"message\":\"%s\"}}\n\n", strings.Repeat("y", 1<<20))
		}, "yyy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, nil, tt.step)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m := f.send("hi")
			runtime.ReadMemStats(&after)
			e := m.failure()
			if !strings.Contains(e.Data.Message, tt.error) || *e.Data.IsRetryable || len(f.requests()) != 1 {
				t.Errorf("error = %.200s, retryable %t, after %d calls", e.Data.Message, *e.Data.IsRetryable, len(f.requests()))
			}
			if len(e.Data.Message) > 20<<10 || len(m.Parts) > 600 {
				t.Errorf("a message of %d bytes, %d parts", len(e.Data.Message), len(m.Parts))
			}
			if grown := int64(after.Sys) - int64(before.Sys); grown > 100<<20 {
				t.Errorf("the process grew by %d MiB", grown>>20)
			}
			if f.send("again").text() != "done" {
				t.Error("the session does not live on")
			}
		})
	}
}

// Calls that never end are one after another.
func TestEndlessCalls(t *testing.T) {
	f := start(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 10_000 {
			if _, err := fmt.Fprint(w, delta(fmt.Sprintf(`{"tool_calls":[{"index":%d,"function":{"name":"bash"}}]}`, i))); err != nil {
				return
			}
		}
	})
	m := f.send("hi")
	if e := m.failure(); !strings.Contains(e.Data.Message, "longer than 4 MiB") || len(m.Parts) > 600 {
		t.Errorf("error = %+v, %d parts", e, len(m.Parts))
	}
}

func TestIdleIsToldAfterTheLastTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idle := make(chan struct{}, 10)
		a := agent.New(agent.Config{
			GatewayURL: "http://127.0.0.1:1", Dir: t.TempDir(), Home: t.TempDir(), Scratch: t.TempDir(),
			Idle: func() { idle <- struct{}{} },
		})
		defer a.Close()
		<-idle // of the start
		call := func(path, body string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			a.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body)))
			return w
		}
		var s agent.Session
		if err := json.Unmarshal(call("/session", "").Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		call("/session/"+s.ID+"/message", `{"noReply":true,`+ask("x")[1:])
		<-idle
		synctest.Wait()
		if len(idle) != 0 {
			t.Error("idle was told twice")
		}
	})
}
