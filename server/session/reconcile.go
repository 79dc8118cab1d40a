package session

import (
	"context"
	"errors"
	"time"

	"lap/db"
	"lap/sandbox"
)

// reconcileLoop brings rows and sandboxes into step, at once and then again and again.
func (e *Engine) reconcileLoop(ctx context.Context) error {
	tick := time.NewTicker(e.cfg.Reconcile)
	defer tick.Stop()
	for {
		if err := e.reconcile(ctx); err != nil && ctx.Err() == nil {
			e.cfg.Log.WarnContext(ctx, "reconcile", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Recover fails the sessions whose bring-up ended with an earlier process. It must
// return before the first Create.
func (e *Engine) Recover(ctx context.Context) error {
	sessions, err := e.cfg.Store.LiveSessions(ctx, "")
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if s.Status != db.StatusCreating {
			continue
		}
		err := e.cfg.Store.MarkFailed(ctx, s.ID, s.Generation, interrupted)
		if ignoreStale(err) != nil {
			return err
		}
	}
	return nil
}

// reconcile compares the sandboxes of this installation with its sessions, both ways.
// Sessions that should have a sandbox are read before the sandboxes are, and sessions
// that a sandbox may belong to after, so that one in the making is never misjudged.
func (e *Engine) reconcile(ctx context.Context) error {
	before, err := e.cfg.Store.LiveSessions(ctx, "")
	if err != nil {
		return err
	}
	sandboxes, err := e.cfg.Runtime.List(ctx)
	if errors.Is(err, sandbox.ErrUnavailable) {
		return nil // said at start, and by every session that needs one
	} else if err != nil {
		return err
	}
	after, err := e.cfg.Store.LiveSessions(ctx, "")
	if err != nil {
		return err
	}
	running, err := e.removeOrphans(ctx, sandboxes, after)
	errs := []error{err}
	for _, s := range before {
		if s.Status == db.StatusReady && !running[s.ID] {
			errs = append(errs, e.disappeared(ctx, s))
		}
	}
	return errors.Join(errs...)
}

// removeOrphans removes every sandbox that belongs to no live session and returns the
// sessions whose sandbox runs.
func (e *Engine) removeOrphans(ctx context.Context, sandboxes []sandbox.Info, sessions []db.Session) (map[string]bool, error) {
	bySession := make(map[string]db.Session, len(sessions))
	for _, s := range sessions {
		bySession[s.ID] = s
	}
	var errs []error
	running := map[string]bool{}
	for _, box := range sandboxes {
		s, known := bySession[box.Session]
		switch {
		case known && belongs(box, s):
			running[box.Session] = box.Running
		case box.Session == "" && time.Since(box.Created) < time.Minute: // a helper that is at work
		default:
			errs = append(errs, e.cfg.Runtime.Remove(ctx, box.ID))
		}
	}
	return running, errors.Join(errs...)
}

// belongs reports whether a sandbox is the one that a live session has, or may be
// about to note.
func belongs(box sandbox.Info, s db.Session) bool {
	return s.ContainerID == nil && s.Status == db.StatusCreating || s.ContainerID != nil && *s.ContainerID == box.ID
}

// disappeared ends a ready session whose sandbox was seen not to run.
func (e *Engine) disappeared(ctx context.Context, s db.Session) error {
	now, err := e.cfg.Store.Session(ctx, s.ID)
	if errors.Is(err, db.ErrNotFound) || err == nil && now.Generation != s.Generation {
		return nil
	} else if err != nil {
		return err
	}
	if err := e.cfg.Store.MarkLost(ctx, s.ID, s.Generation, "task disappeared"); err != nil {
		return ignoreStale(err)
	}
	if l := e.find(s.ID); l != nil {
		e.forget(l)
	}
	return e.removeSandbox(ctx, s)
}
