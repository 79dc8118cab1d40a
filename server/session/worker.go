package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lap/db"
)

const (
	// settle bounds the writes that end a turn whose own time is over.
	settle = 10 * time.Second
	// abortTimeout bounds how long a harness may take to end a turn.
	abortTimeout = 5 * time.Second
	// turnAccept bounds how long a guest may take to accept a turn.
	turnAccept = 30 * time.Second
	// beat is how often a session with a running turn is noted as active.
	beat = 15 * time.Second
	// sendPause is how long to wait before a turn is handed to a guest again.
	sendPause = 100 * time.Millisecond
)

// work makes sure that the open turns of a session are carried out. False means that lap
// is stopping; they stay in the store.
func (e *Engine) work(l *live) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again = true
	if l.working {
		return true
	}
	l.working = e.launch(func(ctx context.Context) { e.carryAll(ctx, l) })
	return l.working
}

// carryAll carries out turns, one after the other, until none is open.
func (e *Engine) carryAll(ctx context.Context, l *live) {
	for {
		l.mu.Lock()
		l.working, l.again = l.again && ctx.Err() == nil, false
		goOn := l.working
		l.mu.Unlock()
		if !goOn {
			return
		}
		for ctx.Err() == nil {
			t, err := e.cfg.Store.NextTurn(ctx, l.id)
			if errors.Is(err, db.ErrNotFound) {
				break
			}
			if err == nil {
				err = e.carry(ctx, l, t)
			}
			if err != nil && ctx.Err() == nil {
				e.cfg.Log.ErrorContext(ctx, "turn not carried on, it is tried again", "session", l.id, "err", err)
				sleep(ctx, followPauseMax)
			}
		}
	}
}

// carry takes one turn to its end, and makes sure that it has one. The error is one of
// the store.
func (e *Engine) carry(ctx context.Context, l *live, t db.Turn) error {
	ctx, cancel := context.WithDeadline(ctx, t.DeadlineAt)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	l.mu.Lock()
	l.head = &heading{seq: t.Seq, cancel: stop}
	whole := l.whole[t.Seq]
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.head = nil
		delete(l.whole, t.Seq)
		l.mu.Unlock()
	}()
	defer l.turnsChanged()
	err := e.deliver(ctx, l, t, whole)
	if err == nil {
		err = e.awaitEnd(ctx, l, t.Seq)
	}
	if err == nil || e.ctx.Err() != nil { // a turn that lap does not wait for goes on in its sandbox
		return nil
	}
	return e.giveUp(ctx, l, t.Seq, err)
}

// giveUp ends a turn that could not be carried out, or not in time.
func (e *Engine) giveUp(ctx context.Context, l *live, seq int64, cause error) error {
	late := errors.Is(ctx.Err(), context.DeadlineExceeded)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()
	if late {
		cause = fmt.Errorf("no reply within %s", e.cfg.TurnTimeout)
	}
	err := e.cfg.Store.EndTurn(ctx, l.id, seq, db.TurnFailed, oneLine(cause.Error()))
	if errors.Is(err, db.ErrStale) { // over already
		return nil
	} else if err != nil || !late {
		return err
	}
	s, err := e.cfg.Store.Session(ctx, l.id)
	if err != nil || s.Status != db.StatusReady {
		return err
	}
	a, err := e.enter(ctx, l, s)
	if err == nil {
		err = abort(ctx, a)
		a.release()
	}
	if err != nil {
		e.cfg.Log.WarnContext(ctx, "late turn not aborted", "session", l.id, "err", err)
	}
	return nil
}

// awaitEnd waits until a turn that was sent is over, keeping its session active and
// awake. Its outcome comes with the journal.
func (e *Engine) awaitEnd(ctx context.Context, l *live, seq int64) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		changed := l.turns()
		t, err := e.cfg.Store.Turn(ctx, l.id, seq)
		if err != nil || !t.Open() {
			return err
		}
		select {
		case <-changed:
		case <-tick.C:
			if err := ignoreStale(e.cfg.Store.Touch(ctx, l.id)); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sleep waits, but not longer than ctx lasts.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// ignoreStale drops the error of a step that somebody else has taken already.
func ignoreStale(err error) error {
	if errors.Is(err, db.ErrStale) {
		return nil
	}
	return err
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
