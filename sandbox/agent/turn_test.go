package agent_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/sandbox/agent"
	"lap/sandbox/proc"
)

func TestTurnTellsItsStoryInOrder(t *testing.T) {
	t.Parallel()
	f := start(t, nil, func(w http.ResponseWriter, r *http.Request) {
		chunk(w, `{"role":"assistant","reasoning_content":"hm"}`, "")
		chunk(w, `{"content":"Let me "}`, "")
		chunk(w, `{"content":"look."}`, "")
		use("bash", `{"command":"printf hi; exit 3"}`)(w, r)
	}, say("It says hi."))
	stream := f.subscribe()
	last := f.send("please look")

	var got []string
	for _, e := range stream.until("session.idle") {
		got = append(got, e.String())
	}
	want := []string{
		"message user", `part `, "session.updated", "status busy",
		"message assistant", "part step-start",
		`part reasoning ""`, `delta "hm"`, `part reasoning "hm"`,
		`part text ""`, `delta "Let me "`, `delta "look."`, `part text "Let me look."`,
		"part tool pending", "part tool running", "part tool completed",
		"part step-finish", "message assistant tool-calls", "session.updated",
		"message assistant", "part step-start",
		`part text ""`, `delta "It "`, `delta "says "`, `delta "hi."`, `part text "It says hi."`,
		"part step-finish", "message assistant stop", "session.updated",
		"status idle", "session.idle",
	}
	want[1] = `part text "please look"`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	thread := f.thread()
	if len(thread) != 3 {
		t.Fatalf("%d messages, want 3", len(thread))
	}
	if diff := cmp.Diff(thread[2], last); diff != "" {
		t.Errorf("answer is not the last message (-thread +answer):\n%s", diff)
	}
	for _, m := range thread[1:] {
		if m.Info.ParentID != thread[0].Info.ID {
			t.Errorf("parent of %s = %s, want %s", m.Info.ID, m.Info.ParentID, thread[0].Info.ID)
		}
		if want := (agent.Path{CWD: f.dir, Root: f.dir}); m.Info.Path != want || m.Info.Time.Completed == 0 {
			t.Errorf("info = %+v", m.Info)
		}
	}
	tokens := agent.Tokens{Total: 140, Input: 20, Output: 15, Reasoning: 5}
	tokens.Cache.Read = 100
	if last.Info.Finish != "stop" || last.Info.Tokens != tokens {
		t.Errorf("finish %q, tokens %+v", last.Info.Finish, last.Info.Tokens)
	}
	state := f.tools()[0]
	if *state.Output != "hi\n[exit code 3]" || *state.Metadata.Exit != 3 || *state.Metadata.Output != "hi" || state.Title != "printf hi; exit 3" {
		t.Errorf("tool state = %+v", state)
	}
}

func TestModelGetsResultsOfAllCalls(t *testing.T) {
	t.Parallel()
	f := start(t, nil, use("bash", `{"command":"echo one"}`, "nope", `{}`, "bash", `{"command":`, "bash", `{"command":7}`, "read", ``))
	f.send("go")
	var got []string
	for _, m := range f.requests()[1].Messages[1:] {
		line := m.Role + " " + m.ToolCallID + " " + m.text()
		for _, c := range m.ToolCalls {
			line += " " + c.ID + c.Function.Arguments
		}
		got = append(got, line)
	}
	want := []string{
		"user  go",
		`assistant   call_0{"command":"echo one"} call_1{} call_2{} call_3{"command":7} call_4{}`,
		"tool call_0 one\n",
		`tool call_1 Error: there is no tool "nope"; the tools are bash, read, write, edit, glob, grep, save_memory, search_memory`,
		"tool call_2 Error: the arguments are not valid JSON (unexpected end of JSON input); they may have been cut: send them again, shorter if they were long",
		`tool call_3 Error: argument "command" must be of type string, not number`,
		"tool call_4 Error: path is missing",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	var states []string
	for _, s := range f.tools() {
		states = append(states, s.Status)
	}
	if want := []string{"completed", "error", "error", "error", "error"}; !slices.Equal(states, want) {
		t.Errorf("states = %v, want %v", states, want)
	}
}

func TestModelCallHasTheGatewaysShape(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.do(http.MethodPost, "/session/"+f.session+"/message",
		`{"model":{"providerID":"anthropic","modelID":"claude/x"},"parts":[{"type":"text","text":"hi"}]}`, http.StatusOK, nil)
	r := f.requests()[0]
	if r.Model != "anthropic/claude/x" || !r.Stream || !r.Options.Usage || r.header.Get("X-Session-Id") != f.session {
		t.Errorf("request = %+v", r)
	}
	var names []string
	for _, tool := range r.Tools {
		names = append(names, tool.Function.Name)
		p := tool.Function.Parameters
		if p.Type != "object" || len(p.Properties) == 0 {
			t.Errorf("schema of %s = %+v", tool.Function.Name, p)
		}
		for _, name := range p.Required {
			if _, ok := p.Properties[name]; !ok {
				t.Errorf("%s requires %s, which it does not describe", tool.Function.Name, name)
			}
		}
	}
	if want := "bash read write edit glob grep save_memory search_memory"; strings.Join(names, " ") != want {
		t.Errorf("tools = %v, want %s", names, want)
	}
}

func TestLoopingModelIsNudgedAndStopped(t *testing.T) {
	t.Parallel()
	var steps []step
	for range 20 {
		steps = append(steps, use("bash", `{"command":"echo same"}`))
	}
	f := start(t, nil, steps...)
	last := f.send("go")
	if e := last.failure(); e.Name != "UnknownError" || !strings.Contains(e.Data.Message, "the same bash call 8 times") {
		t.Errorf("error = %+v", e)
	}
	requests := f.requests()
	if len(requests) != 8 {
		t.Errorf("%d model calls, want 8", len(requests))
	}
	messages := requests[7].Messages
	if text := messages[len(messages)-1].text(); !strings.Contains(text, "You made this very call 7 times") {
		t.Errorf("last result = %q", text)
	}
	if f.send("again").text() != "" { // the script goes on, with the same call
		t.Error("the session does not live on")
	}
}

func TestEndsThatAreNotStops(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		step   step
		text   string
		finish string
		err    string
	}{
		{"length with text", func(w http.ResponseWriter, _ *http.Request) { chunk(w, `{"content":"half"}`, ""); end(w, "length") }, "half", "length", ""},
		{"length without text", func(w http.ResponseWriter, _ *http.Request) { end(w, "length") }, "", "", "MessageOutputLengthError"},
		{"content filter", func(w http.ResponseWriter, _ *http.Request) { end(w, "content_filter") }, "", "", "ContentFilterError"},
		{"nothing at all", func(w http.ResponseWriter, _ *http.Request) { end(w, "stop") }, "", "stop", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil, tt.step)
			m := f.send("go")
			if m.text() != tt.text || m.Info.Finish != tt.finish || m.failure().Name != tt.err {
				t.Errorf("text %q, finish %q, error %q", m.text(), m.Info.Finish, m.failure().Name)
			}
			if f.send("more").text() != "done" {
				t.Error("the session does not live on")
			}
		})
	}
}

// Some gateways number every call 0, leave out ids, change the chunk id, or finish a
// call with stop.
func TestOddGateways(t *testing.T) {
	t.Parallel()
	f := start(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		chunk(w, `{"tool_calls":[{"index":0,"id":"a","function":{"name":"bash","arguments":"{\"command\":\"echo 1\"}"}}]}`, "")
		frame(w, `"id":"other","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"bash","arguments":"{\"command\":\"echo 2\"}"}}]}}]`)
		chunk(w, `{"tool_calls":[{"index":1,"function":{"name":"bash","arguments":"{\"command\":\"echo 3\"}"}}]}`, "")
		frame(w, `"choices":[{"index":1,"delta":{"content":"of another choice"}}]`)
		end(w, "stop")
	})
	f.send("go")
	var got []string
	for _, s := range f.tools() {
		got = append(got, *s.Output)
	}
	if want := []string{"1\n", "2\n", "3\n"}; !slices.Equal(got, want) {
		t.Errorf("outputs = %q, want %q", got, want)
	}
	ids := map[string]bool{}
	for _, c := range f.requests()[1].Messages[2].ToolCalls {
		ids[c.ID] = true
	}
	if len(ids) != 3 || ids[""] {
		t.Errorf("call ids = %v", ids)
	}
}

func TestPanicEndsTheTurnOnly(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *agent.Config) { c.Children = &proc.Table{} }, use("bash", `{"command":"true"}`)) // a table without NewTable panics
	m := f.send("go")
	if e := m.failure(); e.Name != "UnknownError" || !strings.Contains(e.Data.Message, "internal error") {
		t.Errorf("error = %+v", e)
	}
	if state := f.tools()[0]; state.Status != "error" {
		t.Errorf("tool = %+v", state)
	}
	if f.send("again").text() != "done" {
		t.Error("the session does not live on")
	}
}

func TestEndlessTurnIsEnded(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for i := range 201 {
		f.play(use("read", fmt.Sprintf(`{"path":"%d"}`, i)))
	}
	if e := f.send("go").failure(); !strings.Contains(e.Data.Message, "after 200 steps") || len(f.requests()) != 200 {
		t.Errorf("error = %+v after %d steps", e, len(f.requests()))
	}
}

func TestMemoryIsThePlatforms(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 1)
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.Path
		fmt.Fprint(w, `{}`)
	}))
	t.Cleanup(platform.Close)
	f := start(t, func(c *agent.Config) { c.PlatformURL = platform.URL + "/" }, use("save_memory", `{"text":"use tabs"}`))
	f.send("remember")
	if s := f.tools()[0]; s.Status != "completed" || *s.Output != "Saved: use tabs" {
		t.Errorf("state = %+v", s)
	}
	if got, want := <-asked, "POST /api/v1/managed_agents/agents/agent-1/memory"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

func TestLogTellsNoSecrets(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := start(t, func(c *agent.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) },
		use("bash", `{"command":"echo s3cret; exit 3"}`, "read", `{"path":"s3cret"}`, strings.Repeat("x", 200), `{}`), say("s3cret"), status(400, "s3cret"))
	f.send("s3cret")
	f.send("s3cret again")
	f.agent.Close()
	got := log.String()
	for _, want := range []string{
		`msg="turn started" session=` + f.session, `msg="tool ended" exit=3 session=` + f.session + " tool=bash took=",
		`msg="tool ended" session=` + f.session + " tool=read took=", "tool=" + strings.Repeat("x", 64) + " ",
		`msg="turn ended" session=` + f.session + " took=", "outcome=ok", "outcome=APIError",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the log", want)
		}
	}
	if strings.Contains(got, "s3cret") || strings.Count(got, "\n") != 7 {
		t.Errorf("log:\n%s", got)
	}
}
