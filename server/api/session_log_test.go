package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/db"
)

// logLines are the events of a session's log in short form, without times.
func (w *world) logLines(t *testing.T, id, query string) []string {
	t.Helper()
	var lines []string
	at := ""
	for _, e := range w.do(t, "GET", sessions+"/"+id+"/log"+query, nil).want(t, 200).get("data").Array() {
		line := e.Get("kind").String() + " | " + e.Get("title").String()
		for _, name := range []string{"detail", "meta", "status"} {
			if v := e.Get(name); v.Exists() {
				line += " | " + v.String()
			}
		}
		if e.Get("id").String() == "" || !timestamp.MatchString(e.Get("at").String()) || e.Get("at").String() < at {
			t.Errorf("event = %s after %s", e, at)
		}
		at = e.Get("at").String()
		lines = append(lines, strings.ReplaceAll(line, id, "ID"))
	}
	return lines
}

func messages(texts ...string) []json.RawMessage {
	var list []json.RawMessage
	for _, text := range texts {
		list = append(list, json.RawMessage(text))
	}
	return list
}

func TestSessionLog(t *testing.T) {
	long := strings.Repeat("ä", 601)
	tests := []struct {
		name    string
		message string
		want    []string
	}{
		{"user", `{"info":{"id":"m","role":"user"},"parts":[{"type":"text","text":"hi"}]}`, []string{"user | User message | hi"}},
		{"long text", `{"info":{"role":"user","id":"m"},"parts":[{"type":"text","text":"` + long + `"}]}`, []string{"user | User message | " + strings.Repeat("ä", 600) + "…"}},
		{"preamble", `{"info":{"id":"m","role":"user"},"parts":[{"type":"text","text":"lap says","synthetic":true},{"type":"text","text":"a"},{"type":"text","text":"b"}]}`, []string{"user | User message | a\nb"}},
		{"images", `{"info":{"id":"m","role":"user"},"parts":[{"type":"image"},{"type":"image"},{"type":"file"}]}`, []string{"user | User message | [file × 1] [image × 2]"}},
		{"nothing but a preamble", `{"info":{"id":"m","role":"user"},"parts":[{"type":"text","text":"x","synthetic":true}]}`, nil},
		{
			"restored", `{"info":{"id":"m","role":"user"},"parts":[{"type":"text","text":"<previous_session_history>x"},{"type":"text","text":"hi"}]}`,
			[]string{"recovered | Session restored", "user | User message | hi"},
		},
		{
			"answer", `{"info":{"id":"m","role":"assistant","time":{"created":1900000000000,"completed":1900000001234},"tokens":{"output":186}},
				"parts":[{"type":"step-start"},{"type":"reasoning","text":"hm"},{"type":"tool","tool":"bash","state":{"status":"completed","input":{"command": "ls"}}},{"type":"text","text":"done"}]}`,
			[]string{"thinking | Thinking | hm | 1.2s · 186 tok", `tool | Tool: bash | completed · {"command":"ls"}`, "response | Response | done"},
		},
		{"fast answer", `{"info":{"id":"m","role":"assistant","time":{"created":1900000000000,"completed":1900000000840}},"parts":[{"type":"text","text":"x"}]}`, []string{"response | Response | x | 840ms"}},
		{
			"other tools", `{"info":{"id":"m","role":"assistant"},"parts":[{"type":"tool_use","name":"read","input":{"a":1}},
				{"type":"tool-invocation","toolInvocation":{"toolName":"grep","state":"call","args":[1]}},{"type":"tool-call","state":"odd"},{"type":"thinking","thinking":"so"}]}`,
			[]string{`tool | Tool: read | {"a":1}`, "tool | Tool: grep | call · [1]", "tool | Tool: ?", "thinking | Thinking | so"},
		},
		{
			"long input", `{"info":{"id":"m","role":"assistant"},"parts":[{"type":"tool","tool":"x","state":{"status":"running","input":"` + long + `"}}]}`,
			[]string{`tool | Tool: x | running · "` + strings.Repeat("ä", 189) + "…"},
		},
		{
			"strange", `{"info":{"id":1,"role":"assistant","time":"x","tokens":[]},"parts":[1,null,{"type":2,"text":"x"},{"type":"text","text":["x"]},{"type":"text","text":"ok"}]}`,
			[]string{"response | Response | ok"},
		},
		{"no message at all", `[1]`, nil},
	}
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.engine.answer(messages(tt.message), nil)
			if diff := cmp.Diff(append([]string{"created | Session created"}, tt.want...), w.logLines(t, id, "")); diff != "" {
				t.Error(diff)
			}
		})
	}
	w.do(t, "GET", sessions+"/"+noID+"/log", nil).wantError(t, 404, "session "+noID+" not found")
}

func TestLogPages(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	var thread []json.RawMessage
	for n := range 60 {
		thread = append(thread, json.RawMessage(fmt.Sprintf(`{"info":{"id":"m%d","role":"user"},"parts":[{"type":"text","text":"%d"}]}`, n, n)))
	}
	w.engine.answer(thread, nil)
	r := w.do(t, "GET", sessions+"/"+id+"/log", nil)
	if r.get("total").Int() != 61 || r.get("data.#").Int() != 50 || r.get("limit").Int() != 50 || r.get("data.0.id").String() != id+":created" {
		t.Errorf("log = %.300s", r.body)
	}
	if diff := cmp.Diff([]string{"user | User message | 58", "user | User message | 59"}, w.logLines(t, id, "?offset=59&limit=5")); diff != "" {
		t.Error(diff)
	}
}

// TestLogOfTurns is what the log tells without a thread.
func TestLogOfTurns(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	said := func(text string) db.NewTurn {
		return db.NewTurn{Parts: json.RawMessage(`[{"type":"text","text":"` + text + `"}]`)}
	}
	w.addTurn(t, id, said("one"), db.TurnEnd{Status: db.TurnComplete, Reply: json.RawMessage(`{"parts":[{"type":"text","text":"1"},{"type":"x"},{"type":"text","text":"!"}]}`)})
	w.addTurn(t, id, said("two"), db.TurnEnd{Status: db.TurnFailed, Error: "no"})
	w.engine.set(func() { w.engine.fail = errors.New("no thread") })
	want := []string{
		"created | Session created", "user | User message | one", "assistant | Agent | 1\n! | complete",
		"user | User message | two", "assistant | Agent | no | failed",
	}
	if diff := cmp.Diff(want, w.logLines(t, id, "")); diff != "" {
		t.Error(diff)
	}
	if _, err := w.store.ClaimSession(t.Context(), id, db.Claim{From: []string{"ready"}}); err != nil {
		t.Fatal(err)
	}
	if err := w.store.MarkReady(t.Context(), id, 2, db.Readiness{HarnessSessionID: "other"}); err != nil {
		t.Fatal(err)
	}
	w.addTurn(t, id, said("three"), db.TurnEnd{Status: db.TurnComplete, Reply: json.RawMessage(`{"parts":[]}`)})
	w.addTurn(t, id, said("four"), db.TurnEnd{})
	w.engine.set(func() { w.engine.fail = nil })
	want = append(want, "recovered | Sandbox recovered", "user | User message | three", "assistant | Agent | complete", "user | User message | four", "assistant | Agent | pending")
	if diff := cmp.Diff(want, w.logLines(t, id, "")); diff != "" {
		t.Error(diff)
	}
	if err := w.store.MarkDead(t.Context(), id, 2, "idle timeout", false); err != nil {
		t.Fatal(err)
	}
	lines := w.logLines(t, id, "")
	if got := lines[len(lines)-1]; got != "ended | Sandbox ended | idle timeout" {
		t.Errorf("the last line is %s", got)
	}
	failed := w.do(t, "POST", agents+"/"+w.newAgent(t)+"/session", nil).want(t, 201).get("id").String()
	if err := w.store.MarkFailed(t.Context(), failed, 1, "no image"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"created | Session created", "ended | Session failed | no image"}, w.logLines(t, failed, "")); diff != "" {
		t.Error(diff)
	}
}
