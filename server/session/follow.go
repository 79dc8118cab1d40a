package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"lap/db"
	"lap/sandbox"
)

const (
	healthTimeout = 10 * time.Second
	// followPause and followPauseMax are how long to wait before a journal that broke off
	// is asked for again.
	followPause    = 50 * time.Millisecond
	followPauseMax = 5 * time.Second
)

// follow stores what happens in a session's sandbox, until ctx ends or the sandbox is
// lost. It neither wakes a frozen sandbox nor brings a lost one back.
func (e *Engine) follow(ctx context.Context, l *live, b *box) {
	log := e.cfg.Log.With("session", l.id)
	if err := e.takeUp(ctx, l); err != nil && ctx.Err() == nil {
		log.WarnContext(ctx, "what the sandbox printed before is not known", "err", err)
	}
	for pause := followPause; ; pause = min(2*pause, followPauseMax) {
		began := time.Now()
		err := e.followOnce(ctx, l, b)
		switch {
		case ctx.Err() != nil || errors.Is(err, db.ErrStale) || errors.Is(err, db.ErrNotFound):
			return
		case errors.Is(err, sandbox.ErrPaused):
			err = b.gate.found(ctx, func(ctx context.Context) (bool, error) { return e.paused(ctx, b) })
		case errors.Is(err, sandbox.ErrGone):
			if err = e.lost(ctx, l, b.session, err); err == nil {
				return
			}
		}
		if err != nil && ctx.Err() == nil {
			log.DebugContext(ctx, "journal broke off", "err", err)
		}
		if time.Since(began) > followPauseMax {
			pause = followPause
		}
		sleep(ctx, pause)
	}
}

// paused asks the engine whether a sandbox is paused.
func (e *Engine) paused(ctx context.Context, b *box) (bool, error) {
	d, err := e.cfg.Runtime.Inspect(ctx, deref(b.session.ContainerID))
	return d.State == sandbox.StatePaused, err
}

// takeUp makes this process know what a session's sandbox told an earlier one.
func (e *Engine) takeUp(ctx context.Context, l *live) error {
	text, err := e.cfg.Store.Output(ctx, l.id)
	if err != nil {
		return err
	}
	l.output.set(text)
	return nil
}

// rebuild puts together from the log what of the thread is not stored.
func (e *Engine) rebuild(ctx context.Context, b *box) error {
	after, err := e.unsettled(ctx, b.session.ID)
	if err == nil {
		err = b.thread.rebuild(ctx, after)
	}
	b.whole = err == nil
	return err
}

// unsettled returns the newest event before the part of a session's log that may not be
// in its stored thread: that of a turn that runs, or has broken off.
func (e *Engine) unsettled(ctx context.Context, id string) (int64, error) {
	t, err := e.cfg.Store.LastSentTurn(ctx, id)
	if errors.Is(err, db.ErrNotFound) || err == nil && t.Status == db.TurnComplete {
		return math.MaxInt64, nil
	} else if err != nil {
		return 0, err
	}
	return *t.FirstEvent, nil
}

// followOnce reads the journal over one connection. It always ends with an error.
func (e *Engine) followOnce(ctx context.Context, l *live, b *box) error {
	if !b.whole { // or deltas would be put to what they do not belong to
		if err := e.rebuild(ctx, b); err != nil {
			return err
		}
	}
	if err := b.gate.thawed(ctx); err != nil {
		return err
	}
	client, err := e.dialGently(ctx, b)
	if err != nil {
		return err
	}
	if err := e.learnEnv(ctx, l, b, client); err != nil {
		e.cfg.Log.WarnContext(ctx, "the session's own env_vars are not known", "session", l.id, "err", err)
	}
	s, err := e.cfg.Store.SessionState(ctx, l.id)
	if err != nil {
		return err
	}
	if s.Generation != b.session.Generation || s.Status != db.StatusReady {
		return db.ErrStale
	}
	path := fmt.Sprintf("/journal?guest=%s&after=%d", deref(s.GuestID), s.Journal)
	res, err := send(ctx, client, http.MethodGet, path, nil)
	var refused *statusError
	if errors.As(err, &refused) && refused.status == http.StatusGone {
		return errGuest
	} else if err != nil {
		return err
	}
	defer res.Body.Close()
	j := &journal{engine: e, live: l, box: b, client: client, at: s.Journal, acked: s.Journal}
	b.whole = false
	err = j.read(ctx, res.Body)
	l.turnsChanged() // a write that was reported as failed may have ended one
	if !errors.Is(err, db.ErrStale) && ctx.Err() == nil {
		err = errors.Join(err, e.rebuild(ctx, b)) // what was read and not stored is read again
	}
	return err
}

// dialGently reaches the box, but lets those go first that somebody waits for: after a
// start there may be hundreds to reach.
func (e *Engine) dialGently(ctx context.Context, b *box) (*http.Client, error) {
	opened := b.conn.next()
	if client := b.conn.current(); client != nil {
		return client, nil
	}
	select {
	case e.reconnecting <- struct{}{}:
		defer func() { <-e.reconnecting }()
	case <-opened: // by who uses it, and waits for what the journal tells
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return e.reach(ctx, b)
}
