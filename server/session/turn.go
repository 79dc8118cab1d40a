package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"lap/db"
	"lap/sandbox"
)

// Begin accepts a user turn: when it returns the turn is stored, and it will be sent when
// those before it are over, also when the caller leaves. Turns of one session run one at
// a time, in the order in which they came. A session whose sandbox was lost is brought
// back for it.
//
// Errors: db.ErrNotFound, db.ErrKeyReused, ErrNotReady, ErrTerminal, ErrStopping.
func (e *Engine) Begin(ctx context.Context, id string, in Turn) (*Pending, error) {
	s, err := e.cfg.Store.SessionState(ctx, id)
	if err != nil {
		return nil, err
	}
	if h, ok := sandbox.LookupHarness(s.HarnessID); ok && h.Kind == sandbox.KindTUI {
		return nil, ErrTerminal
	}
	row, err := newTurn(in.Parts, e.cfg.Clock.Now().Add(e.cfg.TurnTimeout))
	if err != nil {
		return nil, err
	}
	row.Request, row.Once = in.Request, in.Once
	l := e.hold(s)
	t, again, err := e.cfg.Store.AddTurn(ctx, id, row)
	if err == nil && !again && row.Lossy {
		l.keepWhole(t.Seq, in.Parts)
	}
	l.step.Unlock()
	if err != nil || !t.Open() {
		e.letGo(ctx, l) // it may be over, and was asked for a turn that it had
	}
	switch {
	case errors.Is(err, db.ErrStale):
		return nil, ErrNotReady
	case err != nil:
		return nil, err
	}
	if t.Open() && !e.work(l) {
		return nil, ErrStopping
	}
	return &Pending{engine: e, live: l, seq: t.Seq}, nil
}

// keepWhole keeps the parts of a turn for the worker that will send it.
func (l *live) keepWhole(seq int64, parts []json.RawMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.whole[seq] = parts
}

// forgetTurn drops what is kept of a turn, as it is over.
func (l *live) forgetTurn(seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.whole, seq)
	delete(l.aborts, seq)
}

// newTurn is a user turn as it is stored.
func newTurn(parts []json.RawMessage, deadline time.Time) (db.NewTurn, error) {
	stored, lossy, err := withoutImages(parts)
	return db.NewTurn{Parts: stored, Lossy: lossy, Preview: preview(parts), Deadline: deadline}, err
}

// A Pending is a turn that was accepted.
type Pending struct {
	engine *Engine
	live   *live
	seq    int64
}

// Started waits until the turn is on its way to the harness and returns the newest event
// before it. The error, an ErrHarness, says why it never will be.
func (p *Pending) Started(ctx context.Context) (int64, error) {
	t, err := p.await(ctx, func(t db.Turn) bool { return t.FirstEvent != nil })
	if err != nil {
		return 0, err
	}
	if t.FirstEvent == nil {
		return 0, outcome(t)
	}
	return *t.FirstEvent, nil
}

// Reply waits until the turn is over and returns the harness's reply, {"info", "parts"}.
// The error is an ErrHarness that says why there is none, ErrStopping, or that of ctx.
func (p *Pending) Reply(ctx context.Context) (json.RawMessage, error) {
	t, err := p.await(ctx, func(db.Turn) bool { return false })
	if err != nil {
		return nil, err
	}
	if t.Reply == nil {
		return nil, outcome(t)
	}
	return t.Reply, nil
}

// outcome is why a turn that is over has no reply.
func outcome(t db.Turn) error {
	return fmt.Errorf("%w: %s", ErrHarness, deref(t.Error))
}

// await waits until the turn is over, or as enough says.
func (p *Pending) await(ctx context.Context, enough func(db.Turn) bool) (db.Turn, error) {
	for {
		changed := p.live.turns()
		t, err := p.engine.cfg.Store.Turn(ctx, p.live.id, p.seq)
		if errors.Is(err, db.ErrNotFound) { // its agent was deleted
			err = fmt.Errorf("%w: the session was stopped", ErrHarness)
		}
		if err != nil || !t.Open() || enough(t) {
			return t, err
		}
		if err := p.wait(ctx, changed, t); err != nil {
			return db.Turn{}, err
		}
	}
}

// wait waits until a turn may have changed. One whose time runs out in the queue, behind
// another that has more, is ended here.
func (p *Pending) wait(ctx context.Context, changed <-chan struct{}, t db.Turn) error {
	var late <-chan time.Time
	if t.Status == db.TurnQueued {
		clock := p.engine.cfg.Clock
		timer := clock.NewTimer(clock.Until(t.DeadlineAt))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-changed:
		return nil
	case <-late:
		err := p.engine.cfg.Store.CancelTurn(ctx, t.SessionID, t.Seq, p.engine.lateReason())
		if err == nil {
			p.live.forgetTurn(t.Seq)
		}
		p.live.turnsChanged()
		return ignoreStale(err)
	case <-ctx.Done():
		return ctx.Err()
	case <-p.engine.ctx.Done():
		return ErrStopping
	}
}

func (e *Engine) lateReason() string { return fmt.Sprintf("no reply within %s", e.cfg.TurnTimeout) }

// Message is Begin and Reply.
func (e *Engine) Message(ctx context.Context, id string, parts []json.RawMessage) (json.RawMessage, error) {
	p, err := e.Begin(ctx, id, Turn{Parts: parts})
	if err != nil {
		return nil, err
	}
	return p.Reply(ctx)
}

// Abort ends the turn that a session carries out, also while it waits for a sandbox to
// come back. That there is none is no error. Errors: db.ErrNotFound, ErrNotReady,
// ErrHarness.
func (e *Engine) Abort(ctx context.Context, id string) error {
	s, err := e.cfg.Store.SessionState(ctx, id)
	if err != nil {
		return err
	}
	t, err := e.cfg.Store.NextTurn(ctx, id)
	switch {
	case err != nil && !errors.Is(err, db.ErrNotFound):
		return err
	case s.Status != db.StatusReady && (err != nil || s.Status == db.StatusCreating && s.Generation == 1 || e.over(s)):
		return ErrNotReady
	case errors.Is(err, db.ErrNotFound):
		return nil
	}
	l := e.adopt(s)
	head := l.abort(t.Seq)
	if t.Status == db.TurnQueued {
		err := e.cfg.Store.CancelTurn(ctx, id, t.Seq, errAborted.Error())
		if !errors.Is(err, db.ErrStale) {
			if head != nil {
				head.cancel(errAborted)
			}
			l.forgetTurn(t.Seq)
			l.turnsChanged()
			return err
		}
	}
	if head != nil { // the harness cannot abort what is still on its way to it
		select {
		case <-head.taken:
		case <-time.After(abortTimeout):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return e.abortTurn(ctx, l)
}

// abort notes that a turn was aborted. It returns its heading, nil when nobody carries it.
func (l *live) abort(seq int64) *heading {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aborts[seq] = true
	if l.head != nil && l.head.seq == seq {
		return l.head
	}
	return nil
}

// abortTurn makes the harness of a session end what it is doing.
func (e *Engine) abortTurn(ctx context.Context, l *live) error {
	s, err := e.cfg.Store.SessionState(ctx, l.id)
	if err != nil {
		return err
	}
	if s.Status != db.StatusReady { // its harness is gone, and the turn with it
		return nil
	}
	a, err := e.enter(ctx, l, s)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrHarness, err)
	}
	defer a.release()
	if err := abort(ctx, a); err != nil {
		return fmt.Errorf("%w: abort: %w", ErrHarness, err)
	}
	return nil
}

// errAborted is why a turn ended that its user aborted before it was sent.
var errAborted = errors.New("the turn was aborted")
