package session_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"lap/db"
	"lap/server/session"
)

// TestResetUnderLoad resets a world in which everything is under way, again and again.
func TestResetUnderLoad(t *testing.T) {
	w := newWorld(t, func(c *session.Config) {
		c.Pool = session.PoolConfig{Size: 2, MaxProvisioning: 2, TTL: time.Hour, Recent: time.Hour}
		c.Reconcile = 20 * time.Millisecond
	})
	for round := range 5 {
		entered, leave, script := holding()
		w.runtime.answer(script)
		working, queued := w.ready(t), w.ready(t)
		reply := w.send(t.Context(), working.ID, "one")
		receive(t, entered)
		next := w.begin(t, working.ID, "two")
		stream := w.feed(t, queued.ID, 0)
		ended := make(chan error, 1)
		go func() {
			_, err := read(t.Context(), stream, func(string) bool { return false })
			ended <- err
		}()
		var load sync.WaitGroup
		for range 4 { // some of which come before, some after
			load.Go(func() {
				s, _, err := w.Create(t.Context(), w.agent, session.NewSession{InitialParts: text("three")})
				if err != nil && !errors.Is(err, db.ErrNotFound) {
					t.Errorf("create: %v", err)
				}
				_, _ = w.Message(t.Context(), s.ID, text("four")) // whatever comes of it
			})
		}
		if err := w.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.isEmpty(t)
		if a := receive(t, reply); !errors.Is(a.err, session.ErrHarness) {
			t.Errorf("the turn that ran was answered with %s, %v", a.reply, a.err)
		}
		if _, err := next.Reply(t.Context()); !errors.Is(err, session.ErrHarness) {
			t.Errorf("the turn that waited was answered with %v", err)
		}
		if err := receive(t, ended); !errors.Is(err, session.ErrEnded) {
			t.Errorf("the stream ended with %v", err)
		}
		close(leave)
		load.Wait()
		w.isEmpty(t)
		w.agent = w.another(t)
		w.runtime.answer(echo)
		s := w.ready(t)
		w.say(t, s.ID, fmt.Sprint("round ", round))
		w.awaitTurns(t, s.ID, fmt.Sprint("complete round ", round))
	}
	if err := w.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		known := len(w.query(t, `SELECT name FROM sandboxes`))
		if ids := w.runtime.ids(); len(ids) != known || known > 2 || session.Lives(w.Engine) > 0 {
			return fmt.Errorf("sandboxes %v, %d of them known; %d sessions in memory", ids, known, session.Lives(w.Engine))
		}
		return nil
	})
}

// isEmpty fails the test if there is anything left of what users made.
func (w *world) isEmpty(t *testing.T) {
	t.Helper()
	tables := w.query(t, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'audit%' AND name NOT IN ('meta', 'sandboxes')`)
	if len(tables) < 10 {
		t.Fatalf("tables = %q", tables)
	}
	for _, table := range tables {
		if n := w.query(t, `SELECT count(*) FROM `+table)[0]; n != "0" {
			t.Errorf("%s has %s rows", table, n)
		}
	}
	if left := w.query(t, `SELECT name FROM sandboxes WHERE agent_id <> '' AND state <> 'removing'`); len(left) > 0 {
		t.Errorf("sandboxes %q are somebody's", left)
	}
}

func TestResetDuringBringUp(t *testing.T) {
	for _, step := range []string{"before create", "after create", "before start", "after start"} {
		w := newWorld(t, nil)
		entered, release := w.runtime.hold(step)
		w.create(t, session.NewSession{InitialParts: text("x")})
		receive(t, entered)
		if err := w.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		release()
		w.isEmpty(t)
		eventually(t, func() error {
			if ids := w.runtime.ids(); len(ids) > 0 {
				return fmt.Errorf("%s: sandboxes %v are left", step, ids)
			}
			return nil
		})
	}
}

func TestResetKeepsThePool(t *testing.T) {
	w := pooled(t, nil)
	w.ready(t)
	first := w.awaitWarm(t, w.agent.ID)
	for range 3 {
		if err := w.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.reconcile(t)
		session.Warm(w.Engine)
		if now := w.awaitWarm(t, ""); now[0] != first[0] {
			t.Fatalf("warm after a reset: %s, want %s", now, first)
		}
	}
	w.agent = w.another(t)
	if s := w.ready(t); *s.ContainerID != first[0] {
		t.Errorf("the session after it has sandbox %s, want %s", *s.ContainerID, first[0])
	}
	w.awaitWarm(t, w.agent.ID)
}

func TestResetWhenTheEngineIsAway(t *testing.T) {
	w := newWorld(t, nil)
	w.ready(t)
	w.runtime.set(func() { w.runtime.down = true })
	if err := w.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.isEmpty(t)
	eventually(t, func() error {
		if w.runtime.called("remove") == 0 {
			return errors.New("no removal was tried")
		}
		return nil
	})
	w.runtime.set(func() { w.runtime.down = false })
	w.restart(t)
	w.reconcile(t)
	if ids := w.runtime.ids(); len(ids) > 0 {
		t.Errorf("sandboxes %v are left", ids)
	}
}
