package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/db"
	"lap/server/session"
)

// once is a hook that fails the first time.
func once(err error) hook {
	var mu sync.Mutex
	return func(context.Context, string) error {
		mu.Lock()
		defer mu.Unlock()
		defer func() { err = nil }()
		return err
	}
}

func TestTurnIsCarriedOutOnceWhenThePipeIsCut(t *testing.T) {
	for _, step := range []string{
		"before post /turns", // nothing of it has left
		"read turn",          // it may have arrived, but the guest did not take it
		"after post /turns",  // the guest has it, and did not come to say so
	} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.ready(t)
			w.runtime.on(step, once(errCut))
			w.say(t, s.ID, "x")
			w.say(t, s.ID, "y")
			if got := strings.Join(w.runtime.texts(s.ID), " "); got != "x y" {
				t.Errorf("the harness saw %q", got)
			}
			w.awaitTurns(t, s.ID, "complete x\ncomplete y")
		})
	}
}

func TestTurnGoesBackIntoTheQueueWhenNothingOfItHasLeft(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	var cuts int
	w.runtime.on("before post /turns", func(context.Context, string) error {
		if cuts++; cuts <= 3 {
			return errCut
		}
		return nil
	})
	w.say(t, s.ID, "x")
	steps := w.query(t, `SELECT was || '>' || now FROM audit_turns WHERE id = ? ORDER BY n`, s.ID)
	want := "none>queued queued>running running>queued queued>running running>queued queued>running running>queued queued>running running>complete"
	if got := strings.Join(steps, " "); got != want {
		t.Errorf("the turn went %s, want %s", got, want)
	}
}

func TestGuestThatDiesWithATurn(t *testing.T) {
	for _, step := range []string{"read turn", "after post /turns"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.ready(t)
			w.say(t, s.ID, "before")
			w.runtime.on(step, func(_ context.Context, id string) error {
				w.runtime.on(step, nil)
				w.runtime.kill(id, false)
				return errCut
			})
			a := receive(t, w.send(t.Context(), s.ID, "x"))
			if !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "sandbox was lost") {
				t.Errorf("the client got %s, %v", a.reply, a.err)
			}
			w.say(t, s.ID, "after")
			w.awaitTurns(t, s.ID, "complete before\ninterrupted x\ncomplete after")
		})
	}
}

func TestGuestThatDiesBeforeATurnIsNoticedByIt(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.on("before post /turns", func(_ context.Context, id string) error {
		w.runtime.on("before post /turns", nil)
		w.runtime.kill(id, false)
		return errCut
	})
	w.say(t, s.ID, "x") // it had surely not arrived, so it is sent to the sandbox that was brought back
	w.awaitTurns(t, s.ID, "complete x")
}

func TestGuestThatRefusesATurn(t *testing.T) {
	for _, step := range []string{"before post /turns", "read turn"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.ready(t)
			w.runtime.on(step, once(errors.New("disk is full")))
			if a := receive(t, w.send(t.Context(), s.ID, "x")); !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "disk is full") {
				t.Errorf("error = %v", a.err)
			}
			w.say(t, s.ID, "y")
			w.awaitTurns(t, s.ID, "failed x\ncomplete y")
		})
	}
}

func TestPipeThatEndsAtOnce(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.TurnTimeout = 100 * time.Millisecond })
	s := w.ready(t)
	w.runtime.set(func() { w.runtime.broken = true })
	w.runtime.cut(*s.ContainerID)
	for range 5 {
		if a := receive(t, w.send(t.Context(), s.ID, "x")); !errors.Is(a.err, session.ErrHarness) {
			t.Fatalf("error = %v", a.err)
		}
	}
	w.runtime.set(func() { w.runtime.broken = false })
	eventually(t, func() error { return receive(t, w.send(t.Context(), s.ID, "y")).err })
	if after := w.session(t, s.ID); after.Status != db.StatusReady || after.Generation != 1 {
		t.Errorf("session = %+v", after)
	}
}

func TestManyNeedThePipeAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.stop()
	dials := w.runtime.called("dial")
	w.start(t)
	var users sync.WaitGroup
	for range 20 {
		users.Go(func() {
			client, release, err := w.Sandbox(t.Context(), s.ID)
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			res, err := client.Get("http://sandbox/health")
			if err != nil {
				t.Error(err)
				return
			}
			_ = res.Body.Close()
		})
	}
	users.Wait()
	if n := w.runtime.called("dial") - dials; n != 1 {
		t.Errorf("%d pipes were opened, want 1", n)
	}
}

func key(k, hash string) *db.Once {
	return &db.Once{Scope: "scope", Key: k, Hash: hash, Answer: func(s db.Session) ([]byte, error) {
		return json.Marshal(map[string]string{"id": s.ID, "status": s.Status})
	}}
}

func TestOneTurnForManyRequestsWithOneKey(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	const n = 100
	replies := make(chan answer, n)
	ask := func() {
		p, err := w.Begin(t.Context(), s.ID, session.Turn{Parts: text("x"), Once: key("k", "h")})
		if err != nil {
			replies <- answer{err: err}
			return
		}
		reply, err := p.Reply(t.Context())
		replies <- answer{reply, err}
	}
	for range n {
		go ask()
	}
	receive(t, entered)
	close(leave)
	var first string
	for range n {
		a := receive(t, replies)
		if first == "" {
			first = string(a.reply)
		}
		if a.err != nil || string(a.reply) != first {
			t.Fatalf("one got %s, %v, another %s", a.reply, a.err, first)
		}
	}
	w.restart(t)
	ask()
	if a := receive(t, replies); a.err != nil || string(a.reply) != first {
		t.Errorf("after a restart it is %s, %v", a.reply, a.err)
	}
	if _, err := w.Begin(t.Context(), s.ID, session.Turn{Parts: text("y"), Once: key("k", "other")}); !errors.Is(err, db.ErrKeyReused) {
		t.Errorf("another request with the key: %v", err)
	}
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	ask() // what was answered can be had also when the session is over
	if a := receive(t, replies); a.err != nil || string(a.reply) != first {
		t.Errorf("after the end it is %s, %v", a.reply, a.err)
	}
	if got := w.runtime.texts(s.ID); len(got) != 1 {
		t.Errorf("the harness saw %q", got)
	}
	if n := session.Lives(w.Engine); n != 0 {
		t.Errorf("%d sessions are held", n)
	}
}

func TestOneSessionForManyRequestsWithOneKey(t *testing.T) {
	w := newWorld(t, nil)
	const n = 100
	answers := make(chan string, n)
	ask := func() {
		s, again, err := w.Create(t.Context(), w.agent, session.NewSession{Once: key("k", "h")})
		switch {
		case err != nil:
			answers <- err.Error()
		case again != nil:
			answers <- string(again)
		default:
			answers <- fmt.Sprintf(`{"id":%q,"status":"creating"}`, s.ID)
		}
	}
	for range n {
		go ask()
	}
	first := receive(t, answers)
	for range n - 1 {
		if got := receive(t, answers); got != first {
			t.Fatalf("one got %s, another %s", got, first)
		}
	}
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(first), &made); err != nil {
		t.Fatal(err)
	}
	w.await(t, made.ID, db.StatusReady)
	w.restart(t)
	ask()
	if got := receive(t, answers); got != first {
		t.Errorf("after a restart it is %s, was %s", got, first)
	}
	if ids := w.runtime.ids(); len(ids) != 1 {
		t.Errorf("sandboxes: %v", ids)
	}
}
