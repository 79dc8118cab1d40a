package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/db"
	"lap/server/api"
)

func TestCreateSession(t *testing.T) {
	w := newWorld(t)
	agent, skill := w.newAgent(t), w.newSkill(t, "s", "c")
	path := agents + "/" + agent + "/session"
	for _, body := range []string{"", "{}", " \n", `{"unknown": null}`} {
		r := w.do(t, "POST", path, body).want(t, 201)
		if diff := cmp.Diff(map[string]string{
			"agent_id": quoted(agent), "title": `null`, "status": `"creating"`, "phase": `null`, "phase_detail": `null`, "timings": `null`, "sandbox_url": `null`,
			"harness_session_id": `null`, "tty_url": `null`, "tty_token": `null`, "supports_tui": `false`, "task_arn": `null`, "runtime": `null`, "response": `null`,
			"last_seen_at": `null`, "idle_timeout_ms": `86400000`, "failure_reason": `null`, "origin": `null`, "title_preview": `null`,
			"sandboxes": `null`, "env_var_hosts": `{}`, "budget": `null`, "usage": noUsage, "env_plain": `[]`, "id": r.get("id").Raw, "created_at": r.get("created_at").Raw,
		}, members(t, r)); diff != "" {
			t.Error(diff)
		}
		if !timestamp.MatchString(r.get("created_at").String()) {
			t.Errorf("created_at = %s", r.get("created_at"))
		}
	}
	r := w.do(t, "POST", path, `{"title": "T <1>", "initial_prompt": "go\n", "env_vars": {"A": "a", "B": ""}, "env_plain": ["B"],
		"skill_ids": [`+quoted(skill)+`,`+quoted(skill)+`], "initial_attachments": [{"mime_type": "image/png", "base64": "aGk=", "name": "x.png"}]}`).want(t, 201)
	if r.get("title").String() != "T <1>" || r.get("env_plain").Raw != `["B"]` || strings.Contains(r.body, `"a"`) {
		t.Errorf("session = %s", r.body)
	}
	asked := w.engine.last()
	want := []json.RawMessage{
		json.RawMessage(`{"type":"text","text":"go\n"}`),
		json.RawMessage(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}`),
	}
	if diff := cmp.Diff(want, asked.InitialParts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"A": "a", "B": ""}, asked.Env); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{skill}, asked.SkillIDs); diff != "" {
		t.Error(diff)
	}
}

func TestInitialPromptIsOptional(t *testing.T) {
	w := newWorld(t)
	path := agents + "/" + w.newAgent(t) + "/session"
	for body, want := range map[string]int{
		`{"initial_prompt": ""}`: 0, `{"initial_attachments": []}`: 0, `{"initial_prompt": "x"}`: 1,
		`{"initial_attachments": [{"mime_type": "image/gif", "base64": "aGk"}]}`: 1,
	} {
		w.do(t, "POST", path, body).want(t, 201)
		if got := len(w.engine.last().InitialParts); got != want {
			t.Errorf("%s: %d parts, want %d", body, got, want)
		}
	}
}

func TestSessionFaults(t *testing.T) {
	w := newWorld(t)
	path := agents + "/" + w.newAgent(t) + "/session"
	skill := w.newSkill(t, "s", "c")
	tests := []struct{ name, body, phrase string }{
		{"title is null", `{"title": null}`, "title: must be a string"},
		{"initial_prompt is a list", `{"initial_prompt": []}`, "initial_prompt: "},
		{"initial_prompt is null", `{"initial_prompt": null}`, "initial_prompt: "},
		{"skill_ids is null", `{"skill_ids": null}`, "skill_ids: "},
		{"a skill id is no UUID", `{"skill_ids": ["` + skill + `", "x"]}`, "skill_ids.1: "},
		{"a skill id in braces", `{"skill_ids": ["{` + skill + `}"]}`, "skill_ids.0: "},
		{"a skill id is empty", `{"skill_ids": [""]}`, "skill_ids.0: "},
		{"a skill id is a number", `{"skill_ids": [1]}`, "skill_ids.0: "},
		{"eleven skills", `{"skill_ids": [` + strings.Repeat(`"`+skill+`",`, 10) + `"` + skill + `"]}`, "skill_ids: at most 10"},
	}
	for _, tt := range append(tests, attachmentFaults("initial_attachments")...) {
		t.Run(tt.name, func(t *testing.T) {
			w.do(t, "POST", path, tt.body).wantError(t, http.StatusBadRequest, tt.phrase)
		})
	}
	w.do(t, "POST", path, `{"skill_ids": ["`+skill+`", "`+noID+`"]}`).wantError(t, 404, "one or more skill_ids not found")
	if total := w.do(t, "GET", sessions, nil).get("total").Int(); total != 0 {
		t.Errorf("%d sessions were stored all the same", total)
	}
}

func TestReadSession(t *testing.T) {
	w := newWorld(t)
	id := w.do(t, "POST", agents+"/"+w.newAgent(t)+"/session", nil).want(t, 201).get("id").String()
	read := func() response {
		t.Helper()
		return w.do(t, "GET", sessions+"/"+id, nil).want(t, 200)
	}
	if err := w.store.SetPhase(t.Context(), id, 1, "pod_pending", "pulling", time.Now()); err != nil {
		t.Fatal(err)
	}
	if r := read(); r.get("phase").String() != "pod_pending" || r.get("phase_detail").String() != "pulling" {
		t.Errorf("creating: %s", r.body)
	}
	w.giveContainer(t, id, "c1")
	if err := w.store.MarkReady(t.Context(), id, 1, db.Readiness{HarnessSessionID: "h1", Timings: json.RawMessage(`{"pod_running":12}`)}); err != nil {
		t.Fatal(err)
	}
	r := read()
	for path, want := range map[string]string{
		"status": "ready", "phase": "ready", "timings": `{"pod_running":12}`, "task_arn": "c1", "runtime": "docker", "harness_session_id": "h1", "tty_url": "",
		"sandbox_url": "http://lap.test/api/v1/managed_agents/sessions/" + id + "/opencode",
	} {
		if got := r.get(path).String(); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	if !timestamp.MatchString(r.get("last_seen_at").String()) {
		t.Errorf("last_seen_at = %s", r.get("last_seen_at"))
	}
	w.addTurn(t, id, db.NewTurn{Preview: "first"}, db.TurnEnd{Status: db.TurnComplete, Reply: json.RawMessage(`{"parts":[{"type":"text","text":"<hi>"}]}`)})
	if r := read(); r.get("response").Raw != `{"parts":[{"type":"text","text":"<hi>"}]}` || r.get("title_preview").String() != "first" {
		t.Errorf("after a turn: %s", r.body)
	}
}

func TestTerminalSession(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t, `"harness_id": "codex"`))
	r := w.do(t, "GET", sessions+"/"+id, nil)
	if got, want := r.get("tty_url").String(), sessions+"/"+id+"/tty"; got != want || r.get("supports_tui").Raw != "true" || r.get("sandbox_url").Raw != "null" {
		t.Errorf("ready: %s", r.body)
	}
	w.do(t, "DELETE", sessions+"/"+id, nil).want(t, 204)
	if r := w.do(t, "GET", sessions+"/"+id, nil); r.get("tty_url").Raw != "null" {
		t.Errorf("dead: %s", r.body)
	}
}

func TestIdleTimeout(t *testing.T) {
	for _, tt := range []struct {
		name, harness string
		timeout       time.Duration
		want          string
	}{
		{"set", `"harness_id": "lap"`, 90 * time.Second, "90000"},
		{"never", `"harness_id": "lap"`, 0, "null"},
		{"inline harness", `"harness_id": "opencode-brain-inline"`, time.Hour, "null"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(cfg *api.Config) { cfg.IdleTimeout = tt.timeout })
			r := w.do(t, "POST", agents+"/"+w.newAgent(t, tt.harness)+"/session", nil).want(t, 201)
			if got := r.get("idle_timeout_ms").Raw; got != tt.want {
				t.Errorf("idle_timeout_ms = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	w := newWorld(t)
	made, err := w.store.CreateSession(t.Context(), db.NewSession{AgentID: w.newAgent(t), Warnings: []string{"no MCP"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := w.do(t, "GET", sessions+"/"+made.Session.ID, nil); r.get("warnings").Raw != `["no MCP"]` {
		t.Error(r.body)
	}
}

func TestStopAndDeleteSession(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	creating := w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	for name, id := range map[string]string{"ready": w.newSession(t, agent), "creating": creating} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				r := w.do(t, "POST", sessions+"/"+id+"/stop", "not read").want(t, 200)
				if got := strings.TrimSpace(r.body); got != `{"id":"`+id+`","status":"dead"}` {
					t.Errorf("stop answered %s", got)
				}
				if r := w.do(t, "DELETE", sessions+"/"+id, nil).want(t, 204); r.body != "" {
					t.Errorf("delete answered %s", r.body)
				}
			}
			r := w.do(t, "GET", sessions+"/"+id, nil).want(t, 200)
			if r.get("status").String() != "dead" || r.get("failure_reason").Raw != "null" {
				t.Errorf("session = %s", r.body)
			}
		})
	}
}

func TestListSessions(t *testing.T) {
	w := newWorld(t)
	one, two := w.newAgent(t), w.newAgent(t)
	ready, dead, other := w.newSession(t, one), w.newSession(t, one), w.newSession(t, two)
	w.do(t, "DELETE", sessions+"/"+dead, nil).want(t, 204)
	creating := w.do(t, "POST", agents+"/"+two+"/session", nil).want(t, 201).get("id").String()
	tests := []struct {
		name, query string
		want        []string
	}{
		{"all, newest first", "", []string{creating, other, dead, ready}},
		{"of one agent", "?agent_id=" + one, []string{dead, ready}},
		{"of nobody", "?agent_id=x", []string{}},
		{"one status", "?status=ready", []string{other, ready}},
		{"status list", "?status=dead,creating", []string{creating, dead}},
		{"status repeated", "?status=dead&status=ready,%20creating", []string{creating, other, dead, ready}},
		{"no status", "?status=", []string{creating, other, dead, ready}},
		{"unknown status", "?status=Ready", []string{}},
		{"both", "?agent_id=" + one + "&status=ready", []string{ready}},
		{"page", "?limit=2&offset=1", []string{other, dead}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do(t, "GET", sessions+tt.query, nil).want(t, 200)
			got := []string{}
			for _, id := range r.get("data.#.id").Array() {
				got = append(got, id.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestListShowsShortResponses(t *testing.T) {
	const limit = 64 << 10
	text := func(n int) string { return fmt.Sprintf(`{"type":"text","text":"%s"}`, strings.Repeat("ä", n)) }
	tests := []struct {
		name, response string
		parts          int64
		longest        int
	}{
		{"short", `{"info":{"id":"m"},"parts":[` + text(10) + `]}`, 1, 10},
		{"long text", `{"info":{"id":"m"},"parts":[` + text(10) + `,` + text(limit) + `,` + text(1) + `]}`, 2, limit / 2},
		{"long tool output", `{"info":{"id":"m"},"parts":[` + text(10) + `,{"type":"tool","state":"` + strings.Repeat("x", limit) + `"}]}`, 1, 10},
		{"many parts", `{"info":{"id":"m"},"parts":[` + strings.Repeat(text(1000)+",", 99) + text(1) + `]}`, 33, 1000},
	}
	w := newWorld(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := w.newSession(t, w.newAgent(t))
			w.addTurn(t, id, db.NewTurn{}, db.TurnEnd{Status: db.TurnComplete, Reply: json.RawMessage(tt.response)})
			if got := w.do(t, "GET", sessions+"/"+id, nil).get("response").Raw; got != tt.response {
				t.Errorf("one session shows %d bytes of %d", len(got), len(tt.response))
			}
			r := w.do(t, "GET", sessions+"?limit=1", nil).get("data.0.response")
			if len(r.Raw) > limit+200 || r.Get("info.id").String() != "m" || r.Get("parts.#").Int() != tt.parts {
				t.Errorf("list shows %d bytes, %s parts: %.200s", len(r.Raw), r.Get("parts.#"), r.Raw)
			}
			longest := 0
			for _, text := range r.Get("parts.#.text").Array() {
				longest = max(longest, len([]rune(text.String())))
			}
			if longest > tt.longest || longest < tt.longest-100 {
				t.Errorf("longest text has %d characters, want about %d", longest, tt.longest)
			}
		})
	}
}
