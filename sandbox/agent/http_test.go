package agent_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"lap/sandbox/agent"
)

func TestRoutesThatFail(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	own := "/session/" + f.session
	tests := []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"unknown session", "GET", "/session/ses_x", "", 404, `{"name":"NotFoundError","data":{"message":"Session not found: ses_x"}}`},
		{"message to unknown session", "POST", "/session/ses_x/message", ask("hi"), 404, "Session not found"},
		{"thread of unknown session", "GET", "/session/ses_x/message", "", 404, "Session not found"},
		{"unknown message", "GET", own + "/message/msg_x", "", 404, "Message not found: msg_x"},
		{"unknown route", "GET", "/nope", "", 404, "no route GET /nope"},
		{"wrong method", "PUT", own, "", 404, "no route PUT"},
		{"broken json", "POST", own + "/message", "{", 400, `"name":"BadRequest"`},
		{"json of another kind", "POST", own + "/message", "[]", 400, "BadRequest"},
		{"no body", "POST", own + "/message", "", 400, "model: modelID is missing"},
		{"no model", "POST", own + "/message", `{"parts":[{"type":"text","text":"x"}]}`, 400, "modelID is missing"},
		{"no parts", "POST", own + "/message", `{"model":{"modelID":"m"}}`, 400, "at least one part"},
		{"parts of another kind", "POST", own + "/message", `{"model":{"modelID":"m"},"parts":{}}`, 400, "parts"},
		{"unknown part", "POST", own + "/prompt_async", `{"model":{"modelID":"m"},"parts":[{"type":"agent"}]}`, 400, `parts[0]: unknown part type \"agent\"`},
		{"null part", "POST", own + "/message", `{"model":{"modelID":"m"},"parts":[null]}`, 400, `unknown part type`},
		{"part without text", "POST", own + "/message", `{"model":{"modelID":"m"},"parts":[{"type":"text"}]}`, 400, "text is missing"},
		{"image by url", "POST", own + "/message", `{"model":{"modelID":"m"},"parts":[{"type":"image","source":{"type":"url"}}]}`, 400, "base64"},
		{"file that is no image", "POST", own + "/message", `{"model":{"modelID":"m"},"parts":[{"type":"file","mime":"text/plain","url":"data:,x"}]}`, 400, "want an image"},
		{"odd message id", "POST", own + "/message", `{"messageID":"x","model":{"modelID":"m"},"parts":[{"type":"text","text":"x"}]}`, 400, "messageID"},
		{"odd limit", "GET", own + "/message?limit=x", "", 400, "limit"},
		{"odd title", "POST", "/session", `{"title":1}`, 400, "title"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := *f
			f.t = t
			var answer json.RawMessage
			f.do(tt.method, tt.path, tt.body, tt.status, &answer)
			if !strings.Contains(string(answer), tt.want) {
				t.Errorf("answer = %s, want %s", answer, tt.want)
			}
		})
	}
	if n := len(f.requests()) + len(f.thread()); n != 0 {
		t.Errorf("%d things happened", n)
	}
}

func TestSessionRoutes(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	second := f.open(`{"prompt":"p","files":[],"agent_id":"a","unknown":{"x":1}}`)
	var health struct{ Healthy bool }
	f.do(http.MethodGet, "/global/health", "", http.StatusOK, &health)
	var list []agent.Session
	f.do(http.MethodGet, "/session", "", http.StatusOK, &list)
	if !health.Healthy || len(list) != 2 || list[0].ID != second || list[0].Title == "" || list[1].Title != "t" {
		t.Errorf("sessions = %+v", list)
	}
	var one agent.Session
	f.send("hi")
	f.do(http.MethodGet, "/session/"+f.session, "", http.StatusOK, &one)
	if one.Directory != f.dir || one.Tokens.Input != 20 || one.Time.Updated < one.Time.Created {
		t.Errorf("session = %+v", one)
	}
	var busy json.RawMessage
	f.do(http.MethodGet, "/session/status", "", http.StatusOK, &busy)
	if string(busy) != "{}" {
		t.Errorf("status = %s", busy)
	}
	var done bool
	f.do(http.MethodPost, "/session/ses_unknown/abort", "", http.StatusOK, &done)
	f.do(http.MethodDelete, "/session/"+second, "", http.StatusOK, &done)
	f.do(http.MethodGet, "/session/"+second, "", http.StatusNotFound, nil)
}

func TestThreadIsPagedFromItsEnd(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.send("one")
	f.send("two")
	all := f.thread()
	if len(all) != 4 || !slices.IsSortedFunc(all, func(a, b message) int { return strings.Compare(a.Info.ID, b.Info.ID) }) {
		t.Fatalf("thread = %+v", all)
	}
	for query, want := range map[string]int{"0": 0, "1": 1, "3": 3, "99": 4} {
		var some []message
		f.do(http.MethodGet, "/session/"+f.session+"/message?limit="+query, "", http.StatusOK, &some)
		if len(some) != want || (want > 0 && some[want-1].Info.ID != all[3].Info.ID) {
			t.Errorf("limit %s gives %d messages", query, len(some))
		}
	}
	var one message
	f.do(http.MethodGet, "/session/"+f.session+"/message/"+all[1].Info.ID, "", http.StatusOK, &one)
	if one.text() != "done" {
		t.Errorf("message = %+v", one)
	}
}

func TestImagesReachTheModel(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.do(http.MethodPost, "/session/"+f.session+"/message", `{"model":{"modelID":"m"},"parts":[
		{"type":"text","text":"what is it?"},{"type":"text","text":""},
		{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},
		{"type":"file","mime":"image/gif","filename":"a.gif","url":"data:image/gif;base64,BBBB"}]}`, http.StatusOK, nil)
	want := `[{"type":"text","text":"what is it?"},` +
		`{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},` +
		`{"type":"image_url","image_url":{"url":"data:image/gif;base64,BBBB"}}]`
	if got := string(f.requests()[0].Messages[1].Content); got != want {
		t.Errorf("content = %s, want %s", got, want)
	}
	parts := f.thread()[0].Parts
	if *parts[2].Source != (agent.Source{Type: "omitted", MediaType: "image/png", Bytes: 3}) {
		t.Errorf("image = %+v", *parts[2].Source)
	}
	if *parts[3].Source != (agent.Source{Type: "omitted", MediaType: "image/gif", Bytes: 3}) || parts[3].URL != "" {
		t.Errorf("file = %+v", parts[3])
	}
	for _, p := range parts {
		if !strings.HasPrefix(p.ID, "prt_") || p.SessionID != f.session || p.MessageID != f.thread()[0].Info.ID {
			t.Errorf("ids of %+v", p)
		}
	}
}

func TestSystemPrompt(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.write("AGENTS.md", "Tabs, not spaces.\n")
	f.write("CLAUDE.md", "not this one")
	write(t, f.home+"/.claude/skills/deploy/SKILL.md", "---\nname: deploy\ndescription: \"How to \\\"deploy\\\"\"\n---\nBODY\n")
	write(t, f.home+"/.claude/skills/folded/SKILL.md", "---\nname: folded\ndescription: >\n  over two\n  lines\nother: x\n---\n")
	write(t, f.home+"/.claude/skills/bare/SKILL.md", "no front matter")
	f.session = f.open(`{"prompt":"You are Kim."}`)
	f.do(http.MethodPost, "/session/"+f.session+"/message",
		`{"system":"This turn: be brief.","model":{"modelID":"m"},"parts":[{"type":"text","text":"x"}]}`, http.StatusOK, nil)
	f.send("y")
	m := f.requests()[0].Messages[0]
	for _, want := range []string{
		"Working directory: " + f.dir, "Git repository: no", "from AGENTS.md:\n\nTabs, not spaces.", "You are Kim.", "This turn: be brief.",
		`- deploy: How to "deploy" (` + f.home + "/.claude/skills/deploy/SKILL.md)",
		"- folded: over two lines (", "- bare:  (",
	} {
		if m.Role != "system" || !strings.Contains(m.text(), want) {
			t.Errorf("%q is not in the system message:\n%s", want, m.text())
		}
	}
	if strings.Contains(m.text(), "BODY") || strings.Contains(m.text(), "not this one") {
		t.Error("the system message holds too much")
	}
	if text := f.requests()[1].Messages[0].text(); strings.Contains(text, "be brief") {
		t.Error("a turn's system text is in the next turn too")
	}
}

// The agent answers any body with JSON and lives on.
func FuzzMessageBody(f *testing.F) {
	for _, seed := range []string{
		ask("hi"), `{"model":{"modelID":"m"},"parts":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"x"}}]}`,
		`{"parts":[null]}`, `[]`, "\xff", `{"messageID":"msg_1","model":{"modelID":"m"},"parts":[{"type":"text","text":"\u0000\ud800"}]}`,
		`{"model":{"modelID":"m"},"parts":[{"type":"text","text":"a","id":{"x":1},"TYPE":"b"}]}`,
	} {
		f.Add([]byte(seed))
	}
	a := agent.New(agent.Config{GatewayURL: "http://127.0.0.1:1", Dir: f.TempDir(), Home: f.TempDir(), Scratch: f.TempDir()})
	f.Cleanup(a.Close)
	call := func(t *testing.T, method, path, body string) *httptest.ResponseRecorder {
		t.Helper()
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var s agent.Session
		if err := json.Unmarshal(call(t, http.MethodPost, "/session", "").Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		var quiet map[string]json.RawMessage
		if json.Unmarshal(body, &quiet) == nil && quiet != nil {
			for name := range quiet {
				if strings.EqualFold(name, "noReply") {
					delete(quiet, name)
				}
			}
			quiet["noReply"] = json.RawMessage("true")
			body, _ = json.Marshal(quiet) // what was decoded encodes
		}
		w := call(t, http.MethodPost, "/session/"+s.ID+"/message", string(body))
		if (w.Code != http.StatusOK && w.Code != http.StatusBadRequest) || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
		thread := call(t, http.MethodGet, "/session/"+s.ID+"/message", "")
		if thread.Code != http.StatusOK || !json.Valid(thread.Body.Bytes()) {
			t.Fatalf("thread: %d: %s", thread.Code, thread.Body)
		}
		call(t, http.MethodDelete, "/session/"+s.ID, "")
	})
}
