package session_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

// A storm does everything at once that can be done to an engine, its sandboxes and its
// process, in an order that a seed decides as far as the scheduler lets it.
type storm struct {
	*world
	t *testing.T

	engine sync.RWMutex // held for writing while one engine takes the place of another
	mu     sync.Mutex   // guards what follows
	ids    []string     // of sessions
	accept int          // turns
}

// TestWhateverHappens checks what must be true whatever happens. LAP_STORM says for how
// long, such as 5m; LAP_SEED repeats an earlier one.
func TestWhateverHappens(t *testing.T) {
	length := 5 * time.Second
	if text := os.Getenv("LAP_STORM"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := rand.Uint64()
	if text := os.Getenv("LAP_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("LAP_SEED=%d", seed)
	w := newWorld(t, func(c *session.Config) {
		c.FreezeAfter, c.IdleTimeout, c.TurnTimeout = time.Millisecond, time.Hour, 10*time.Second
		c.Pool = session.PoolConfig{Size: 2, MaxProvisioning: 2, TTL: time.Hour, Recent: time.Hour}
	})
	w.runtime.answer(moody)
	s := &storm{world: w, t: t}
	w.runtime.set(func() { w.runtime.chaos = chaos(rand.New(rand.NewPCG(seed, 0))) })
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var all sync.WaitGroup
	for i := range uint64(8) {
		all.Go(func() {
			for r := rand.New(rand.NewPCG(seed, i+1)); ctx.Err() == nil; {
				s.act(ctx, r)
			}
		})
	}
	all.Wait()
	w.runtime.set(func() { w.runtime.chaos, w.runtime.down = nil, false })
	s.settle()
}

// moody is a harness that does not always answer, and not always at once.
func moody(h *harnessTurn) (int, string) {
	h.begin()
	h.write("some, ")
	switch n := rand.IntN(10); {
	case n == 0:
		return 500, `{"name":"UnknownError"}`
	case n == 1:
		return 0, "crashed"
	case n < 5:
		select {
		case <-time.After(time.Duration(rand.IntN(50)) * time.Millisecond):
		case <-h.aborted:
		case <-h.ctx.Done():
		}
	}
	h.write("more")
	return h.finish()
}

// chaos makes a few calls of the engine fail, and others slow.
func chaos(r *rand.Rand) func(step, id string) error {
	var mu sync.Mutex
	return func(step, id string) error {
		mu.Lock()
		n, pause := r.IntN(200), time.Duration(r.IntN(2000))*time.Microsecond
		mu.Unlock()
		guest := strings.Contains(step, "/") || step == "boot" || step == "read turn"
		switch {
		case n < 20:
			time.Sleep(pause)
		case n == 20 && guest:
			return errCut
		case n == 21 && guest:
			return fmt.Errorf("no %s today", step)
		case n == 22 && !guest:
			return fmt.Errorf("%w: %s of %s", sandbox.ErrUnavailable, step, id)
		case n == 23 && !guest:
			return fmt.Errorf("no %s of %s", step, id)
		}
		return nil
	}
}

// pick is one of the sessions.
func (s *storm) pick(r *rand.Rand) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ids) == 0 {
		return "none"
	}
	return s.ids[max(0, len(s.ids)-1-r.IntN(6))] // one of the newer ones
}

// box is one of the sandboxes.
func (s *storm) anyBox(r *rand.Rand) string {
	ids := s.runtime.ids()
	if len(ids) == 0 {
		return "none"
	}
	return ids[r.IntN(len(ids))]
}

// act does one thing.
func (s *storm) act(ctx context.Context, r *rand.Rand) {
	id := s.pick(r)
	switch n := r.IntN(1000); {
	case n < 60:
		s.call(func(e *session.Engine) error { return s.born(ctx, e, r) })
	case n < 600:
		s.call(func(e *session.Engine) error { return s.message(ctx, e, r, id) })
	case n < 640:
		s.call(func(e *session.Engine) error { _, err := e.Restart(ctx, id, nil, nil); return err })
	case n < 700:
		s.call(func(e *session.Engine) error { return e.Abort(ctx, id) })
	case n < 730:
		s.call(func(e *session.Engine) error { _, err := e.Stop(ctx, id); return err })
	case n < 770:
		s.call(func(e *session.Engine) error { return s.use(ctx, e, id) })
	case n < 800:
		s.runtime.kill(s.anyBox(r), r.IntN(2) == 0)
	case n < 820:
		s.runtime.vanish(s.anyBox(r))
	case n < 830:
		s.runtime.reboot(s.anyBox(r))
	case n < 860:
		s.runtime.cut(s.anyBox(r))
	case n < 900:
		s.call(func(e *session.Engine) error { return session.Rest(e, ctx) })
	case n < 910:
		_, err := s.file.ExecContext(ctx, `UPDATE sessions SET last_seen_at = last_seen_at - 7200000 WHERE id = ?`, id)
		s.expect(err)
	case n < 930:
		s.call(func(e *session.Engine) error { return session.Reconcile(e, ctx) })
	case n < 935:
		s.runtime.set(func() { s.runtime.down = true })
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
		s.runtime.set(func() { s.runtime.down = false })
	case n < 942:
		s.replace() //nolint:contextcheck // an engine outlives the time for mischief
	default:
		s.call(func(e *session.Engine) error { return s.readLog(ctx, e, r, id) })
	}
}

// call uses the engine of the present process.
func (s *storm) call(use func(*session.Engine) error) {
	s.engine.RLock()
	defer s.engine.RUnlock()
	s.expect(use(s.Engine))
}

// expect fails the test for an error that a caller cannot be told.
func (s *storm) expect(err error) {
	s.t.Helper()
	for _, known := range []error{
		context.DeadlineExceeded, context.Canceled, db.ErrNotFound, session.ErrNotReady, session.ErrHarness, session.ErrStopping,
		session.ErrCreating, session.ErrRestart, session.ErrEnded, session.ErrAhead, sandbox.ErrUnavailable,
	} {
		if errors.Is(err, known) {
			return
		}
	}
	if err != nil && !strings.Contains(err.Error(), "no before") && !strings.Contains(err.Error(), "no after") {
		s.t.Errorf("unexpected: %v", err)
	}
}

func (s *storm) born(ctx context.Context, e *session.Engine, r *rand.Rand) error {
	var in session.NewSession
	if r.IntN(3) == 0 {
		in.InitialParts = text("initial")
	}
	made, _, err := e.Create(ctx, s.agent, in)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.ids = append(s.ids, made.ID)
	old := ""
	if n := len(s.ids); n > 20 {
		old = s.ids[n-20]
	}
	s.mu.Unlock()
	_, err = e.Stop(ctx, old)
	return err
}

func (s *storm) message(ctx context.Context, e *session.Engine, r *rand.Rand, id string) error {
	p, err := e.Begin(ctx, id, session.Turn{Parts: text("message")})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.accept++
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(300))*time.Millisecond)
	defer cancel()
	_, err = p.Reply(ctx)
	return err
}

func (s *storm) use(ctx context.Context, e *session.Engine, id string) error {
	client, release, err := e.Sandbox(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	res, err := client.Get("http://sandbox/health")
	if err == nil {
		_ = res.Body.Close()
	}
	return nil
}

func (s *storm) readLog(ctx context.Context, e *session.Engine, r *rand.Rand, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(20))*time.Millisecond)
	defer cancel()
	f, err := e.Feed(ctx, id, 0)
	if err != nil {
		return err
	}
	for next := int64(1); ; {
		events, err := f.Next(ctx)
		if err != nil {
			return err
		}
		for _, ev := range events {
			if ev.Seq != next {
				return fmt.Errorf("event %d, want %d", ev.Seq, next)
			}
			next++
		}
	}
}

// replace ends the process, as it were, and starts another.
func (s *storm) replace() {
	s.engine.RLock()
	stop := s.stop
	s.engine.RUnlock()
	stop()
	s.engine.Lock()
	defer s.engine.Unlock()
	chaos := s.runtime.calm()
	stop() // another one may have been first
	s.stop()
	s.start(s.t)
	s.runtime.set(func() { s.runtime.chaos = chaos })
}

// calm makes the engine work for a while, and returns what does not let it.
func (r *fakeRuntime) calm() func(step, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	chaos := r.chaos
	r.chaos = nil
	return chaos
}

// settle waits until nothing is left to do, and checks what there is then.
func (s *storm) settle() {
	t := s.t
	eventually(t, func() error {
		if open := s.query(t, `SELECT s.id, s.status, s.generation, t.seq, t.status FROM turns t JOIN sessions s ON s.id = t.session_id WHERE t.status IN ('queued', 'running')`); len(open) > 0 {
			return fmt.Errorf("open turns: %q", open)
		}
		if creating := s.query(t, `SELECT id FROM sessions WHERE status = 'creating'`); len(creating) > 0 {
			return fmt.Errorf("creating: %q", creating)
		}
		return nil
	})
	eventually(t, func() error {
		if err := session.Reconcile(s.Engine, t.Context()); err != nil {
			return err
		}
		rows := s.query(t, `SELECT coalesce(container_id, name) FROM sandboxes ORDER BY 1`)
		ids := s.runtime.ids()
		for _, lists := range [][2][]string{{rows, ids}, {ids, rows}} {
			if more := slices.DeleteFunc(slices.Clone(lists[0]), func(id string) bool { return slices.Contains(lists[1], id) }); len(more) > 0 {
				of := s.query(t, `SELECT b.*, s.status, s.revivable, s.generation, s.container_id FROM sandboxes b LEFT JOIN sessions s ON s.id = b.session_id WHERE b.container_id = ?`, more[0])
				return fmt.Errorf("%d rows, %d sandboxes, only in one list: %q; %q", len(rows), len(ids), more, of)
			}
		}
		if left := s.query(t, `SELECT b.name, b.state, s.status FROM sandboxes b LEFT JOIN sessions s ON s.id = b.session_id
			WHERE NOT (b.state = 'warm' OR b.state = 'owned' AND s.container_id = b.container_id AND (s.status = 'ready' OR s.revivable = 1))`); len(left) > 0 {
			return fmt.Errorf("left: %q", left)
		}
		return nil
	})
	if poor := s.query(t, `SELECT id FROM sessions s WHERE status = 'ready' AND NOT EXISTS (SELECT 1 FROM sandboxes WHERE container_id = s.container_id)`); len(poor) > 0 {
		t.Errorf("ready without a sandbox: %q", poor)
	}
	if odd := s.query(t, `SELECT session_id, seq FROM turns WHERE (reply IS NOT NULL) <> (status = 'complete') AND NOT (status = 'failed' AND error = 'the turn was aborted') OR completed_at IS NULL`); len(odd) > 0 {
		t.Errorf("turns without a fate, or with two: %q", odd)
	}
	turns, err := strconv.Atoi(s.query(t, `SELECT count(*) FROM turns`)[0])
	if err != nil || turns < s.accept {
		t.Errorf("%d turns are stored, %d were accepted, %v", turns, s.accept, err)
	}
	held := s.query(t, `SELECT count(*) FROM sessions WHERE status = 'ready' OR revivable = 1`)[0]
	if n := session.Lives(s.Engine); n > atoi(t, held) {
		t.Errorf("%d sessions are held, %s can be", n, held)
	}
	s.runtime.answer(echo)
	for _, id := range s.query(t, `SELECT id FROM sessions WHERE status = 'ready' OR revivable = 1`) {
		s.say(t, id, "are you there?")
	}
	fates := s.query(t, `SELECT status, count(*) FROM turns GROUP BY 1`)
	ends := s.query(t, `SELECT status, count(*) FROM sessions GROUP BY 1`)
	t.Logf("%d turns: %q; sessions: %q", turns, fates, ends)
}

func atoi(tb testing.TB, s string) int {
	tb.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
