package session

import (
	"context"
	"errors"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/metrics"
)

// freeze pauses the sandbox of a session that was last seen before the given time, unless
// somebody uses it. That it is about to be paused is noted first, so that a later process
// finds out.
func (e *Engine) freeze(ctx context.Context, s db.Session, before time.Time) error {
	b, err := e.boxOf(e.adopt(s), s, nil) //nolint:contextcheck // following outlives who begins it
	if err != nil || b.session.Generation != s.Generation {
		return ignoreReplaced(err)
	}
	id := deref(s.ContainerID)
	return b.gate.freeze(ctx,
		func(ctx context.Context) error { return e.cfg.Store.Freeze(ctx, s.ID, id, before) },
		func(ctx context.Context) error { return e.cfg.Runtime.Pause(ctx, id) })
}

// thaw lets the sandbox of a session go on.
func (e *Engine) thaw(ctx context.Context, s db.Session) error {
	id := deref(s.ContainerID)
	if err := e.cfg.Runtime.Unpause(ctx, id); err != nil {
		return err
	}
	return ignoreStale(e.cfg.Store.Thaw(ctx, s.ID, id))
}

// rest keeps what sandboxes printed, ends sessions that were idle for too long, and freezes
// the sandboxes of those that may soon be. It is called again and again.
func (e *Engine) rest(ctx context.Context) error {
	saved := e.saveOutputs(ctx)
	if e.cfg.IdleTimeout <= 0 && e.cfg.FreezeAfter <= 0 {
		return saved
	}
	sessions, err := e.cfg.Store.LiveSessions(ctx, "")
	if err != nil {
		return errors.Join(saved, err)
	}
	errs := []error{saved}
	now := e.cfg.Clock.Now()
	for _, s := range sessions {
		if s.Status != db.StatusReady {
			continue
		}
		seen := s.CreatedAt
		if s.LastSeenAt != nil {
			seen = *s.LastSeenAt
		}
		switch idle := now.Sub(seen); {
		case e.cfg.IdleTimeout > 0 && idle > e.cfg.IdleTimeout:
			errs = append(errs, e.endIdle(ctx, s, now.Add(-e.cfg.IdleTimeout)))
		case e.cfg.FreezeAfter > 0 && idle > e.cfg.FreezeAfter:
			err := e.freeze(ctx, s, now.Add(-e.cfg.FreezeAfter))
			if !errors.Is(err, sandbox.ErrGone) { // which is found out by who follows it
				errs = append(errs, ignoreStale(err))
			}
		}
	}
	return errors.Join(errs...)
}

// endIdle ends a session that was last seen before the given time, unless that is true no more.
func (e *Engine) endIdle(ctx context.Context, s db.Session, before time.Time) error {
	err := e.cfg.Store.MarkIdle(ctx, s.ID, s.Generation, before)
	if err != nil {
		return ignoreStale(err)
	}
	e.cfg.Log.InfoContext(ctx, "session ended", "session", s.ID, "reason", "idle timeout")
	e.cfg.Metrics.IdleKilled()
	e.cfg.Metrics.Died(metrics.DeathIdle)
	return e.bury(ctx, s.ID, s.Generation)
}
