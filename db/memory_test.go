package db_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lap/db"
)

// newMemory stores m, with what must not be empty filled in.
func newMemory(t *testing.T, s *db.Store, agentID string, m db.Memory) db.Memory {
	t.Helper()
	m.AgentID, m.Source = agentID, "ui"
	if m.Text == "" {
		m.Text = "text"
	}
	disabled := m.Disabled
	m.Disabled = false
	m, err := s.CreateMemory(t.Context(), m)
	if err == nil && disabled {
		m, err = s.UpdateMemory(t.Context(), agentID, m.ID, func(m *db.Memory) error { m.Disabled = true; return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func texts(rows []db.Memory) string {
	var list []string
	for _, m := range rows {
		list = append(list, m.Text)
	}
	return strings.Join(list, " ")
}

func TestMemoryRoundTrip(t *testing.T) {
	s := openStore(t, config(t))
	agent, other := newAgent(t, s, db.Agent{}), newAgent(t, s, db.Agent{})
	want, err := s.CreateMemory(t.Context(), db.Memory{
		AgentID: agent.ID, Text: "täxt\x00", Tags: []string{"a", ""}, Type: "t", Priority: -1 << 52, Pinned: true,
		Source: "slack", SourceUserID: new("u"), SourceSessionID: new("s"), SourceThreadTS: new("1.2"), TimesApplied: 99,
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Memory(t.Context(), agent.ID, want.ID)
	if diff := cmp.Diff(want, got); err != nil || diff != "" || got.TimesApplied != 0 {
		t.Error(diff, err)
	}
	if _, err := s.Memory(t.Context(), other.ID, want.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("through another agent: err = %v, want ErrNotFound", err)
	}
	if _, err := s.CreateMemory(t.Context(), db.Memory{AgentID: "nobody", Source: "ui"}); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("for nobody: err = %v, want ErrNotFound", err)
	}
}

func TestUpdateMemory(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	m := newMemory(t, s, agent.ID, db.Memory{Tags: []string{"a"}})
	edit := func(f func(*db.Memory)) db.Memory {
		t.Helper()
		out, err := s.UpdateMemory(t.Context(), agent.ID, m.ID, func(m *db.Memory) error { f(m); return nil })
		if err != nil {
			t.Fatal(err)
		}
		stored, err := s.Memory(t.Context(), agent.ID, m.ID)
		if diff := cmp.Diff(out, stored, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Error(diff, err)
		}
		return out
	}
	if got := edit(func(m *db.Memory) { m.Tags = []string{"a"} }); !got.UpdatedAt.Equal(m.UpdatedAt) {
		t.Error("an edit that changes nothing moved updated_at")
	}
	got := edit(func(m *db.Memory) {
		m.Text, m.Tags, m.Type, m.Priority, m.Pinned, m.Disabled = "new", nil, "t", 7, true, true
	})
	if !got.UpdatedAt.After(m.UpdatedAt) || got.Text != "new" || len(got.Tags) != 0 || got.Priority != 7 || !got.Pinned || !got.Disabled {
		t.Errorf("edited = %+v", got)
	}
	refused := errors.New("refused")
	_, err := s.UpdateMemory(t.Context(), agent.ID, m.ID, func(m *db.Memory) error { m.Text = "x"; return refused })
	if stored := edit(func(*db.Memory) {}); !errors.Is(err, refused) || stored.Text != "new" {
		t.Errorf("after a refused edit: %v, %q", err, stored.Text)
	}
}

func TestDeleteMemory(t *testing.T) {
	s := openStore(t, config(t))
	agent, other := newAgent(t, s, db.Agent{}), newAgent(t, s, db.Agent{})
	m := newMemory(t, s, agent.ID, db.Memory{})
	if err := s.DeleteMemory(t.Context(), other.ID, m.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("through another agent: err = %v, want ErrNotFound", err)
	}
	if err := s.DeleteMemory(t.Context(), agent.ID, m.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMemory(t.Context(), agent.ID, m.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("again: err = %v, want ErrNotFound", err)
	}
}

func TestMemoriesFilter(t *testing.T) {
	s := openStore(t, config(t))
	agent, other := newAgent(t, s, db.Agent{}), newAgent(t, s, db.Agent{})
	newMemory(t, s, agent.ID, db.Memory{Text: "Grün-100%", Tags: []string{"go", "ci"}})
	newMemory(t, s, agent.ID, db.Memory{Text: "a_b", Tags: []string{"go"}})
	newMemory(t, s, agent.ID, db.Memory{Text: "off", Tags: []string{"Go"}, Disabled: true})
	newMemory(t, s, agent.ID, db.Memory{Text: "x\x00After", Tags: []string{"nul"}})
	newMemory(t, s, other.ID, db.Memory{Text: "foreign"})
	tests := []struct {
		name string
		q    db.MemoryQuery
		want string
	}{
		{"all", db.MemoryQuery{}, "x\x00After a_b Grün-100%"},
		{"disabled too", db.MemoryQuery{IncludeDisabled: true}, "x\x00After off a_b Grün-100%"},
		{"text, letter case aside", db.MemoryQuery{Text: "GRÜN"}, "Grün-100%"},
		{"percent is literal", db.MemoryQuery{Text: "%"}, "Grün-100%"},
		{"underscore is literal", db.MemoryQuery{Text: "_"}, "a_b"},
		{"text after a NUL", db.MemoryQuery{Text: "AFTER"}, "x\x00After"},
		{"text with a NUL", db.MemoryQuery{Text: "X\x00a"}, "x\x00After"},
		{"a NUL, then something else", db.MemoryQuery{Text: "x\x00b"}, ""},
		{"blank text", db.MemoryQuery{Text: " \t"}, "x\x00After a_b Grün-100%"},
		{"tag", db.MemoryQuery{Tags: []string{"go"}}, "a_b Grün-100%"},
		{"tag is exact", db.MemoryQuery{Tags: []string{"g"}}, ""},
		{"tag minds letter case", db.MemoryQuery{Tags: []string{"GO"}, IncludeDisabled: true}, ""},
		{"two tags", db.MemoryQuery{Tags: []string{"ci", "go"}}, "Grün-100%"},
		{"tag and text", db.MemoryQuery{Tags: []string{"go"}, Text: "b"}, "a_b"},
		{"page", db.MemoryQuery{Offset: 1}, "a_b Grün-100%"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.q.AgentID, tt.q.Limit = agent.ID, 10
			rows, total, err := s.Memories(t.Context(), tt.q)
			if err != nil || texts(rows) != tt.want || total != len(rows)+tt.q.Offset {
				t.Errorf("rows = %q of %d, %v, want %q", texts(rows), total, err, tt.want)
			}
		})
	}
}

func TestSearchCountsAsUse(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	hit := newMemory(t, s, agent.ID, db.Memory{Text: "hit"})
	miss := newMemory(t, s, agent.ID, db.Memory{Text: "miss"})
	off := newMemory(t, s, agent.ID, db.Memory{Text: "hit too", Disabled: true})
	rows, total, err := s.SearchMemories(t.Context(), db.MemoryQuery{AgentID: agent.ID, Text: "hit", IncludeDisabled: true, Limit: 10})
	if diff := cmp.Diff([]db.Memory{off, hit}, rows, cmpopts.EquateEmpty()); err != nil || total != 2 || diff != "" {
		t.Fatalf("not as before the search: %s %v", diff, err)
	}
	for _, tt := range []struct {
		m    db.Memory
		want int64
	}{{hit, 1}, {miss, 0}, {off, 0}} {
		got, err := s.Memory(t.Context(), agent.ID, tt.m.ID)
		if err != nil || got.TimesApplied != tt.want || (got.LastAppliedAt != nil) != (tt.want > 0) || !got.UpdatedAt.Equal(tt.m.UpdatedAt) {
			t.Errorf("%s: %+v, %v, want %d uses", tt.m.Text, got, err, tt.want)
		}
	}
}

func TestConcurrentSearchesAreAllCounted(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	m := newMemory(t, s, agent.ID, db.Memory{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, _, err := s.SearchMemories(t.Context(), db.MemoryQuery{AgentID: agent.ID, Text: "t", Limit: 1}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := s.Memory(t.Context(), agent.ID, m.ID); err != nil || got.TimesApplied != 20 {
		t.Errorf("%d uses, %v, want 20", got.TimesApplied, err)
	}
}

func TestMemoryOrder(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	newMemory(t, s, agent.ID, db.Memory{Text: "old"})
	newMemory(t, s, agent.ID, db.Memory{Text: "used"})
	newMemory(t, s, agent.ID, db.Memory{Text: "new"})
	newMemory(t, s, agent.ID, db.Memory{Text: "five", Priority: 5})
	newMemory(t, s, agent.ID, db.Memory{Text: "one", Priority: 1})
	if _, _, err := s.SearchMemories(t.Context(), db.MemoryQuery{AgentID: agent.ID, Text: "used", Limit: 1}); err != nil {
		t.Fatal(err)
	}
	rows, _, err := s.Memories(t.Context(), db.MemoryQuery{AgentID: agent.ID, Limit: 10})
	if err != nil || texts(rows) != "five one used new old" {
		t.Errorf("order = %s, %v", texts(rows), err)
	}
}

func TestPreloadMemories(t *testing.T) {
	s := openStore(t, config(t))
	fill := func(pinned, plain int) string {
		agent := newAgent(t, s, db.Agent{})
		for range pinned {
			newMemory(t, s, agent.ID, db.Memory{Pinned: true})
		}
		for range plain {
			newMemory(t, s, agent.ID, db.Memory{})
		}
		newMemory(t, s, agent.ID, db.Memory{Pinned: true, Disabled: true})
		newMemory(t, s, agent.ID, db.Memory{Disabled: true})
		return agent.ID
	}
	few, many := fill(3, 5), fill(25, 3)
	tests := []struct {
		name           string
		agent          string
		limit          int
		pinned, ranked int
	}{
		{"limit 0", few, 0, 3, 0},
		{"limit 2", few, 2, 3, 2},
		{"limit above", few, 50, 3, 5},
		{"many pinned", many, 2, 20, 2},
		{"nobody", "nobody", 10, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := s.PreloadMemories(t.Context(), tt.agent, 20, tt.limit)
			if err != nil || len(p.Pinned) != tt.pinned || len(p.Ranked) != tt.ranked {
				t.Errorf("%d pinned, %d ranked, %v, want %d and %d", len(p.Pinned), len(p.Ranked), err, tt.pinned, tt.ranked)
			}
		})
	}
}
