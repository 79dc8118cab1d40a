package db_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/db"
)

func fullBudget() *db.Budget {
	return &db.Budget{Tokens: new(int64(1000)), Cost: new(0.5), WallSeconds: new(int64(60)), Turns: new(int64(3))}
}

func TestSessionBudgetRoundTrip(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	hosts := map[string][]string{"A": {"x.com", "*.y.com"}}
	made := createSession(t, s, db.NewSession{AgentID: agent.ID, EnvNames: []string{"A"}, EnvHosts: hosts, Budget: fullBudget()}).Session
	check := func(got db.Session, want map[string][]string) {
		t.Helper()
		if diff := cmp.Diff(fullBudget(), got.Budget); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want, got.EnvHosts); diff != "" {
			t.Error(diff)
		}
	}
	check(made, hosts)
	check(readSession(t, s, made.ID), hosts)
	markReady(t, s, made)
	check(claim(t, s, made.ID, readyClaim), hosts)
	markReady(t, s, readSession(t, s, made.ID))
	bound := readyClaim
	bound.EnvNames, bound.EnvHosts = []string{"A", "B"}, map[string][]string{"B": {"z.com"}}
	check(claim(t, s, made.ID, bound), bound.EnvHosts)
	markReady(t, s, readSession(t, s, made.ID))
	bound.EnvHosts = map[string][]string{}
	check(claim(t, s, made.ID, bound), nil)
	if plain := newSession(t, s, agent.ID); plain.Budget != nil || plain.EnvHosts != nil {
		t.Errorf("without: %+v", plain)
	}
}

func addUsage(t *testing.T, s *db.Store, sessionID string, u db.Usage) {
	t.Helper()
	if err := s.AddUsage(t.Context(), sessionID, u); err != nil {
		t.Fatal(err)
	}
}

// wantSpent checks what an agent and its sessions have used, asked for one by one and
// together.
func wantSpent(t *testing.T, s *db.Store, agentID string, agent db.Spent, sessions map[string]db.Spent) {
	t.Helper()
	for range 2 { // the second is the one that is kept
		got, err := s.AgentSpent(t.Context(), agentID)
		if diff := cmp.Diff(agent, got); err != nil || diff != "" {
			t.Errorf("agent: %v %s", err, diff)
		}
	}
	ids := []string{"nobody"}
	for id, want := range sessions {
		ids = append(ids, id)
		got, err := s.SessionSpent(t.Context(), id)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("session %s: %v %s", id, err, diff)
		}
	}
	all, err := s.SpentOf(t.Context(), ids)
	if diff := cmp.Diff(sessions, all); err != nil || diff != "" {
		t.Errorf("sessions: %v %s", err, diff)
	}
	agents, err := s.AgentsSpent(t.Context(), []string{"nobody", agentID})
	if diff := cmp.Diff(agent, agents[agentID]); err != nil || len(agents) > 1 || diff != "" {
		t.Errorf("agents: %v %s", err, diff)
	}
}

func TestUsageAddsUp(t *testing.T) {
	s := openStore(t, config(t))
	agent, other := newAgent(t, s, db.Agent{}), newAgent(t, s, db.Agent{})
	a, b, none := newSession(t, s, agent.ID), newSession(t, s, agent.ID), newSession(t, s, agent.ID)
	foreign := newSession(t, s, other.ID)
	wantSpent(t, s, agent.ID, db.Spent{}, map[string]db.Spent{a.ID: {}, b.ID: {}, none.ID: {}})
	one := db.Usage{
		Calls: 1, InputTokens: 10, OutputTokens: 20, CacheReadTokens: 3, CacheWriteTokens: 4, Cost: 0.25, UnpricedCalls: 5, EstimatedCalls: 6,
	}
	addUsage(t, s, a.ID, one)
	addUsage(t, s, a.ID, one)
	addUsage(t, s, b.ID, db.Usage{Calls: 1, OutputTokens: 1, Cost: 2})
	addUsage(t, s, foreign.ID, one)
	twice := db.Usage{
		Calls: 2, InputTokens: 20, OutputTokens: 40, CacheReadTokens: 6, CacheWriteTokens: 8, Cost: 0.5, UnpricedCalls: 10, EstimatedCalls: 12,
	}
	sum := twice
	sum.Calls, sum.OutputTokens, sum.Cost = 3, 41, 2.5
	wantSpent(t, s, agent.ID, db.Spent{Usage: sum}, map[string]db.Spent{
		a.ID: {Usage: twice}, b.ID: {Usage: db.Usage{Calls: 1, OutputTokens: 1, Cost: 2}}, none.ID: {},
	})
	wantSpent(t, s, other.ID, db.Spent{Usage: one}, map[string]db.Spent{foreign.ID: {Usage: one}})
	if err := s.AddUsage(t.Context(), "nobody", one); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("usage of nobody: err = %v, want ErrNotFound", err)
	}
	if _, err := s.SessionSpent(t.Context(), "nobody"); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("spent by nobody: err = %v, want ErrNotFound", err)
	}
	if got, err := s.AgentSpent(t.Context(), "nobody"); err != nil || got != (db.Spent{}) {
		t.Errorf("spent by no agent: %+v, %v", got, err)
	}
	if _, err := s.EndSession(t.Context(), foreign.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAgent(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}
	if lines, err := s.Lines(t.Context(), `SELECT session_id FROM usage WHERE calls = 1`); err != nil || len(lines) != 1 {
		t.Errorf("after an agent was deleted: %s, %v", lines, err)
	}
}

// TestTurnsAreCounted follows turns through all that becomes of them, with a clock that
// is moved by hand.
func TestTurnsAreCounted(t *testing.T) {
	cfg := config(t)
	now := time.UnixMilli(1_000_000)
	cfg.Now = func() time.Time { return now }
	s := openStore(t, cfg)
	agent := newAgent(t, s, db.Agent{})
	session, other := newReadySession(t, s, agent.ID), newReadySession(t, s, agent.ID)
	var turns, rest int64
	var wall, restWall time.Duration
	check := func(step string) {
		t.Helper()
		t.Log(step)
		wantSpent(t, s, agent.ID, db.Spent{Turns: turns + rest, Wall: wall + restWall}, map[string]db.Spent{
			session.ID: {Turns: turns, Wall: wall}, other.ID: {Turns: rest, Wall: restWall},
		})
	}
	pass := func(d time.Duration, clocks ...*time.Duration) {
		now = now.Add(d)
		for _, c := range clocks {
			*c += d
		}
	}
	turn := addTurn(t, s, session.ID)
	pass(time.Minute)
	check("queued")
	send := func() {
		t.Helper()
		if _, err := s.SendTurn(t.Context(), session.ID, session.Generation, turn.Seq); err != nil {
			t.Fatal(err)
		}
	}
	send()
	turns++
	check("sent")
	pass(1500*time.Millisecond, &wall)
	check("running")
	runTurn(t, s, other)
	rest++
	pass(time.Second, &wall, &restWall)
	check("two running")
	if err := s.UnsendTurn(t.Context(), session.ID, turn.Seq); err != nil {
		t.Fatal(err)
	}
	turns, wall = 0, 0
	pass(time.Second, &restWall)
	check("not sent after all")
	send()
	turns++
	pass(2*time.Second, &wall, &restWall)
	_, err := s.Append(t.Context(), db.Batch{
		SessionID: session.ID, Generation: session.Generation, Ends: []db.TurnEnd{{Seq: turn.Seq, Status: db.TurnComplete, Reply: []byte(`{}`)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	pass(time.Hour, &restWall)
	check("complete")
	runTurn(t, s, session)
	turns++
	addTurn(t, s, session.ID) // is never sent
	pass(time.Second, &wall, &restWall)
	if err := s.MarkDead(t.Context(), session.ID, session.Generation, "lost", true); err != nil {
		t.Fatal(err)
	}
	pass(time.Second, &restWall)
	check("interrupted")
	if _, err := s.EndSession(t.Context(), session.ID); err != nil {
		t.Fatal(err)
	}
	pass(time.Second, &restWall)
	check("ended")
	now = time.UnixMilli(0)
	got, err := s.SessionSpent(t.Context(), other.ID)
	if err != nil || got.Turns != 1 || got.Wall != 0 {
		t.Errorf("with a clock that was set back: %+v, %v", got, err)
	}
}

// BenchmarkAgentSpent reads what the ten thousand turns of an agent have used.
func BenchmarkAgentSpent(b *testing.B) {
	s := openStore(b, config(b))
	agent := newAgent(b, s, db.Agent{})
	for range 100 {
		session := newReadySession(b, s, agent.ID)
		err := s.Tx(b.Context(), func(exec func(string, ...any) error) error {
			for seq := range 100 {
				err := exec(`INSERT INTO turns (session_id, seq, status, parts, lossy, reply, created_at, deadline_at, sent_at, completed_at)
					VALUES (?, ?, 'complete', '[]', 0, hex(zeroblob(2000)), 1, 1, 2, 3)`, session.ID, seq)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.AddUsage(b.Context(), session.ID, db.Usage{Calls: 1}); err != nil {
			b.Fatal(err)
		}
	}
	for name, read := range map[string]func() error{
		"kept": func() error { _, err := s.AgentSpent(b.Context(), agent.ID); return err },
		"from the file": func() error {
			all, err := s.AgentsSpent(b.Context(), []string{agent.ID})
			if all[agent.ID].Turns != 10000 {
				err = fmt.Errorf("%+v", all)
			}
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
