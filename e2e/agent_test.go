package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lap/client"
)

// rest calls the API with the master key and returns status and body.
func (s *serving) rest(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	a := do(t, s.request(t, method, "/api/v1"+path, body))
	return a.status, a.body
}

// script installs a scripted model and returns its name.
func (s *serving) script(t *testing.T, name, text string) string {
	t.Helper()
	dir := filepath.Join(s.dir, "scripts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "scripted/" + name
}

func TestAgentRemembers(t *testing.T) { onEach(t, testAgentRemembers) }

func testAgentRemembers(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	model := s.script(t, "remember", `
turns:
  - tool_calls:
      - name: save_memory
        arguments: {text: "indent with tabs", tags: [style], priority: 3}
  - tool_calls:
      - name: search_memory
        arguments: {query: tabs}
  - text: "saved and found"
`)
	agent := s.agent(t, client.NewAgent{Model: model})
	sess := s.session(t, agent.ID, client.NewSession{})
	reply, err := s.Send(t.Context(), sess.ID, "remember this")
	if err != nil || reply.Text() != "saved and found" {
		t.Fatalf("reply %+v, error %v", reply, err)
	}
	status, body := s.rest(t, "GET", "/managed_agents/agents/"+agent.ID+"/memory", "")
	var page client.Page[struct {
		Text         string   `json:"text"`
		Tags         []string `json:"tags"`
		Priority     int      `json:"priority"`
		Source       string   `json:"source"`
		Session      string   `json:"source_session_id"`
		TimesApplied int      `json:"times_applied"`
	}]
	if err := json.Unmarshal([]byte(body), &page); err != nil || status != 200 || len(page.Data) != 1 {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if m := page.Data[0]; m.Text != "indent with tabs" || m.Source != "agent" || m.Session != sess.ID || m.Priority != 3 || m.TimesApplied != 1 {
		t.Errorf("memory = %+v", m)
	}
	messages, err := s.Messages(t.Context(), sess.ID)
	if err != nil {
		t.Fatal(err)
	}
	var outputs string
	for _, m := range messages.Data {
		for _, p := range m.Parts {
			outputs += p.State.Output
		}
	}
	if !strings.Contains(outputs, "indent with tabs") {
		t.Errorf("search_memory found %q", outputs)
	}
}

func TestSandboxSpeaksOnlyForItsOwnAgent(t *testing.T) {
	onEach(t, testSandboxSpeaksOnlyForItsOwnAgent)
}

func testSandboxSpeaksOnlyForItsOwnAgent(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	agent, other := s.agent(t, client.NewAgent{}), s.agent(t, client.NewAgent{})
	sess := s.session(t, agent.ID, client.NewSession{})
	s.needs(t, sess.ID, "curl")
	call := "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:4001/api/v1"
	for _, tt := range []struct{ request, want string }{
		{call + "/managed_agents/agents/" + agent.ID + "/memory", "200"},
		{call + "/managed_agents/agents/" + other.ID + "/memory", "401"},
		{call + "/managed_agents/agents", "401"},
		{call + "/managed_agents/agents/" + agent.ID, "401"},
		{call + "/managed_agents/sessions/" + sess.ID, "401"},
		{call + "/skills", "401"},
		{call + "/managed_agents/agents/" + other.ID + "/memory -H 'Authorization: Bearer " + masterKey + "'", "401"},
	} {
		if got := s.sh(t, sess.ID, tt.request); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.request, got, tt.want)
		}
	}
}

func TestSkillsReachTheSandbox(t *testing.T) { onEach(t, testSkillsReachTheSandbox) }

func testSkillsReachTheSandbox(t *testing.T, on runtime) {
	url, seen := upstream(t)
	s := on.serve(t, options{env: []string{"LITELLM_API_BASE=" + url}})
	_, body := s.rest(t, "POST", "/skills", `{"name":"PR Reviewer","description":"reviews","content":"# Look twice"}`)
	var skill struct{ ID string }
	if err := json.Unmarshal([]byte(body), &skill); err != nil {
		t.Fatal(err)
	}
	agent := s.agent(t, client.NewAgent{Model: "m", SkillIDs: []string{skill.ID}})
	sess := s.session(t, agent.ID, client.NewSession{})
	if _, err := s.Send(t.Context(), sess.ID, "hello"); err != nil {
		t.Fatal(err)
	}
	request := strings.Join(seen(), "")
	for _, want := range []string{"skill:" + skill.ID, "# Look twice", ".claude/skills/pr-reviewer/SKILL.md"} {
		if !strings.Contains(request, want) {
			t.Errorf("the model was not told %q", want)
		}
	}
	if status, body := s.rest(t, "PATCH", "/managed_agents/agents/"+agent.ID, `{"model":"scripted/echo"}`); status != 200 {
		t.Fatal(body)
	}
	next := s.session(t, agent.ID, client.NewSession{}) // a running session keeps its model
	got := s.sh(t, next.ID, "cat ~/.claude/skills/pr-reviewer/SKILL.md")
	if want := "---\nname: pr-reviewer\nskill_id: " + skill.ID + "\ndescription: \"reviews\"\n---\n\n# Look twice"; got != want {
		t.Errorf("SKILL.md is %q, want %q", got, want)
	}
}

func TestModelErrorEndsTheTurnOnly(t *testing.T) { onEach(t, testModelErrorEndsTheTurnOnly) }

func testModelErrorEndsTheTurnOnly(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	model := s.script(t, "moody", `
turns:
  - text: "and now"
    error: {status: 400, message: "not today", times: 1}
`)
	agent := s.agent(t, client.NewAgent{Model: model})
	sess := s.session(t, agent.ID, client.NewSession{})
	reply, err := s.Send(t.Context(), sess.ID, "please")
	if err != nil || !strings.Contains(string(reply.Info.Error), "not today") {
		t.Errorf("reply %+v, error %v; want info.error", reply, err)
	}
	if reply, err := s.Send(t.Context(), sess.ID, "again"); err != nil || reply.Text() != "and now" {
		t.Errorf("after a model error: %+v, %v", reply, err)
	}
}

func TestModelThatIsNotConfigured(t *testing.T) { onEach(t, testModelThatIsNotConfigured) }

func testModelThatIsNotConfigured(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	sess := s.session(t, s.agent(t, client.NewAgent{Model: "vendor/real"}).ID, client.NewSession{})
	reply, err := s.Send(t.Context(), sess.ID, "hello")
	if err != nil || !strings.Contains(string(reply.Info.Error), "LITELLM_API_BASE") {
		t.Errorf("info.error = %s, error %v; want it to name LITELLM_API_BASE", reply.Info.Error, err)
	}
}

func TestInitialPrompt(t *testing.T) { onEach(t, testInitialPrompt) }

func testInitialPrompt(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	sess := s.session(t, s.agent(t, client.NewAgent{}).ID, client.NewSession{InitialPrompt: "RUN: echo begun > /tmp/begun"})
	eventually(t, "the reply is in response", func() bool {
		now, err := s.Session(t.Context(), sess.ID)
		if err != nil {
			t.Fatal(err)
		}
		return string(now.Response) != "null"
	})
	if got := s.sh(t, sess.ID, "cat /tmp/begun"); got != "begun" {
		t.Errorf("printed %q", got)
	}
}

func TestClientThatLeavesDoesNotEndItsTurn(t *testing.T) {
	onEach(t, testClientThatLeavesDoesNotEndItsTurn)
}

func testClientThatLeavesDoesNotEndItsTurn(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	sess := s.session(t, s.agent(t, client.NewAgent{}).ID, client.NewSession{})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/v1/managed_agents/sessions/"+sess.ID+"/message",
		strings.NewReader(`{"text":"RUN: sleep 1; echo done > /tmp/done"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	if _, err := (&http.Client{Timeout: 300 * time.Millisecond}).Do(req); err == nil {
		t.Fatal("the client did not leave")
	}
	if got := s.sh(t, sess.ID, "cat /tmp/done"); got != "done" { // queued behind the turn
		t.Errorf("the turn ended with its client: %q", got)
	}
}

func TestLargeImagesDoNotEndTheSession(t *testing.T) { onEach(t, testLargeImagesDoNotEndTheSession) }

func testLargeImagesDoNotEndTheSession(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	sess := s.session(t, s.agent(t, client.NewAgent{}).ID, client.NewSession{})
	one := `{"mime_type":"image/png","base64":"` + strings.Repeat("A", 6_990_504) + `"}`
	ten := `{"text":"look","attachments":[` + strings.Repeat(one+",", 9) + one + `]}`
	path := "/managed_agents/sessions/" + sess.ID + "/message"
	for range 2 {
		if status, body := s.rest(t, http.MethodPost, path, ten); status != 200 || !strings.Contains(body, "[10 images]") {
			t.Errorf("ten images: %d %.300s", status, body)
		}
	}
	if reply, err := s.Send(t.Context(), sess.ID, "still there?"); err != nil || reply.Text() != "still there?" {
		t.Errorf("after them: %+v, %v", reply, err)
	}
	page, err := s.Messages(t.Context(), sess.ID)
	if err != nil || page.Total != 6 {
		t.Errorf("%d messages, error %v; want 6", page.Total, err)
	}
}
