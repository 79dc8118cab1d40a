package db_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tidwall/gjson"

	"lap/db"
)

// later is a deadline that no test reaches.
var later = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)

func createSession(tb testing.TB, s *db.Store, in db.NewSession) db.Created {
	tb.Helper()
	in.Deadline = later
	created, err := s.CreateSession(tb.Context(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return created
}

func newSession(tb testing.TB, s *db.Store, agentID string) db.Session {
	tb.Helper()
	return createSession(tb, s, db.NewSession{AgentID: agentID}).Session
}

func markReady(tb testing.TB, s *db.Store, session db.Session) {
	tb.Helper()
	if err := s.MarkReady(tb.Context(), session.ID, session.Generation, db.Readiness{HarnessSessionID: "harness", GuestID: "guest"}); err != nil {
		tb.Fatal(err)
	}
}

// newReadySession stores a session and makes it ready.
func newReadySession(tb testing.TB, s *db.Store, agentID string) db.Session {
	tb.Helper()
	session := newSession(tb, s, agentID)
	markReady(tb, s, session)
	return readSession(tb, s, session.ID)
}

func readSession(tb testing.TB, s *db.Store, id string) db.Session {
	tb.Helper()
	session, err := s.Session(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	return session
}

// addTurn queues a turn of a session.
func addTurn(tb testing.TB, s *db.Store, sessionID string) db.Turn {
	tb.Helper()
	turn, again, err := s.AddTurn(tb.Context(), sessionID, db.NewTurn{Parts: json.RawMessage(`[]`), Deadline: later})
	if err != nil || again {
		tb.Fatal(again, err)
	}
	return turn
}

// runTurn makes the next turn of a ready session the running one.
func runTurn(tb testing.TB, s *db.Store, session db.Session) db.Turn {
	tb.Helper()
	turn := addTurn(tb, s, session.ID)
	if _, err := s.SendTurn(tb.Context(), session.ID, session.Generation, turn.Seq); err != nil {
		tb.Fatal(err)
	}
	return turn
}

// reply completes a further turn of a ready session with the given response.
func reply(tb testing.TB, s *db.Store, session db.Session, response string) {
	tb.Helper()
	turn := runTurn(tb, s, session)
	_, err := s.Append(tb.Context(), db.Batch{
		SessionID: session.ID, Generation: session.Generation,
		Ends: []db.TurnEnd{{Seq: turn.Seq, Status: db.TurnComplete, Reply: json.RawMessage(response)}},
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func TestSessionRoundTrip(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{Model: "a/b", HarnessID: "codex"})
	first := db.NewTurn{Parts: json.RawMessage(`[1]`), Request: json.RawMessage(`{"agent":"plan"}`), Lossy: true, Preview: "hi", Deadline: later}
	created := createSession(t, s, db.NewSession{
		AgentID: agent.ID, Title: new("t"), SkillIDs: []string{"k"}, EnvNames: []string{"A", "B"}, EnvPlain: []string{"A"},
		Warnings: []string{"w"}, First: &first,
	})
	got := created.Session
	want := db.Session{
		ID: got.ID, AgentID: agent.ID, HarnessID: "codex", Model: "a/b", Title: new("t"), TitlePreview: new("hi"), Status: db.StatusCreating, Generation: 1,
		SkillIDs: []string{"k"}, EnvNames: []string{"A", "B"}, EnvPlain: []string{"A"}, Warnings: []string{"w"},
		CreatedAt: got.CreatedAt, CreatingSince: got.CreatedAt, DeadlineAt: &later,
	}
	if diff := cmp.Diff(db.Created{Session: want}, created); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, readSession(t, s, got.ID)); diff != "" {
		t.Error(diff)
	}
	turns, err := s.Turns(t.Context(), got.ID)
	wantTurns := []db.Turn{{
		SessionID: got.ID, Status: db.TurnQueued, Parts: first.Parts, Request: first.Request, Lossy: true, DeadlineAt: later,
	}}
	if diff := cmp.Diff(wantTurns, turns, cmpopts.IgnoreFields(db.Turn{}, "CreatedAt")); err != nil || diff != "" {
		t.Error(diff, err)
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
	reply(t, s, ready, `{"parts":[]}`)
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
		{"long", `{"info":{"id":"m"},"parts":[` + text(10) + `,` + text(1<<20) + `,` + text(1) + `]}`, 2, limit - 100},
		{"long, not of parts", `{"other":"` + strings.Repeat("x", limit) + `"}`, 0, 0},
		{"long info", `{"info":"` + strings.Repeat("x", limit) + `","parts":[` + text(1) + `]}`, 0, 0},
	}
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			session := newReadySession(t, s, agent.ID)
			reply(t, s, session, tt.response)
			if got := readSession(t, s, session.ID).Response; string(got) != tt.response {
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
			reply(t, s, session, `{"parts":["next"]}`)
			if rows, _, err = s.Sessions(t.Context(), db.SessionQuery{Limit: 1}); err != nil || string(rows[0].Response) != `{"parts":["next"]}` {
				t.Errorf("after a short reply: %.200s, %v", rows[0].Response, err)
			}
		})
	}
}

func TestOutputsAreKept(t *testing.T) {
	s := openStore(t, config(t))
	id := newSession(t, s, newAgent(t, s, db.Agent{}).ID).ID
	check := func(want string) {
		t.Helper()
		if got, err := s.Output(t.Context(), id); err != nil || got != want {
			t.Errorf("output = %q, %v, want %q", got, err, want)
		}
	}
	check("")
	for _, text := range []string{"one", "two\n"} {
		if err := s.SaveOutput(t.Context(), id, text); err != nil {
			t.Fatal(err)
		}
		check(text)
	}
	if err := s.SaveOutput(t.Context(), "nobody", "x"); err != nil {
		t.Errorf("for a session that is gone: %v", err)
	}
}
