package session

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"lap/db"
)

// Stop ends a session at its user's wish and removes its sandbox before it returns. A
// session that is dead already is left as it is. A sandbox that cannot be removed now
// is removed by a later reconcile. The error is db.ErrNotFound.
func (e *Engine) Stop(ctx context.Context, id string) (db.Session, error) {
	s, err := e.cfg.Store.EndSession(ctx, id)
	if err != nil {
		return db.Session{}, err
	}
	if l := e.find(id); l != nil {
		l.cancel()
		if l.bringUp != nil {
			<-l.bringUp // it removes what it made
		}
		e.forget(l)
	}
	if err := e.removeSandbox(ctx, s); err != nil {
		e.cfg.Log.ErrorContext(ctx, "sandbox not removed, the next reconcile tries again", "session", id, "err", err)
	}
	return s, nil
}

// EndAgent ends every session of an agent that is about to be deleted.
func (e *Engine) EndAgent(ctx context.Context, agentID string) error {
	sessions, err := e.cfg.Store.LiveSessions(ctx, agentID)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
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
