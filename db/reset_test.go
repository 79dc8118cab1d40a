package db_test

import (
	"errors"
	"testing"

	"lap/db"
)

func TestResetLeavesNothingOfWhatWasMade(t *testing.T) {
	s := openStore(t, config(t))
	installation, err := s.Installation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agent, skill := newAgent(t, s, db.Agent{}), newSkill(t, s, "s", "c")
	owned := newSession(t, s, agent.ID)
	key := "key"
	for _, b := range []db.Sandbox{
		{Name: "warm", SessionID: "w", AgentID: agent.ID, WarmKey: &key},
		{Name: "making", SessionID: "m", AgentID: agent.ID, WarmKey: &key},
		{Name: "owned", SessionID: owned.ID, AgentID: agent.ID, Generation: 1},
	} {
		if err := s.PlanSandbox(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if b.Name == "making" {
			continue
		}
		if err := s.SandboxMade(t.Context(), b.Name, "container of "+b.Name); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SandboxReady(t.Context(), "warm"); err != nil {
		t.Fatal(err)
	}
	newMemory(t, s, agent.ID, db.Memory{})
	change := db.SkillChange{Content: new("new")}
	_, changed := s.UpdateSkill(t.Context(), skill.ID, change)
	for _, err := range []error{
		changed,
		s.AddUsage(t.Context(), owned.ID, db.Usage{Calls: 1}),
		s.AppendEgress(t.Context(), egress(owned.ID, 1)),
		s.AppendInterceptions(t.Context(), interceptions(owned.ID, 1)),
		s.MarkReady(t.Context(), owned.ID, 1, db.Readiness{}),
		s.SaveOutput(t.Context(), owned.ID, "text"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.AddTurn(t.Context(), owned.ID, db.NewTurn{Parts: []byte(`[]`), Once: once("k", "h")}); err != nil {
		t.Fatal(err)
	}
	condemned, err := s.Reset(t.Context())
	if err != nil || len(condemned) != 1 || condemned[0].Name != "owned" {
		t.Fatalf("condemned = %+v, %v", condemned, err)
	}
	tables, err := s.Lines(t.Context(), `SELECT name FROM sqlite_schema WHERE type = 'table'`)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		lines, err := s.Lines(t.Context(), `SELECT count(*) FROM `+table)
		want := map[string]string{"meta": "1", "sandboxes": "3"}[table]
		if want == "" {
			want = "0"
		}
		if err != nil || lines[0] != want {
			t.Errorf("%s has %v rows, want %s; %v", table, lines, want, err)
		}
	}
	if _, err := s.Agent(t.Context(), agent.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("the agent: %v", err)
	}
	if _, err := s.Skill(t.Context(), skill.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("the skill: %v", err)
	}
	if again, err := s.Installation(t.Context()); err != nil || again != installation {
		t.Errorf("installation %s became %s, %v", installation, again, err)
	}
	next := newAgent(t, s, db.Agent{})
	made, err := s.CreateSession(t.Context(), db.NewSession{AgentID: next.ID, WarmKey: key, Deadline: later})
	if err != nil || made.Warm == nil || made.Warm.Name != "warm" || made.Warm.AgentID != next.ID {
		t.Errorf("the next session has %+v, %v", made.Warm, err)
	}
}
