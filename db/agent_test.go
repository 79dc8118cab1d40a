package db_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lap/db"
)

var sameAgent = cmp.Options{cmpopts.IgnoreUnexported(db.Agent{}), cmpopts.EquateEmpty()}

// newAgent stores a, with what must not be empty filled in.
func newAgent(tb testing.TB, s *db.Store, a db.Agent) db.Agent {
	tb.Helper()
	if a.Model == "" {
		a.Model = "gpt"
	}
	if a.HarnessID == "" {
		a.HarnessID = "lap"
	}
	a.Branch = "main"
	a, err := s.CreateAgent(tb.Context(), a)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func readAgent(t *testing.T, s *db.Store, id string) db.Agent {
	t.Helper()
	a, err := s.Agent(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func fullAgent() db.Agent {
	return db.Agent{
		Name: new("näme\x00"), Model: "a/b", Prompt: new(""), HarnessID: "codex", HarnessImage: new("img"),
		RepoURL: new("https://x"), PfpURL: new("data:"), Tools: json.RawMessage(`[1,{"a":null}]`),
		MCPServers: []string{"m"}, AllowOut: []string{"a.com"}, DenyOut: []string{"b.com"},
		Env: map[string]string{"A": "", "B": "b\n<&>"}, EnvPlain: []string{"A"},
		EnvVarHosts: map[string][]string{"B": {"a.com"}}, Requirements: new("requests"),
		Projects: json.RawMessage(`[{"id":"p"}]`), PreloadMemoryLimit: 50, CreatedBy: "ui",
		Budget: fullBudget(), DefaultDeny: new(false),
	}
}

func TestAgentRoundTrip(t *testing.T) {
	s := openStore(t, config(t))
	for name, in := range map[string]db.Agent{"full": fullAgent(), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			want := newAgent(t, s, in)
			if len(want.Tools) == 0 {
				want.Tools, want.Projects = json.RawMessage(`[]`), json.RawMessage(`[]`)
			}
			if diff := cmp.Diff(want, readAgent(t, s, want.ID), sameAgent); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAgentMissing(t *testing.T) {
	s := openStore(t, config(t))
	_, readErr := s.Agent(t.Context(), "nobody")
	_, updateErr := s.UpdateAgent(t.Context(), "nobody", func(*db.Agent) error { return nil })
	for name, err := range map[string]error{"read": readErr, "update": updateErr, "delete": s.DeleteAgent(t.Context(), "nobody")} {
		if !errors.Is(err, db.ErrNotFound) {
			t.Errorf("%s: err = %v, want ErrNotFound", name, err)
		}
	}
}

func TestUpdateAgent(t *testing.T) {
	s := openStore(t, config(t))
	a := newAgent(t, s, fullAgent())
	got, err := s.UpdateAgent(t.Context(), a.ID, func(a *db.Agent) error {
		a.Name, a.Model, a.Requirements = nil, "c", nil
		a.SetEnv(map[string]string{"B": "b2", "C": "c"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := a
	want.Name, want.Model, want.Requirements = nil, "c", nil
	want.Env, want.EnvPlain = map[string]string{"B": "b2", "C": "c"}, nil
	if diff := cmp.Diff(want, got, sameAgent); diff != "" {
		t.Errorf("returned: %s", diff)
	}
	if diff := cmp.Diff(want, readAgent(t, s, a.ID), sameAgent); diff != "" {
		t.Errorf("stored: %s", diff)
	}
}

func TestFailedUpdateChangesNothing(t *testing.T) {
	s := openStore(t, config(t))
	a := newAgent(t, s, fullAgent())
	refused := errors.New("refused")
	_, err := s.UpdateAgent(t.Context(), a.ID, func(a *db.Agent) error {
		a.Model = "other"
		return refused
	})
	if !errors.Is(err, refused) {
		t.Errorf("err = %v, want what edit returned", err)
	}
	if diff := cmp.Diff(a, readAgent(t, s, a.ID), sameAgent); diff != "" {
		t.Error(diff)
	}
}

// sealedTexts are all sealed values in the files of a database.
func sealedTexts(t *testing.T, path string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range regexp.MustCompile(`enc:v1:[A-Za-z0-9+/=]+`).FindAllString(string(raw), -1) {
			found[text] = true
		}
	}
	return found
}

func TestUnchangedValuesKeepTheirSealedText(t *testing.T) {
	cfg := config(t)
	s := openStore(t, cfg)
	a := newAgent(t, s, fullAgent())
	before := sealedTexts(t, cfg.Path)
	_, err := s.UpdateAgent(t.Context(), a.ID, func(a *db.Agent) error {
		a.Model = "other"
		a.SetEnv(map[string]string{"A": "", "B": "b\n<&>"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, sealedTexts(t, cfg.Path)); diff != "" {
		t.Error(diff)
	}
}

func TestValuesSealedWithAnotherKey(t *testing.T) {
	cfg := config(t)
	agent := fullAgent()
	agent.Env = map[string]string{"OLD": "secret", "KEPT": "secret"}
	func() {
		s, err := db.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		agent = newAgent(t, s, agent)
	}()
	other := cfg
	other.Sealer = sealer(t, 2)
	s := openStore(t, other)
	broken := readAgent(t, s, agent.ID)
	if len(broken.Env) != 0 || broken.Requirements != nil {
		t.Errorf("opened with another key: %v, %v", broken.Env, broken.Requirements)
	}
	if diff := cmp.Diff([]string{db.RequirementsName, "KEPT", "OLD"}, broken.EnvBroken); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"KEPT", "OLD"}, broken.EnvNames()); diff != "" {
		t.Error(diff)
	}
	t.Run("other changes keep them", func(t *testing.T) {
		update(t, s, agent.ID, func(a *db.Agent) { a.Model = "other" })
		original := openStore(t, cfg)
		got := readAgent(t, original, agent.ID)
		if diff := cmp.Diff(agent.Env, got.Env); diff != "" || got.Requirements == nil {
			t.Errorf("lost: %s, %v", diff, got.Requirements)
		}
	})
	t.Run("new env vars replace them", func(t *testing.T) {
		update(t, s, agent.ID, func(a *db.Agent) { a.SetEnv(map[string]string{"NEW": "x"}) })
		got := readAgent(t, s, agent.ID)
		if diff := cmp.Diff([]string{db.RequirementsName}, got.EnvBroken); diff != "" || got.Env["NEW"] != "x" {
			t.Errorf("%s, %v", diff, got.Env)
		}
	})
	t.Run("new requirements replace them", func(t *testing.T) {
		update(t, s, agent.ID, func(a *db.Agent) { a.SetRequirements(new("flask")) })
		if got := readAgent(t, s, agent.ID); len(got.EnvBroken) != 0 || *got.Requirements != "flask" {
			t.Errorf("%v, %v", got.EnvBroken, got.Requirements)
		}
	})
}

func update(t *testing.T, s *db.Store, id string, edit func(*db.Agent)) {
	t.Helper()
	_, err := s.UpdateAgent(t.Context(), id, func(a *db.Agent) error { edit(a); return nil })
	if err != nil {
		t.Fatal(err)
	}
}

func TestAgentsOrder(t *testing.T) {
	s := openStore(t, config(t))
	var ids []string
	for _, a := range []db.Agent{
		{Name: new("b"), HarnessID: "codex"}, {HarnessID: "lap"}, {Name: new("a"), HarnessID: "lap"}, {Name: new("b"), HarnessID: "gemini"}, {HarnessID: "lap"},
	} {
		ids = append(ids, newAgent(t, s, a).ID)
	}
	for _, n := range []int{2, 2, 3} {
		newSession(t, s, ids[n])
	}
	tests := []struct {
		name string
		q    db.AgentQuery
		want []int
	}{
		{"created", db.AgentQuery{Sort: db.SortCreated}, []int{0, 1, 2, 3, 4}},
		{"created desc", db.AgentQuery{Sort: db.SortCreated, Desc: true}, []int{4, 3, 2, 1, 0}},
		{"name, none last", db.AgentQuery{Sort: db.SortName}, []int{2, 0, 3, 1, 4}},
		{"name desc, none first", db.AgentQuery{Sort: db.SortName, Desc: true}, []int{1, 4, 0, 3, 2}},
		{"harness", db.AgentQuery{Sort: db.SortHarness}, []int{0, 3, 1, 2, 4}},
		{"harness desc", db.AgentQuery{Sort: db.SortHarness, Desc: true}, []int{1, 2, 4, 3, 0}},
		{"sessions", db.AgentQuery{Sort: db.SortSessions}, []int{0, 1, 4, 3, 2}},
		{"sessions desc", db.AgentQuery{Sort: db.SortSessions, Desc: true}, []int{2, 3, 0, 1, 4}},
		{"unknown", db.AgentQuery{Sort: "id; DROP TABLE agents"}, []int{0, 1, 2, 3, 4}},
		{"a page", db.AgentQuery{Sort: db.SortName, Offset: 2}, []int{3, 1, 4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.q.Limit = 10
			rows, total, err := s.Agents(t.Context(), tt.q)
			if err != nil || total != 5 {
				t.Fatalf("total = %d, %v, want 5", total, err)
			}
			var want, got []string
			for _, n := range tt.want {
				want = append(want, ids[n])
			}
			for _, row := range rows {
				got = append(got, row.ID)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAgentsSearch(t *testing.T) {
	s := openStore(t, config(t))
	newAgent(t, s, db.Agent{Name: new("Müller 100%"), HarnessID: "codex"})
	newAgent(t, s, db.Agent{Name: new(`under_score \ back`), HarnessID: "lap"})
	newAgent(t, s, db.Agent{HarnessID: "gemini"})
	newAgent(t, s, db.Agent{Name: new("before\x00After")})
	tests := []struct {
		search string
		want   int
	}{
		{"", 4}, {"müller", 1}, {"AFTER", 1}, {"e\x00a", 1}, {"\x00", 1}, {"e\x00x", 0}, {"MÜLLER", 1}, {"%", 1}, {"_", 1}, {`\`, 1}, {"0000-4000", 4}, {"CODEX", 1}, {"nothing", 0}, {"'; --", 0},
	}
	for _, tt := range tests {
		rows, total, err := s.Agents(t.Context(), db.AgentQuery{Search: tt.search, Limit: 10})
		if err != nil || total != tt.want || len(rows) != tt.want {
			t.Errorf("search %q: %d rows of %d, %v, want %d", tt.search, len(rows), total, err, tt.want)
		}
	}
}

func TestAgentsCountSessions(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	check := func(count int, active bool) {
		t.Helper()
		rows, _, err := s.Agents(t.Context(), db.AgentQuery{Limit: 1})
		if err != nil || rows[0].SessionCount != count || rows[0].HasActiveSession != active {
			t.Errorf("row = %+v, %v, want %d sessions, active %t", rows, err, count, active)
		}
	}
	check(0, false)
	first := newSession(t, s, agent.ID)
	check(1, true)
	markReady(t, s, first)
	check(1, true)
	if _, err := s.EndSession(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	check(1, false)
	newSession(t, s, agent.ID)
	check(2, true)
}

func TestDeleteAgentTakesWhatIsIts(t *testing.T) {
	s := openStore(t, config(t))
	agent, skill := newAgent(t, s, db.Agent{}), newSkill(t, s, "s", "c")
	session := newSession(t, s, agent.ID)
	memory := newMemory(t, s, agent.ID, db.Memory{})
	if _, err := s.EndSession(t.Context(), session.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAgent(t.Context(), agent.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Session(t.Context(), session.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("session: err = %v, want ErrNotFound", err)
	}
	if _, err := s.Memory(t.Context(), agent.ID, memory.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("memory: err = %v, want ErrNotFound", err)
	}
	if _, err := s.Skill(t.Context(), skill.ID); err != nil {
		t.Errorf("skill: err = %v, want it to stay", err)
	}
}

func TestAgentWithLiveSessionsStays(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	memory := newMemory(t, s, agent.ID, db.Memory{})
	ended, failed := newSession(t, s, agent.ID), newSession(t, s, agent.ID)
	creating, ready := newSession(t, s, agent.ID), newReadySession(t, s, agent.ID)
	end := func(id string) {
		t.Helper()
		if _, err := s.EndSession(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(state string) {
		t.Helper()
		if err := s.DeleteAgent(t.Context(), agent.ID); !errors.Is(err, db.ErrLive) || errors.Is(err, db.ErrNotFound) {
			t.Errorf("%s: err = %v, want ErrLive", state, err)
		}
		for _, id := range []string{ended.ID, failed.ID, creating.ID, ready.ID} {
			if _, err := s.Session(t.Context(), id); err != nil {
				t.Errorf("%s: session: %v", state, err)
			}
		}
		if _, err := s.Memory(t.Context(), agent.ID, memory.ID); err != nil {
			t.Errorf("%s: memory: %v", state, err)
		}
	}
	end(ended.ID)
	if err := s.MarkFailed(t.Context(), failed.ID, 1, "no image"); err != nil {
		t.Fatal(err)
	}
	refused("one creating, one ready")
	end(creating.ID)
	refused("one ready")
	end(ready.ID)
	if err := s.DeleteAgent(t.Context(), agent.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAgent(t.Context(), agent.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("again: err = %v, want ErrNotFound", err)
	}
}

func TestLegacyPlaintextIsSealedByTheNextWrite(t *testing.T) {
	cfg := config(t)
	s := openStore(t, cfg)
	a := newAgent(t, s, db.Agent{Env: map[string]string{"TOKEN": "value"}})
	if err := s.SetEnvColumn(t.Context(), a.ID, `{"TOKEN":"plain"}`); err != nil {
		t.Fatal(err)
	}
	if got := readAgent(t, s, a.ID); got.Env["TOKEN"] != "plain" {
		t.Fatalf("env = %v", got.Env)
	}
	update(t, s, a.ID, func(*db.Agent) {})
	column, err := s.Lines(t.Context(), `SELECT env_vars FROM agents`)
	if err != nil || !strings.HasPrefix(column[0], `{"TOKEN":"enc:v1:`) {
		t.Errorf("column = %q, %v", column, err)
	}
}
