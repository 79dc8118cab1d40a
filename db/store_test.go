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
