package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/metrics"
)

// bringUpWait bounds how long a caller waits for a bring-up that another one began.
const bringUpWait = 5 * time.Minute

// lost ends a ready session whose sandbox does not run any more. The next message brings
// it back. cause says how it was found out.
func (e *Engine) lost(ctx context.Context, l *live, s db.Session, cause error) error {
	reason, exists := e.fate(ctx, s)
	err := e.cfg.Store.MarkDead(ctx, s.ID, s.Generation, reason, true)
	if errors.Is(err, db.ErrStale) { // known already, or the session has moved on
		return nil
	} else if err != nil {
		return err
	}
	e.cfg.Log.WarnContext(ctx, "sandbox lost", "session", s.ID, "reason", reason, "err", cause)
	if reason == reasonOOM {
		e.cfg.Metrics.OOMKilled(s.AgentID)
		e.cfg.Metrics.Died(metrics.DeathOOM)
	} else {
		e.cfg.Metrics.Died(metrics.DeathDisappeared)
	}
	l.dropBox(s.Generation)
	l.turnsChanged()
	err = e.saveOutput(ctx, l)
	if !exists {
		err = errors.Join(err, e.removeSandboxes(ctx, s.ID, s.Generation))
	}
	return err
}

const (
	reasonOOM  = "oom killed"
	reasonGone = "task disappeared"
)

// fate says why a sandbox does not run, and whether there is anything left of it.
func (e *Engine) fate(ctx context.Context, s db.Session) (reason string, exists bool) {
	d, err := e.cfg.Runtime.Inspect(ctx, deref(s.ContainerID))
	switch {
	case errors.Is(err, sandbox.ErrGone):
		return reasonGone, false
	case err == nil && d.OOMKilled:
		return reasonOOM, true
	default:
		return reasonGone, true
	}
}

// dropBox gives up the box of a generation, if it is still in use.
func (l *live) dropBox(generation int64) {
	l.mu.Lock()
	b := l.box
	if b == nil || b.session.Generation != generation {
		l.mu.Unlock()
		return
	}
	l.box = nil
	l.mu.Unlock()
	b.close()
	l.gate.reset()
}

// revive brings a session back whose sandbox was lost, and waits until it is ready. The
// error is an ErrHarness that says why it could not.
func (e *Engine) revive(ctx context.Context, l *live, s db.Session) error {
	claimed, container, err := e.cfg.Store.ClaimSession(ctx, s.ID, db.Claim{
		From: []string{db.StatusDead}, Lost: true, Deadline: time.Now().Add(e.cfg.StartTimeout),
	})
	if errors.Is(err, db.ErrStale) {
		return nil // somebody else does, or it was stopped: the caller looks again
	} else if err != nil {
		return err
	}
	b := e.newBringUp(l, claimed)
	b.old, b.lost = deref(container), true
	if err := e.begin(b); err != nil {
		return err
	}
	return e.awaitBringUp(ctx, b)
}

// awaitReady waits until a session that is creating is so no more.
func (e *Engine) awaitReady(ctx context.Context, l *live) error {
	l.mu.Lock()
	b := l.bringUp
	l.mu.Unlock()
	if b != nil {
		return ignoreFailure(e.awaitBringUp(ctx, b)) // the caller looks again
	}
	sleep(ctx, 20*time.Millisecond) // it is about to be known
	return ctx.Err()
}

func ignoreFailure(err error) error {
	if errors.Is(err, ErrHarness) {
		return nil
	}
	return err
}

// awaitBringUp waits for a bring-up and returns why it failed, as an ErrHarness.
func (e *Engine) awaitBringUp(ctx context.Context, b *bringUp) error {
	late := time.NewTimer(bringUpWait)
	defer late.Stop()
	select {
	case <-b.done:
		if b.err != nil {
			return fmt.Errorf("%w: %w", ErrHarness, b.err)
		}
		return nil
	case <-late.C:
		return fmt.Errorf("%w: the sandbox is not back after %s", ErrHarness, bringUpWait)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Restart replaces the sandbox of a session and waits until it is ready. Its
// conversation stays and is told to the fresh one with the next message; files and
// processes are lost. env are per-session variables; nil: those that it had, where they
// can be had. Errors: db.ErrNotFound, ErrCreating, ErrRestart.
func (e *Engine) Restart(ctx context.Context, id string, env map[string]string) (db.Session, error) {
	s, err := e.cfg.Store.Session(ctx, id)
	if err != nil {
		return db.Session{}, err
	}
	if s.Status == db.StatusCreating {
		return db.Session{}, ErrCreating
	}
	l := e.adopt(s)
	if env == nil {
		env = e.recallEnv(ctx, l, s)
	}
	claimed, _, err := e.cfg.Store.ClaimSession(ctx, id, db.Claim{
		From: []string{db.StatusReady, db.StatusFailed, db.StatusDead}, Deadline: time.Now().Add(e.cfg.StartTimeout),
	})
	if errors.Is(err, db.ErrStale) {
		return db.Session{}, ErrCreating
	} else if err != nil {
		return db.Session{}, err
	}
	l = e.adopt(s) // it may have been forgotten meanwhile
	l.setEnv(env)
	l.turnsChanged()
	l.dropBox(s.Generation)
	b := e.newBringUp(l, claimed)
	if err := e.begin(b); err != nil {
		return db.Session{}, err
	}
	if err := e.awaitBringUp(ctx, b); err != nil {
		if ctx.Err() != nil {
			return db.Session{}, err
		}
		return db.Session{}, fmt.Errorf("%w: %w", ErrRestart, b.reason())
	}
	return e.cfg.Store.Session(ctx, id)
}

// recallEnv returns the per-session variables of a session, as far as they can be had.
func (e *Engine) recallEnv(ctx context.Context, l *live, s db.Session) map[string]string {
	l.mu.Lock()
	env := l.env
	l.mu.Unlock()
	if env != nil || len(s.EnvNames) == 0 || s.Status != db.StatusReady {
		return env
	}
	a, err := e.enter(ctx, l, s)
	if err != nil {
		return nil
	}
	defer a.release()
	return bootedEnv(ctx, a.client, s.EnvNames)
}

// learnEnv asks a sandbox for the per-session variables that an earlier process gave it.
// They are nowhere else.
func (e *Engine) learnEnv(ctx context.Context, l *live, b *box, client *http.Client) {
	l.mu.Lock()
	known := l.env != nil || len(b.session.EnvNames) == 0
	l.mu.Unlock()
	if known {
		return
	}
	if env := bootedEnv(ctx, client, b.session.EnvNames); env != nil {
		l.setEnv(env)
	}
}

func (l *live) setEnv(env map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.env = env
}

// bootedEnv returns the named variables of what a sandbox was last booted with; nil when
// it does not tell.
func bootedEnv(ctx context.Context, client *http.Client, names []string) map[string]string {
	answer, err := call(ctx, client, http.MethodGet, "/boot", nil)
	if err != nil {
		return nil
	}
	var boot sandbox.Boot
	if json.Unmarshal(answer, &boot) != nil {
		return nil
	}
	maps.DeleteFunc(boot.Env, func(name, _ string) bool { return !slices.Contains(names, name) })
	if len(boot.Env) == 0 {
		return nil
	}
	return boot.Env
}
