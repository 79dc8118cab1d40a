package db_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lap/db"
)

// config is that of a store in a new directory, with ids that count up and a clock that
// moves by a second.
func config(tb testing.TB) db.Config {
	tb.Helper()
	c := &clock{now: time.Date(2026, 1, 15, 10, 7, 30, 0, time.UTC)}
	return db.Config{
		Path: filepath.Join(tb.TempDir(), "lap.db"), Schema: schema(tb), Sealer: sealer(tb, 1),
		Now: c.Now, NewID: c.NewID,
	}
}

func schema(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile("../schema.sql")
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// sealer is that of a key of 32 bytes with the given value.
func sealer(tb testing.TB, value byte) *db.Sealer {
	tb.Helper()
	s, err := db.NewSealer(bytes.Repeat([]byte{value}, db.KeySize))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func openStore(tb testing.TB, cfg db.Config) *db.Store {
	tb.Helper()
	s, err := db.Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

type clock struct {
	mu  sync.Mutex // guards what follows
	now time.Time
	ids int
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Second)
	return c.now
}

func (c *clock) NewID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", c.ids)
}

func TestFilesArePrivate(t *testing.T) {
	cfg := config(t)
	if err := os.WriteFile(cfg.Path, nil, 0o644); err != nil { // as an older umask left it
		t.Fatal(err)
	}
	s := openStore(t, cfg)
	if _, err := s.Installation(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(cfg.Path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode of lap.db%s = %o, want 600", suffix, info.Mode().Perm())
		}
	}
}

func TestReopen(t *testing.T) {
	cfg := config(t)
	cfg.Path = filepath.Join(t.TempDir(), "with blank?and#marks%20.db")
	s, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Installation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agent := newAgent(t, s, db.Agent{Env: map[string]string{"TOKEN": "secret"}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, cfg)
	if again, err := s.Installation(t.Context()); err != nil || again != id {
		t.Errorf("installation = %s, %v, want %s", again, err, id)
	}
	if got, err := s.Agent(t.Context(), agent.ID); err != nil || got.Env["TOKEN"] != "secret" {
		t.Errorf("agent = %+v, %v", got, err)
	}
}

func TestPing(t *testing.T) {
	s := openStore(t, config(t))
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestUseAfterClose(t *testing.T) {
	s, err := db.Open(t.Context(), config(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("reading: no error")
	}
	if _, err := s.CreateSkill(t.Context(), "s", nil, "c"); err == nil {
		t.Error("writing: no error")
	}
}

func TestOpenFails(t *testing.T) {
	notADatabase := config(t)
	if err := os.WriteFile(notADatabase.Path, bytes.Repeat([]byte("no database "), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	noDirectory := config(t)
	noDirectory.Path = filepath.Join(t.TempDir(), "missing", "lap.db")
	for name, cfg := range map[string]db.Config{"not a database": notADatabase, "no directory": noDirectory} {
		if s, err := db.Open(t.Context(), cfg); err == nil {
			t.Errorf("%s: opened", name)
			_ = s.Close()
		}
	}
}

func TestManyWritersLoseNothing(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 5 {
				_, err := s.UpdateAgent(t.Context(), agent.ID, func(a *db.Agent) error {
					a.Branch += "x" // lost when two read the same value
					return nil
				})
				if _, createErr := s.CreateAgent(t.Context(), db.Agent{Model: "m", HarnessID: "lap", Branch: "main"}); err != nil || createErr != nil {
					t.Error(err, createErr)
				}
			}
		})
	}
	wg.Wait()
	got, err := s.Agent(t.Context(), agent.ID)
	if err != nil || len(got.Branch) != len("main")+80 {
		t.Errorf("branch = %s, %v, want 80 x: a write was lost", got.Branch, err)
	}
	if _, total, err := s.Agents(t.Context(), db.AgentQuery{Limit: 1}); err != nil || total != 81 {
		t.Errorf("%d agents, %v, want 81", total, err)
	}
}
