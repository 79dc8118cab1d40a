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
	e.births.Lock() // a session that is just being created is known after this
	l := e.find(id)
	e.births.Unlock()
	if l != nil {
		l.cancel()
		e.awaitBringUp(ctx, l)
		l.snapshots.Lock() // what a finished turn has to store is stored first
		e.forget(l)
		l.snapshots.Unlock()
	}
	if err := e.removeSandbox(ctx, s); err != nil {
		e.cfg.Log.ErrorContext(ctx, "sandbox not removed, the next reconcile tries again", "session", id, "err", err)
	}
	return s, nil
}

// awaitBringUp waits until a cancelled bring-up has removed what it made.
func (e *Engine) awaitBringUp(ctx context.Context, l *live) {
	if l.bringUp == nil {
		return
	}
	late := time.NewTimer(stopWait)
	defer late.Stop()
	select {
	case <-l.bringUp:
	case <-late.C:
		e.cfg.Log.WarnContext(ctx, "bring-up does not end; it removes its sandbox when it does", "session", l.id)
	}
}

// DeleteAgent ends every session of an agent, removes their sandboxes, and deletes the
// agent. From its beginning on the agent takes no new sessions. The error is
// db.ErrNotFound.
func (e *Engine) DeleteAgent(ctx context.Context, agentID string) error {
	e.setEnding(agentID, true)
	defer e.setEnding(agentID, false)
	if err := e.endSessions(ctx, agentID); err != nil {
		return err
	}
	return e.cfg.Store.DeleteAgent(ctx, agentID)
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

func (e *Engine) removeSandbox(ctx context.Context, s db.Session) error {
	if s.ContainerID == nil {
		return nil
	}
	return e.cfg.Runtime.Remove(ctx, *s.ContainerID)
}
