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
	e.cutEgress(ctx, s.ID)
	l.dropBox(s.Generation)
	l.turnsChanged()
	errs := []error{e.saveOutput(ctx, l), e.settle(ctx, s.ID)}
	if !exists {
		errs = append(errs, e.removeSandboxes(ctx, s.ID, s.Generation, ""))
	}
	return errors.Join(errs...)
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

// dropBox gives up the box of a generation, or of an earlier one.
func (l *live) dropBox(generation int64) {
	l.mu.Lock()
	b := l.box
	if b == nil || b.session.Generation > generation {
		l.mu.Unlock()
		return
	}
	l.box = nil
	l.mu.Unlock()
	b.close()
}

// claim makes a session creating again, and begins to bring it up. The error is
// db.ErrStale when somebody else does, or the session is not as c wants it.
func (e *Engine) claim(ctx context.Context, s db.Session, c db.Claim, env map[string]string) (*bringUp, error) {
	c.Deadline = e.cfg.Clock.Now().Add(e.cfg.StartTimeout)
	l := e.hold(s)
	claimed, err := e.cfg.Store.ClaimSession(ctx, s.ID, c)
	if err != nil {
		l.step.Unlock()
		e.letGo(ctx, l)
		return nil, err
	}
	defer l.step.Unlock()
	if env != nil {
		l.setEnv(env)
	}
	l.turnsChanged()
	l.dropBox(s.Generation)
	b := e.newBringUp(l, claimed)
	return b, e.begin(b)
}

// revive brings a session back whose sandbox was lost, and waits until it is ready. The
// error is an ErrHarness that says why it could not.
func (e *Engine) revive(ctx context.Context, s db.Session) error {
	b, err := e.claim(ctx, s, db.Claim{From: []string{db.StatusDead}, Lost: true}, nil)
	if err != nil {
		return ignoreStale(err) // somebody else does, or it was stopped: the caller looks again
	}
	return e.awaitBringUp(ctx, b)
}

// settle stores what the log of a session tells of its thread and the store lacks, when
// nobody appends to it any more: the last turn may have broken off.
func (e *Engine) settle(ctx context.Context, id string) error {
	after, err := e.unsettled(ctx, id)
	if err != nil {
		return err
	}
	thread := newThread(e.cfg.Store, id)
	if err := thread.rebuild(ctx, after); err != nil {
		return err
	}
	messages, removed := thread.flush()
	if len(messages)+len(removed) == 0 {
		return nil
	}
	return ignoreStale(e.cfg.Store.SaveThread(ctx, id, messages, removed))
}

// awaitReady waits until a session that is creating is so no more.
func (e *Engine) awaitReady(ctx context.Context, l *live) error {
	l.mu.Lock()
	b := l.bringUp
	l.mu.Unlock()
	if b == nil {
		sleep(ctx, usablePause) // it is about to be known, or just has ended
		return ctx.Err()
	}
	err := e.awaitBringUp(ctx, b)
	select {
	case <-b.done:
		return nil // the caller looks again
	default:
		return err
	}
}

// awaitBringUp waits for a bring-up and returns why it failed, as an ErrHarness.
func (e *Engine) awaitBringUp(ctx context.Context, b *bringUp) error {
	late := e.cfg.Clock.NewTimer(bringUpWait)
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
// can be had. hosts are what env is bound to; nil: what those names are bound to already.
// Errors: db.ErrNotFound, ErrCreating, ErrRestart.
func (e *Engine) Restart(ctx context.Context, id string, env map[string]string, hosts map[string][]string) (db.Session, error) {
	s, err := e.cfg.Store.SessionState(ctx, id)
	if err != nil {
		return db.Session{}, err
	}
	if s.Status == db.StatusCreating {
		return db.Session{}, ErrCreating
	}
	c := db.Claim{From: []string{db.StatusReady, db.StatusFailed, db.StatusDead}}
	if env != nil { // those that it had and has no more are warned of
		names := slices.AppendSeq(slices.Clone(s.EnvNames), maps.Keys(env))
		slices.Sort(names)
		c.EnvNames, c.EnvHosts = slices.Compact(names), hosts
	} else {
		env = e.recallEnv(ctx, s)
	}
	b, err := e.claim(ctx, s, c, env)
	if errors.Is(err, db.ErrStale) {
		return db.Session{}, ErrCreating
	} else if err != nil {
		return db.Session{}, err
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		return db.Session{}, ctx.Err()
	}
	switch {
	case errors.Is(b.err, ErrStopping):
		return db.Session{}, ErrStopping
	case b.err != nil:
		return db.Session{}, fmt.Errorf("%w: %s", ErrRestart, oneLine(b.err.Error()))
	}
	return e.cfg.Store.Session(ctx, id)
}

// recallEnv returns the per-session variables of a session, as far as they can be had:
// from this process, else from its sandbox.
func (e *Engine) recallEnv(ctx context.Context, s db.Session) map[string]string {
	l := e.adopt(s)
	l.mu.Lock()
	env := l.env
	l.mu.Unlock()
	if env != nil || len(s.EnvNames) == 0 || s.Status != db.StatusReady {
		return env
	}
	a, err := e.enter(ctx, l, s)
	if err == nil {
		defer a.release()
		env, err = e.bootedEnv(ctx, a.client, s.ID, s.EnvNames)
	}
	if err != nil { // the session will have a warning
		e.cfg.Log.WarnContext(ctx, "the session's own env_vars are lost", "session", s.ID, "err", err)
	}
	return env
}

// learnEnv asks a sandbox for the per-session variables that an earlier process gave it.
// They are nowhere else.
func (e *Engine) learnEnv(ctx context.Context, l *live, b *box, client *http.Client) error {
	l.mu.Lock()
	known := l.env != nil || len(b.session.EnvNames) == 0
	l.mu.Unlock()
	if known {
		return nil
	}
	env, err := e.bootedEnv(ctx, client, l.id, b.session.EnvNames)
	if err == nil {
		l.setEnv(env)
	}
	return err
}

func (l *live) setEnv(env map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.env = env
}

// bootedEnv returns the named variables of a session that its sandbox keeps sealed.
func (e *Engine) bootedEnv(ctx context.Context, client *http.Client, sessionID string, names []string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	answer, err := call(ctx, client, http.MethodGet, "/boot", nil)
	if err != nil {
		return nil, err
	}
	var boot sandbox.Boot
	if err := json.Unmarshal(answer, &boot); err != nil {
		return nil, fmt.Errorf("the guest's boot is no JSON: %w", err)
	}
	env, err := e.unseal(sessionID, boot.Sealed)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(env, func(name, _ string) bool { return !slices.Contains(names, name) })
	return env, nil
}
