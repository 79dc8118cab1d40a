package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"lap/clock"
	"lap/db"
	"lap/sandbox"
	"lap/server/metrics"
)

// helperAge is how old a container without a session must be to be nobody's: younger
// ones may be helping to copy lap.
const helperAge = time.Minute

// reconcileLoop brings rows and sandboxes into step, at once and then again and again.
func (e *Engine) reconcileLoop(ctx context.Context) error {
	return repeat(ctx, e.cfg.Clock, e.cfg.Reconcile, func() { e.reconcileNow(ctx) })
}

func (e *Engine) reconcileNow(ctx context.Context) {
	began := time.Now()
	if err := e.reconcile(ctx); err != nil && ctx.Err() == nil {
		e.cfg.Log.WarnContext(ctx, "reconcile", "err", err)
	}
	e.cfg.Metrics.Reconciled(time.Since(began))
	e.pool.wake()
}

// restLoop ends and freezes idle sessions, and keeps what their sandboxes printed.
func (e *Engine) restLoop(ctx context.Context) error {
	every := e.cfg.Reconcile
	for _, d := range []time.Duration{e.cfg.IdleTimeout, e.cfg.FreezeAfter} {
		if d > 0 {
			every = min(every, max(d/4, 100*time.Millisecond))
		}
	}
	return repeat(ctx, e.cfg.Clock, every, func() { e.restNow(ctx) })
}

func (e *Engine) restNow(ctx context.Context) {
	if err := e.rest(ctx); err != nil && ctx.Err() == nil {
		e.cfg.Log.WarnContext(ctx, "idle sessions", "err", err)
	}
}

// CatchUp does at once what is done from time to time: sessions that have been idle for too
// long are ended or frozen when it returns, and rows and sandboxes are in step.
func (e *Engine) CatchUp(ctx context.Context) {
	e.awaitLateTurns(ctx)
	e.restNow(ctx)
	e.reconcileNow(ctx)
}

// lateTurns is how long turns are waited for whose time has come.
const lateTurns = 2 * time.Second

// awaitLateTurns waits until turns that are over their deadline have ended, as they are just
// being told, so that their sessions count as idle.
func (e *Engine) awaitLateTurns(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lateTurns)
	defer cancel()
	for _, l := range e.lives() {
		for ctx.Err() == nil {
			turn, err := e.cfg.Store.NextTurn(ctx, l.id)
			if err != nil || turn.DeadlineAt.After(e.cfg.Clock.Now()) {
				break
			}
			sleep(ctx, 5*time.Millisecond)
		}
	}
}

// repeat runs fn at once and then again and again, until ctx ends.
func repeat(ctx context.Context, c *clock.Clock, every time.Duration, fn func()) error {
	tick := c.NewTicker(every)
	defer tick.Stop()
	for {
		fn()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Recover takes up what an earlier process left: bring-ups begin anew, turns go on, and
// ready sessions are followed. It must return before the first Create.
func (e *Engine) Recover(ctx context.Context) error {
	if err := e.pool.abandon(ctx); err != nil {
		return err
	}
	sessions, err := e.cfg.Store.LiveSessions(ctx, "")
	if err != nil {
		return err
	}
	frozen, err := e.frozen(ctx)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if s.Status == db.StatusCreating {
			err = e.resumeBringUp(ctx, s)
		} else {
			err = e.takeOver(ctx, s, frozen[deref(s.ContainerID)])
		}
		if err != nil {
			return err
		}
	}
	return e.resumeTurns(ctx)
}

// takeOver follows a ready session that an earlier process brought up.
func (e *Engine) takeOver(ctx context.Context, s db.Session, frozen bool) error {
	b, err := e.boxOf(e.adopt(s), s, nil) //nolint:contextcheck // following outlives who begins it
	if err != nil || !frozen {
		return err
	}
	return b.gate.found(ctx, func(context.Context) (bool, error) { return true, nil }) // or it is thawed in vain
}

// frozen returns the engine's ids of the sandboxes that lap has paused.
func (e *Engine) frozen(ctx context.Context) (map[string]bool, error) {
	rows, err := e.cfg.Store.Sandboxes(ctx)
	ids := map[string]bool{}
	for _, b := range rows {
		if b.Frozen && b.ContainerID != nil {
			ids[*b.ContainerID] = true
		}
	}
	return ids, err
}

// resumeBringUp begins the bring-up anew that an earlier process did not end. One that
// needs variables which went with that process fails.
func (e *Engine) resumeBringUp(ctx context.Context, s db.Session) error {
	if len(s.EnvNames) > 0 && s.Generation == 1 && !e.knowsEnv(s.ID) { // later, some of its history is worth more than the variables
		return ignoreStale(e.cfg.Store.MarkFailed(ctx, s.ID, s.Generation, interrupted))
	}
	_, err := e.claim(ctx, s, db.Claim{From: []string{db.StatusCreating}, Lost: s.Revivable}, nil)
	return ignoreStale(err)
}

// knowsEnv reports whether this process has the per-session variables of a session.
func (e *Engine) knowsEnv(id string) bool {
	l := e.find(id)
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.env != nil
}

// resumeTurns goes on with the turns that an earlier process accepted.
func (e *Engine) resumeTurns(ctx context.Context) error {
	ids, err := e.cfg.Store.BusySessions(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		s, err := e.cfg.Store.SessionState(ctx, id)
		if err != nil {
			return err
		}
		if s.Status != db.StatusCreating { // else its bring-up goes on with them
			e.work(e.adopt(s))
		}
	}
	return nil
}

// reconcile compares the sandboxes of this installation with its rows, both ways. Rows
// are read before the sandboxes are, and again after where that matters, so that one in
// the making is never misjudged.
func (e *Engine) reconcile(ctx context.Context) error {
	before, err := e.cfg.Store.LiveSessions(ctx, "")
	if err != nil {
		return err
	}
	boxes, err := e.cfg.Runtime.List(ctx)
	if errors.Is(err, sandbox.ErrUnavailable) {
		return nil // said at start, and by every session that needs one
	} else if err != nil {
		return err
	}
	errs := []error{
		e.failOverdue(ctx, before), e.takeUpForsaken(ctx, before),
		e.removeStrays(ctx, boxes), e.removeLeft(ctx), e.giveUpLost(ctx), e.sweep(ctx, before),
	}
	running := map[string]bool{}
	for _, box := range boxes {
		running[box.ID] = box.Running()
	}
	for _, s := range before {
		if s.Status == db.StatusReady && !running[deref(s.ContainerID)] {
			errs = append(errs, e.disappeared(ctx, s))
		}
	}
	return errors.Join(errs...)
}

// disappeared notes a ready session whose sandbox was seen not to run.
func (e *Engine) disappeared(ctx context.Context, s db.Session) error {
	now, err := e.cfg.Store.SessionState(ctx, s.ID)
	if errors.Is(err, db.ErrNotFound) || err == nil && (now.Generation != s.Generation || now.Status != db.StatusReady) {
		return nil
	} else if err != nil {
		return err
	}
	e.cfg.Metrics.GhostKilled()
	return e.lost(ctx, e.adopt(now), now, errors.New("it does not run"))
}

// failOverdue fails the sessions that are creating for too long although nobody in this
// process brings them up; else who does fails them.
func (e *Engine) failOverdue(ctx context.Context, sessions []db.Session) error {
	var errs []error
	for _, s := range sessions {
		if s.Status != db.StatusCreating || s.DeadlineAt == nil || e.cfg.Clock.Now().Before(s.DeadlineAt.Add(grace)) {
			continue
		}
		err := e.cfg.Store.MarkFailed(ctx, s.ID, s.Generation, errStalled.Error())
		if err == nil {
			e.cfg.Metrics.CreatingFailed()
			e.cfg.Metrics.Died(metrics.DeathCreating)
			err = e.bury(ctx, s.ID, s.Generation)
		}
		errs = append(errs, ignoreStale(err))
	}
	return errors.Join(errs...)
}

// forsakenAge is how long a session may be creating before its bring-up begins.
const forsakenAge = 5 * time.Second

// takeUpForsaken goes on with bring-ups and turns that are in the store and that nobody
// in this process carries out: a commit that was reported as failed may have come to pass.
func (e *Engine) takeUpForsaken(ctx context.Context, sessions []db.Session) error {
	e.awaitBirths() // or a jump of the clock makes one look forsaken that is just being created
	var errs []error
	for _, s := range sessions {
		if s.Status == db.StatusCreating && e.cfg.Clock.Since(s.CreatingSince) > forsakenAge && !e.broughtUp(s.ID) {
			errs = append(errs, e.resumeBringUp(ctx, s))
		}
	}
	return errors.Join(append(errs, e.resumeTurns(ctx))...)
}

// awaitBirths waits until all sessions that are stored by now are known in live.
func (e *Engine) awaitBirths() {
	e.births.Lock()
	defer e.births.Unlock()
}

// broughtUp reports whether this process brings a session up.
func (e *Engine) broughtUp(id string) bool {
	l := e.find(id)
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bringUp != nil
}

// grace is how long after its time a bring-up may still be about to notice.
const grace = 30 * time.Second

// removeStrays removes every sandbox that no row knows: its row would have been there
// before it.
func (e *Engine) removeStrays(ctx context.Context, boxes []sandbox.Info) error {
	rows, err := e.cfg.Store.Sandboxes(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, box := range boxes {
		known := slices.ContainsFunc(rows, func(b db.Sandbox) bool { return b.Name == box.Name || deref(b.ContainerID) == box.ID })
		if !known && (box.Session != "" || time.Since(box.Created) > helperAge) {
			errs = append(errs, e.cfg.Runtime.Remove(ctx, box.ID))
		}
	}
	return errors.Join(errs...)
}

// removeLeft removes the sandboxes whose removal did not come to its end, and those of
// sessions that have moved on without them.
func (e *Engine) removeLeft(ctx context.Context) error {
	rows, err := e.cfg.Store.Sandboxes(ctx)
	errs := []error{err}
	for _, b := range rows {
		if b.WarmKey != nil && (b.State == db.SandboxMaking || b.State == db.SandboxWarm) { // the pool's business
			continue
		}
		stale, err := e.stale(ctx, b)
		if err == nil && stale {
			err = e.remove(ctx, b)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// stale reports whether nobody has, or is about to have, a use for a sandbox. Its row is
// read again after its session was: the session may be moving on just now.
func (e *Engine) stale(ctx context.Context, b db.Sandbox) (bool, error) {
	if b.State == db.SandboxRemoving {
		return true, nil
	}
	s, err := e.cfg.Store.SessionState(ctx, b.SessionID)
	switch {
	case errors.Is(err, db.ErrNotFound):
		return true, nil
	case err != nil || s.Status == db.StatusCreating:
		return false, err
	}
	rows, err := e.cfg.Store.SessionSandboxes(ctx, b.SessionID)
	i := slices.IndexFunc(rows, func(now db.Sandbox) bool { return now.Name == b.Name })
	if err != nil || i < 0 || rows[i].Generation > s.Generation {
		return false, err
	}
	inUse := rows[i].State == db.SandboxOwned && !e.over(s) && deref(s.ContainerID) == deref(rows[i].ContainerID)
	if inUse && s.Status == db.StatusDead { // what was left of it may be gone as well
		_, err := e.cfg.Runtime.Inspect(ctx, deref(s.ContainerID))
		return errors.Is(err, sandbox.ErrGone), nil
	}
	return !inUse, nil
}

// giveUpLost lets go of what is left of the sandboxes of sessions that nobody has brought
// back for as long as a session may be idle.
func (e *Engine) giveUpLost(ctx context.Context) error {
	if e.cfg.IdleTimeout <= 0 {
		return nil
	}
	lost, err := e.cfg.Store.LostSessions(ctx, e.cfg.Clock.Now().Add(-e.cfg.IdleTimeout))
	errs := []error{err}
	for _, s := range lost {
		err := e.cfg.Store.GiveUp(ctx, s.ID, s.Generation)
		if err == nil {
			err = e.bury(ctx, s.ID, s.Generation)
		}
		errs = append(errs, ignoreStale(err))
	}
	return errors.Join(errs...)
}
