package session

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"lap/db"
)

// stopWait bounds how long a stop waits for a bring-up to undo what it made.
const stopWait = 20 * time.Second

// Stop ends a session at its user's wish and removes its sandbox before it returns. A
// session that is dead already is left as it is. A sandbox that cannot be removed now
// is removed by a later reconcile. The error is db.ErrNotFound.
func (e *Engine) Stop(ctx context.Context, id string) (db.Session, error) {
	s, err := e.cfg.Store.EndSession(ctx, id)
	if err != nil {
		return db.Session{}, err
	}
	if l := e.find(id); l != nil {
		l.turnsChanged() // who waits for a turn need not wait for the sandbox to be removed
	}
	if err := e.bury(ctx, id, s.Generation); err != nil {
		e.cfg.Log.ErrorContext(ctx, "sandbox not removed, the next reconcile tries again", "session", id, "err", err)
	}
	return s, nil
}

// bury removes what is left of a session that was over in a generation. It may have been
// restarted since.
func (e *Engine) bury(ctx context.Context, id string, generation int64) error {
	e.cutEgress(ctx, id) // at once: what follows may take its time
	e.births.Lock()      // a session that is just being created is known after this
	l := e.find(id)
	e.births.Unlock()
	undo := context.WithoutCancel(ctx)
	errs := []error{e.settle(undo, id)}
	if l != nil {
		e.cancelBringUp(ctx, l, generation)
		errs = append(errs, e.forget(undo, l), e.saveOutput(undo, l))
	}
	return errors.Join(append(errs, e.removeSandboxes(ctx, id, generation, ""))...)
}

// cancelBringUp ends a bring-up of a generation, or of an earlier one, and waits until it
// has removed what it made.
func (e *Engine) cancelBringUp(ctx context.Context, l *live, generation int64) {
	l.mu.Lock()
	b := l.bringUp
	l.mu.Unlock()
	if b == nil || b.session.Generation > generation {
		return
	}
	b.cancel(db.ErrStale)
	late := time.NewTimer(stopWait)
	defer late.Stop()
	select {
	case <-b.done:
	case <-late.C:
		e.cfg.Log.WarnContext(ctx, "bring-up does not end; it removes its sandbox when it does", "session", l.id)
	}
}

// saveOutput keeps what a sandbox printed last.
func (e *Engine) saveOutput(ctx context.Context, l *live) error {
	text, dirty := l.output.take()
	if !dirty {
		return nil
	}
	err := e.cfg.Store.SaveOutput(ctx, l.id, text)
	if err != nil {
		l.output.keep()
	}
	return err
}

// saveOutputs is saveOutput for all sessions.
func (e *Engine) saveOutputs(ctx context.Context) error {
	var errs []error
	for _, l := range e.lives() {
		errs = append(errs, e.saveOutput(ctx, l))
	}
	return errors.Join(errs...)
}

// removeSandboxes removes all sandboxes of a session that were made up to a generation,
// but the one with the given engine's id.
func (e *Engine) removeSandboxes(ctx context.Context, sessionID string, generation int64, but string) error {
	ctx = context.WithoutCancel(ctx)
	rows, err := e.cfg.Store.SessionSandboxes(ctx, sessionID)
	errs := []error{err}
	for _, b := range rows {
		if b.Generation <= generation && (but == "" || deref(b.ContainerID) != but) {
			errs = append(errs, e.remove(ctx, b))
		}
	}
	return errors.Join(errs...)
}

// remove removes one sandbox. That it is about to is noted first, so that a later process
// goes on with it.
func (e *Engine) remove(ctx context.Context, b db.Sandbox) error {
	ctx = context.WithoutCancel(ctx)
	if err := e.cfg.Store.CondemnSandbox(ctx, b.Name); err != nil {
		return err
	}
	id := b.Name // of one that may not have been made
	if b.ContainerID != nil {
		id = *b.ContainerID
	}
	if err := e.cfg.Runtime.Remove(ctx, id); err != nil {
		return err
	}
	return e.cfg.Store.ForgetSandbox(ctx, b.Name)
}

// DeleteAgent ends every session of an agent, removes their sandboxes and those of the
// pool that were meant for it, and deletes the agent. From its beginning on the agent
// takes no new sessions. The error is db.ErrNotFound.
func (e *Engine) DeleteAgent(ctx context.Context, agentID string) error {
	e.setEnding(agentID, true)
	defer e.setEnding(agentID, false)
	if err := e.endSessions(ctx, agentID); err != nil {
		return err
	}
	if err := e.cfg.Store.DeleteAgent(ctx, agentID); err != nil {
		return err
	}
	e.pool.dismiss(ctx, agentID)
	return nil
}

func (e *Engine) setEnding(agentID string, ending bool) {
	e.births.Lock()
	defer e.births.Unlock()
	if ending {
		e.ending[agentID]++
	} else if e.ending[agentID]--; e.ending[agentID] == 0 {
		delete(e.ending, agentID)
	}
}

func (e *Engine) endSessions(ctx context.Context, agentID string) error {
	sessions, err := e.cfg.Store.LiveSessions(ctx, agentID)
	if err != nil {
		return err
	}
	lost, err := e.cfg.Store.LostSessions(ctx, e.cfg.Clock.Now().Add(time.Hour)) // all of them
	if err != nil {
		return err
	}
	for _, s := range lost {
		if s.AgentID == agentID {
			sessions = append(sessions, s)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, s := range sessions {
		g.Go(func() error {
			_, err := e.Stop(ctx, s.ID)
			if errors.Is(err, db.ErrNotFound) {
				return nil
			}
			return err
		})
	}
	return g.Wait()
}
