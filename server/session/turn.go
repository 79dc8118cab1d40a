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
	s, err := e.cfg.Store.Session(ctx, id)
	if err != nil {
		return nil, err
	}
	if h, ok := sandbox.LookupHarness(s.HarnessID); ok && h.Kind == sandbox.KindTUI {
		return nil, ErrTerminal
	}
	row, err := newTurn(in.Parts, e.cfg.TurnTimeout)
	if err != nil {
		return nil, err
	}
	row.Request, row.Once = in.Request, in.Once
	l := e.takes(s)
	l.mu.Lock() // so that the worker finds the whole parts of every turn it finds
	t, again, err := e.cfg.Store.AddTurn(ctx, id, row)
	if err == nil && !again && row.Lossy {
		l.whole[t.Seq] = in.Parts
	}
	l.mu.Unlock()
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

// takes returns the live that a turn of a session goes to. Of a session that is over this
// process keeps none: it can only be asked for a turn that it had.
func (e *Engine) takes(s db.Session) *live {
	if e.over(s) {
		return newLive(s)
	}
	return e.adopt(s)
}

// newTurn is a user turn as it is stored.
func newTurn(parts []json.RawMessage, limit time.Duration) (db.NewTurn, error) {
	stored, lossy, err := withoutImages(parts)
	return db.NewTurn{Parts: stored, Lossy: lossy, Preview: preview(parts), Deadline: time.Now().Add(limit)}, err
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
		select {
		case <-changed:
		case <-ctx.Done():
			return db.Turn{}, ctx.Err()
		case <-p.engine.ctx.Done():
			return db.Turn{}, ErrStopping
		}
	}
}

// Message is Begin and Reply.
func (e *Engine) Message(ctx context.Context, id string, parts []json.RawMessage) (json.RawMessage, error) {
	p, err := e.Begin(ctx, id, Turn{Parts: parts})
	if err != nil {
		return nil, err
	}
	return p.Reply(ctx)
}

// Abort ends the turn that a session carries out. That there is none is no error. Errors:
// db.ErrNotFound, ErrNotReady, ErrHarness.
func (e *Engine) Abort(ctx context.Context, id string) error {
	s, err := e.cfg.Store.Session(ctx, id)
	if err != nil {
		return err
	}
	if s.Status != db.StatusReady {
		return ErrNotReady
	}
	l := e.adopt(s)
	t, err := e.cfg.Store.NextTurn(ctx, id)
	if errors.Is(err, db.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	l.mu.Lock()
	if l.head != nil && l.head.seq == t.Seq {
		l.head.aborted = true
		if t.Status == db.TurnQueued {
			l.head.cancel(errAborted)
		}
	}
	l.mu.Unlock()
	if t.Status == db.TurnQueued {
		err := e.cfg.Store.EndTurn(ctx, id, t.Seq, db.TurnFailed, errAborted.Error())
		l.turnsChanged()
		if !errors.Is(err, db.ErrStale) {
			return err
		} // it was sent meanwhile
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
