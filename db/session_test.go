package db_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tidwall/gjson"

	"lap/db"
)

// newReadySession stores a session and makes it ready.
func newReadySession(t *testing.T, s *db.Store, agentID string) db.Session {
	t.Helper()
	session := newSession(t, s, agentID)
	if err := s.MarkReady(t.Context(), session.ID, session.Generation, "harness"); err != nil {
		t.Fatal(err)
	}
	return readSession(t, s, session.ID)
}

func readSession(t *testing.T, s *db.Store, id string) db.Session {
	t.Helper()
	session, err := s.Session(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

func TestSessionRoundTrip(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{Model: "a/b", HarnessID: "codex"})
	got, err := s.CreateSession(t.Context(), db.NewSession{
		AgentID: agent.ID, Title: new("t"), SkillIDs: []string{"k"}, EnvNames: []string{"A", "B"}, EnvPlain: []string{"A"}, Warnings: []string{"w"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := db.Session{
		ID: got.ID, AgentID: agent.ID, HarnessID: "codex", Model: "a/b", Title: new("t"), Status: db.StatusCreating, Generation: 1,
		SkillIDs: []string{"k"}, EnvNames: []string{"A", "B"}, EnvPlain: []string{"A"}, Warnings: []string{"w"},
		CreatedAt: got.CreatedAt, CreatingSince: got.CreatedAt,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, readSession(t, s, got.ID)); diff != "" {
		t.Error(diff)
	}
	if _, err := s.CreateSession(t.Context(), db.NewSession{AgentID: "nobody"}); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("for nobody: err = %v, want ErrNotFound", err)
	}
}

func TestSessionsKeepTheirModel(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{Model: "old"})
	before := newReadySession(t, s, agent.ID)
	update(t, s, agent.ID, func(a *db.Agent) { a.Model = "new" })
	if got := readSession(t, s, before.ID).Model; got != "old" {
		t.Errorf("model of a running session = %q, want old", got)
	}
	if got := newSession(t, s, agent.ID).Model; got != "new" {
		t.Errorf("model of the next session = %q, want new", got)
	}
}

// reply completes a first turn of a ready session with the given response.
func reply(t *testing.T, s *db.Store, sessionID, response string) {
	t.Helper()
	seq, _, err := s.BeginTurn(t.Context(), sessionID, json.RawMessage(`[]`), "")
	if err == nil {
		err = s.CompleteTurn(t.Context(), sessionID, seq, json.RawMessage(`[]`), json.RawMessage(response))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestLiveSessions(t *testing.T) {
	s := openStore(t, config(t))
	one, two := newAgent(t, s, db.Agent{}), newAgent(t, s, db.Agent{})
	creating, ready, other := newSession(t, s, one.ID), newReadySession(t, s, one.ID), newSession(t, s, two.ID)
	failed, ended := newSession(t, s, one.ID), newSession(t, s, one.ID)
	if err := s.MarkFailed(t.Context(), failed.ID, 1, "reason"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.EndSession(t.Context(), ended.ID); err != nil {
		t.Fatal(err)
	}
	reply(t, s, ready.ID, `{"parts":[]}`)
	want := []db.Session{creating, readSession(t, s, ready.ID), other}
	want[1].Response = nil // may be large
	byID := cmpopts.SortSlices(func(a, b db.Session) bool { return a.ID < b.ID })
	for name, tt := range map[string]struct {
		agent string
		want  []db.Session
	}{"of one agent": {one.ID, want[:2]}, "of all": {"", want}, "of nobody": {"nobody", nil}} {
		got, err := s.LiveSessions(t.Context(), tt.agent)
		if diff := cmp.Diff(tt.want, got, byID); err != nil || diff != "" {
			t.Errorf("%s: %s %v", name, diff, err)
		}
	}
}

func TestListsHoldShortResponses(t *testing.T) {
	const limit = 64 << 10
	text := func(n int) string { return fmt.Sprintf(`{"type":"text","text":"%s"}`, strings.Repeat("x", n)) }
	tests := []struct {
		name, response string
		parts, size    int // of the parts, and of the whole at least
	}{
		{"short", `{"parts":[` + text(limit-100) + `]}`, 1, limit - 100},
		{"long", `{"info":{"id":"m"},"parts":[` + text(10) + `,` + text(5<<20) + `,` + text(1) + `]}`, 2, limit - 100},
		{"long, not of parts", `{"other":"` + strings.Repeat("x", limit) + `"}`, 0, 0},
		{"long info", `{"info":"` + strings.Repeat("x", limit) + `","parts":[` + text(1) + `]}`, 0, 0},
	}
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := newReadySession(t, s, agent.ID).ID
			reply(t, s, id, tt.response)
			if got := readSession(t, s, id).Response; string(got) != tt.response {
				t.Errorf("one session has %d bytes of %d", len(got), len(tt.response))
			}
			rows, _, err := s.Sessions(t.Context(), db.SessionQuery{Limit: 1})
			if err != nil {
				t.Fatal(err)
			}
			got := string(rows[0].Response)
			if n := gjson.Get(got, "parts.#").Int(); n != int64(tt.parts) || len(got) > limit+200 || len(got) < tt.size || !gjson.Valid(got) {
				t.Errorf("list has %d bytes, %d parts: %.200s", len(got), n, got)
			}
			reply(t, s, id, `{"parts":["next"]}`)
			if rows, _, err = s.Sessions(t.Context(), db.SessionQuery{Limit: 1}); err != nil || string(rows[0].Response) != `{"parts":["next"]}` {
				t.Errorf("after a short reply: %.200s, %v", rows[0].Response, err)
			}
		})
	}
}
