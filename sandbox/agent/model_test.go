package agent_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lap/sandbox/agent"
)

func TestModelErrorsEndTheTurnAndNotTheSession(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		status    int
		body      string
		calls     int
		message   string
		retryable bool
	}{
		{"unauthorized", 401, `{"error":{"message":"bad key","code":"401"}}`, 1, "bad key", false},
		{"forbidden", 403, `{"error":{"message":"no access","code":null}}`, 1, "no access", false},
		{"bad request", 400, `{"error":{"message":"no such model"}}`, 1, "no such model", false},
		{"not json", 404, `<html>gone</html>`, 1, "Not Found: <html>gone</html>", false},
		{"empty", 422, ``, 1, "Unprocessable Entity:", false},
		{"too many requests", 429, `{"error":{"message":"slow down"}}`, 4, "slow down", true},
		{"bad gateway", 502, `upstream`, 4, "Bad Gateway: upstream", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil)
			for range tt.calls {
				f.play(status(tt.status, tt.body, "Retry-After", "0"))
			}
			e := f.send("hi").failure()
			if e.Name != "APIError" || e.Data.Message != tt.message || e.Data.StatusCode != tt.status || *e.Data.IsRetryable != tt.retryable {
				t.Errorf("error = %+v", e)
			}
			if n := len(f.requests()); n != tt.calls {
				t.Errorf("%d model calls, want %d", n, tt.calls)
			}
			if f.send("again").text() != "done" {
				t.Error("the session does not live on")
			}
		})
	}
}

func TestRetryIsTold(t *testing.T) {
	t.Parallel()
	f := start(t, nil, status(429, `{"error":{"message":"slow down"}}`, "Retry-After-Ms", "3"), status(503, "", "Retry-After", "0"))
	stream := f.subscribe()
	if m := f.send("hi"); m.text() != "done" || m.Info.Error != nil {
		t.Errorf("answer = %+v", m)
	}
	first := stream.until("status retry")
	st := first[len(first)-1].Properties.Status
	if st.Attempt != 1 || st.Message != "slow down" || st.Next == 0 {
		t.Errorf("status = %+v", st)
	}
	stream.until("status busy")
	stream.until("status retry")
	stream.until("status busy")
	stream.until("session.idle")
}

func TestLongWaitsAreNotWaited(t *testing.T) {
	t.Parallel()
	f := start(t, nil, status(429, `{"error":{"message":"tomorrow"}}`, "Retry-After", "86400"))
	if e := f.send("hi").failure(); e.Data.Message != "tomorrow" || !*e.Data.IsRetryable {
		t.Errorf("error = %+v", e)
	}
}

// The gateway knows better than its status whether a retry helps.
func TestGatewayDecidesAboutRetries(t *testing.T) {
	t.Parallel()
	no := start(t, nil, status(503, `{"error":{"message":"no gateway"}}`, "X-Should-Retry", "false"))
	if e := no.send("hi").failure(); e.Data.Message != "no gateway" || *e.Data.IsRetryable || len(no.requests()) != 1 {
		t.Errorf("error = %+v after %d calls", e, len(no.requests()))
	}
	yes := start(t, nil, status(400, `{"error":{"message":"odd"}}`, "X-Should-Retry", "true", "Retry-After", "0"))
	if m := yes.send("hi"); m.text() != "done" || len(yes.requests()) != 2 {
		t.Errorf("answer = %+v after %d calls", m, len(yes.requests()))
	}
}

func TestErrorsThatMeanTooLong(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status  int
		message string
		name    string
	}{
		{400, "maximum Context Length is 9", "ContextOverflowError"},
		{400, "exceeds context_window", "ContextOverflowError"},
		{400, "Prompt is too long", "ContextOverflowError"},
		{413, "anything", "ContextOverflowError"},
		{400, "max_tokens is too large", "APIError"},
		{403, "context length", "APIError"},
	}
	for _, tt := range tests {
		f := start(t, nil, status(tt.status, `{"error":{"message":`+quote(tt.message)+`}}`))
		if e := f.send("hi").failure(); e.Name != tt.name {
			t.Errorf("%d %s = %s, want %s", tt.status, tt.message, e.Name, tt.name)
		}
	}
}

func TestAbortWhileWaitingForARetry(t *testing.T) {
	t.Parallel()
	f := start(t, nil, status(429, "", "Retry-After", "30"))
	stream := f.subscribe()
	reply := f.sendInBackground("hi")
	stream.until("status retry")
	f.do(http.MethodPost, "/session/"+f.session+"/abort", "", http.StatusOK, nil)
	if m := <-reply; m.failure().Name != "MessageAbortedError" {
		t.Errorf("answer = %+v", m)
	}
}

func TestGatewayThatRefusesConnections(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	f := start(t, func(c *agent.Config) { c.GatewayURL = gone.URL })
	if e := f.send("hi").failure(); e.Name != "APIError" || e.Data.StatusCode != 0 || !*e.Data.IsRetryable {
		t.Errorf("error = %+v", e)
	}
}

// What came before the cut is taken back, in the thread and for those who listen.
func TestCutStreamIsAskedAgain(t *testing.T) {
	t.Parallel()
	cuts := map[string]step{
		"connection": func(w http.ResponseWriter, _ *http.Request) {
			chunk(w, `{"content":"half"}`, "")
			chunk(w, `{"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":"{"}}]}`, "")
			panic(http.ErrAbortHandler)
		},
		"end of stream": func(w http.ResponseWriter, _ *http.Request) { chunk(w, `{"content":"half"}`, "") },
		"garbage": func(w http.ResponseWriter, _ *http.Request) {
			chunk(w, `{"content":"half"}`, "")
			fmt.Fprint(w, "data: {oops\n\n")
		},
		"error frame": func(w http.ResponseWriter, _ *http.Request) {
			chunk(w, `{"content":"half"}`, "")
			fmt.Fprint(w, "data: {\"error\":{\"message\":\"overloaded\",\"code\":\"503\"}}\n\n")
		},
	}
	for name, cut := range cuts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil, cut)
			stream := f.subscribe()
			m := f.send("hi")
			if m.text() != "done" || len(m.Parts) != 3 || m.Info.Error != nil {
				t.Errorf("answer = %+v", m)
			}
			shown := map[string]string{}
			for _, e := range stream.until("session.idle") {
				p := e.Properties
				switch {
				case e.Type == "message.part.updated" && p.Part.Text != nil:
					shown[p.Part.ID] = *p.Part.Text
				case e.Type == "message.part.updated" && p.Part.State != nil:
					shown[p.Part.ID] = "tool"
				case e.Type == "message.part.removed":
					delete(shown, p.PartID)
				}
			}
			if len(shown) != 2 { // the question and the answer
				t.Errorf("a listener has %q", shown)
			}
		})
	}
}

func TestStreamErrorThatIsFinal(t *testing.T) {
	t.Parallel()
	f := start(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		chunk(w, `{"content":"half"}`, "")
		fmt.Fprint(w, "data: {\"error\":{\"message\":\"blocked\",\"code\":400}}\n\n")
	})
	m := f.send("hi")
	if e := m.failure(); e.Data.Message != "blocked" || e.Data.StatusCode != http.StatusBadRequest || m.text() != "half" {
		t.Errorf("answer = %+v", m)
	}
}

// long fills the conversation with a few steps of a few kilobytes each.
func long(steps int) []step {
	var all []step
	for i := range steps {
		all = append(all, use("bash", fmt.Sprintf(`{"command":"echo step %d; seq 1 800"}`, i)))
	}
	return all
}

const tooLong = `{"error":{"message":"This model's maximum context length is 5000 tokens. However, you requested more.","code":"context_length_exceeded"}}`

func TestOverflowIsCompacted(t *testing.T) {
	t.Parallel()
	f := start(t, nil, long(5)...)
	f.play(status(400, tooLong), say("SUMMARY: five steps"), say("finished"))
	stream := f.subscribe()
	m := f.send("count to 800, five times")
	if m.text() != "finished" || m.Info.Error != nil {
		t.Fatalf("answer = %+v", m)
	}
	stream.until("session.compacted")
	if kinds := fmt.Sprint(m.Parts[0].Type, " ", m.Parts[1].Type); kinds != "step-start compaction" {
		t.Errorf("parts begin with %s", kinds)
	}
	requests := f.requests()
	summary, after := requests[6], requests[7]
	if len(summary.Tools) != 0 || !strings.Contains(summary.Messages[1].text(), "count to 800") {
		t.Errorf("summary request = %+v", summary)
	}
	head := after.Messages[1].text()
	if !strings.Contains(head, "SUMMARY: five steps") || !strings.Contains(head, "count to 800, five times") {
		t.Errorf("after compaction the model gets %q first", head)
	}
	checkPairs(t, after)
	if n := len(f.thread()); n != 7 {
		t.Errorf("clients see %d messages, want all 7", n)
	}
	before := len(f.requests())
	f.play(long(4)...) // the window is known now: compaction comes before the error
	f.send("again")
	for _, r := range f.requests()[before:] {
		checkPairs(t, r)
		size := 0
		for _, m := range r.Messages {
			size += len(m.Content)
		}
		if size > 5000*4 { // four bytes a token
			t.Errorf("a request of %d bytes", size)
		}
	}
}

func TestFailedSummaryIsNotFatal(t *testing.T) {
	t.Parallel()
	f := start(t, nil, long(5)...)
	f.play(status(400, tooLong), status(500, "no"), say("finished"))
	if m := f.send("go"); m.text() != "finished" || m.Info.Error != nil {
		t.Fatalf("answer = %+v", m)
	}
	requests := f.requests()
	last := requests[len(requests)-1]
	if !strings.Contains(last.Messages[1].text(), "no longer fitted") {
		t.Errorf("first message = %q", last.Messages[1].text())
	}
	checkPairs(t, last)
}

func TestHugeMessageIsAnError(t *testing.T) {
	t.Parallel()
	f := start(t, nil, status(400, tooLong), status(400, tooLong), status(400, tooLong), status(400, tooLong))
	if e := f.send(strings.Repeat("word ", 50_000)).failure(); e.Name != "ContextOverflowError" {
		t.Errorf("error = %+v", e)
	}
}

// checkPairs checks that each call has its result right behind it and each result its call.
func checkPairs(t *testing.T, r chat) {
	t.Helper()
	open := map[string]bool{}
	for _, m := range r.Messages {
		if m.Role == "tool" && !open[m.ToolCallID] {
			t.Fatalf("result %s has no call", m.ToolCallID)
		}
		if m.Role != "tool" && len(open) > 0 {
			t.Fatalf("calls %v have no result", open)
		}
		delete(open, m.ToolCallID)
		for _, c := range m.ToolCalls {
			open[c.ID] = true
		}
	}
}
