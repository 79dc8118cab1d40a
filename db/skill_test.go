package db_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lap/db"
)

func newSkill(t *testing.T, s *db.Store, name, content string) db.Skill {
	t.Helper()
	skill, err := s.CreateSkill(t.Context(), name, nil, content)
	if err != nil {
		t.Fatal(err)
	}
	return skill
}

func TestSkillRoundTrip(t *testing.T) {
	s := openStore(t, config(t))
	want, err := s.CreateSkill(t.Context(), "näme", new("what it does"), "# Skill\n")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Skill(t.Context(), want.ID)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(diff, err)
	}
}

func TestSkillsPage(t *testing.T) {
	s := openStore(t, config(t))
	first, second, third := newSkill(t, s, "1", "c"), newSkill(t, s, "2", "c"), newSkill(t, s, "3", "c")
	tests := []struct {
		name          string
		limit, offset int
		want          []db.Skill
	}{
		{"all, newest first", 10, 0, []db.Skill{third, second, first}},
		{"a page", 1, 1, []db.Skill{second}},
		{"behind the end", 10, 9, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, total, err := s.Skills(t.Context(), tt.limit, tt.offset)
			if diff := cmp.Diff(tt.want, got); err != nil || total != 3 || diff != "" {
				t.Error(total, err, diff)
			}
		})
	}
}

func TestSkillsByID(t *testing.T) {
	s := openStore(t, config(t))
	first, second := newSkill(t, s, "1", "c"), newSkill(t, s, "2", "c")
	got, err := s.SkillsByID(t.Context(), []string{second.ID, "nothing", first.ID})
	if diff := cmp.Diff([]db.Skill{second, first}, got); err != nil || diff != "" {
		t.Error(diff, err)
	}
	if got, err := s.SkillsByID(t.Context(), nil); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
}

func TestUpdateSkillKeepsVersions(t *testing.T) {
	s := openStore(t, config(t))
	skill := newSkill(t, s, "name", "one")
	var noDescription *string
	steps := []struct {
		name     string
		change   db.SkillChange
		want     db.Skill
		versions int
	}{
		{"nothing", db.SkillChange{}, skill, 0},
		{"the same content", db.SkillChange{Content: new("one")}, skill, 0},
		{"name", db.SkillChange{Name: new("new")}, db.Skill{Name: "new", Content: "one"}, 0},
		{"description", db.SkillChange{Description: new(new("d"))}, db.Skill{Name: "new", Description: new("d"), Content: "one"}, 0},
		{"content, by a session", db.SkillChange{Content: new("two"), ChangedBySession: new("s1")}, db.Skill{Name: "new", Description: new("d"), Content: "two"}, 1},
		{"content, by a person", db.SkillChange{Content: new("three")}, db.Skill{Name: "new", Description: new("d"), Content: "three"}, 2},
		{"no description", db.SkillChange{Description: &noDescription}, db.Skill{Name: "new", Content: "three"}, 2},
	}
	for _, step := range steps {
		step.want.ID, step.want.CreatedAt = skill.ID, skill.CreatedAt
		got, err := s.UpdateSkill(t.Context(), skill.ID, step.change)
		if diff := cmp.Diff(step.want, got); err != nil || diff != "" {
			t.Fatalf("%s: %v %s", step.name, err, diff)
		}
		stored, err := s.Skill(t.Context(), skill.ID)
		if diff := cmp.Diff(step.want, stored); err != nil || diff != "" {
			t.Fatalf("%s, stored: %v %s", step.name, err, diff)
		}
		if v, err := s.SkillVersions(t.Context(), skill.ID, 10); err != nil || len(v) != step.versions {
			t.Fatalf("%s: %d versions, %v, want %d", step.name, len(v), err, step.versions)
		}
	}
	got, err := s.SkillVersions(t.Context(), skill.ID, 10)
	want := []db.SkillVersion{{Number: 2, Content: "two"}, {Number: 1, Content: "one", ChangedBySession: new("s1")}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(db.SkillVersion{}, "CreatedAt")); err != nil || diff != "" {
		t.Error(diff, err)
	}
}

func TestDeleteSkill(t *testing.T) {
	s := openStore(t, config(t))
	skill := newSkill(t, s, "name", "one")
	if _, err := s.UpdateSkill(t.Context(), skill.ID, db.SkillChange{Content: new("two")}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteSkill(t.Context(), skill.ID); err != nil {
		t.Fatal(err)
	}
	if v, err := s.SkillVersions(t.Context(), skill.ID, 10); err != nil || len(v) != 0 {
		t.Errorf("versions = %v, %v, want none", v, err)
	}
	_, readErr := s.Skill(t.Context(), skill.ID)
	_, updateErr := s.UpdateSkill(t.Context(), skill.ID, db.SkillChange{})
	for name, err := range map[string]error{"read": readErr, "update": updateErr, "delete": s.DeleteSkill(t.Context(), skill.ID)} {
		if !errors.Is(err, db.ErrNotFound) {
			t.Errorf("%s: err = %v, want ErrNotFound", name, err)
		}
	}
}

func TestSkillGiven(t *testing.T) {
	s := openStore(t, config(t))
	agent, other := newAgent(t, s, db.Agent{}), newAgent(t, s, db.Agent{})
	created, err := s.CreateSession(t.Context(), db.NewSession{AgentID: agent.ID, SkillIDs: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	given := func(agentID, skillID string) bool {
		t.Helper()
		yes, err := s.SkillGiven(t.Context(), agentID, skillID)
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if !given(agent.ID, "b") || given(agent.ID, "c") || given(other.ID, "b") {
		t.Error("given to the wrong agent, or not given")
	}
	if _, err := s.EndSession(t.Context(), created.Session.ID); err != nil {
		t.Fatal(err)
	}
	if given(agent.ID, "b") {
		t.Error("still given after the session ended")
	}
}
