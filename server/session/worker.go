package session

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"lap/db"
)

const (
	// settleTimeout bounds what ends a turn whose own time is over.
	settleTimeout = 10 * time.Second
	// abortTimeout bounds how long a harness may take to end a turn.
	abortTimeout = 5 * time.Second
	// turnAccept bounds how long a guest may take to accept a turn.
	turnAccept = 30 * time.Second
	// turnAsked bounds how long a guest may take to ask for a turn that it was offered.
	turnAsked = 1500 * time.Millisecond
	// beat is how often a session with a running turn is noted as active.
	beat = 15 * time.Second
	// sendPause and sendPauseMax are how long to wait before a turn is handed to a guest again.
	sendPause    = 50 * time.Millisecond
	sendPauseMax = 5 * time.Second
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
			if errors.Is(err, db.ErrNotFound) || l.forgotten() { // then it belongs to another live
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
	ctx, cancel := e.cfg.Clock.WithDeadline(ctx, t.DeadlineAt)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	head := &heading{seq: t.Seq, cancel: stop, taken: make(chan struct{})}
	whole := l.lead(head)
	defer l.unlead()
	err := e.deliver(ctx, l, t, whole)
	head.settled()
	if err == nil {
		err = e.awaitEnd(ctx, l, t.Seq)
	}
	if e.ctx.Err() != nil { // a turn that lap does not wait for goes on in its sandbox
		return nil
	}
	if err != nil {
		err = e.giveUp(ctx, l, t, err)
	}
	if err == nil {
		l.forgetTurn(t.Seq)
		err = e.noteFirst(ctx, l, t.Seq)
	}
	l.turnsChanged()
	return err
}

// lead notes which turn is carried, and returns its parts, if they are kept.
func (l *live) lead(h *heading) []json.RawMessage {
	l.step.Lock() // who gave it the turn, which is stored, has kept its parts after this
	defer l.step.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head, l.inTurn = h, true
	return l.whole[h.seq]
}

// unlead notes that no turn is carried.
func (l *live) unlead() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head, l.inTurn = nil, false
}

// giveUp ends a turn that could not be carried out, or not in time. The error is one of
// the store.
func (e *Engine) giveUp(ctx context.Context, l *live, t db.Turn, cause error) error {
	late := errors.Is(context.Cause(ctx), context.DeadlineExceeded)
	switch {
	case late:
		cause = errors.New(e.lateReason())
	case ctx.Err() != nil:
		cause = context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	now, err := e.cfg.Store.Turn(ctx, l.id, t.Seq)
	if err == nil {
		err = e.cfg.Store.EndTurn(ctx, l.id, t.Seq, db.TurnFailed, oneLine(cause.Error()))
	}
	switch {
	case errors.Is(err, db.ErrStale) || errors.Is(err, db.ErrNotFound): // over already
		return nil
	case err != nil || now.Status == db.TurnQueued || !late:
		return err
	}
	l.turnsChanged() // who waits need not wait for the harness
	if err := e.abortTurn(ctx, l); err != nil {
		e.cfg.Log.WarnContext(ctx, "late turn not aborted", "session", l.id, "err", err)
	}
	return nil
}

// awaitEnd waits until a turn that was sent is over, and keeps its session active. Its
// outcome comes with the journal. An abort that came before the harness had the turn is
// repeated.
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
			if l.wasAborted(seq) {
				if err := e.abortTurn(ctx, l); err != nil {
					e.cfg.Log.WarnContext(ctx, "turn not aborted", "session", l.id, "err", err)
				}
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
