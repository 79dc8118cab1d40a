package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"lap/db"
	"lap/sandbox"
)

// A box is the sandbox that a session uses in one generation, with what follows its
// journal.
type box struct {
	session db.Session // as it became ready
	conn    *connection
	thread  *thread
	cancel  context.CancelFunc // ends following
}

// boxOf returns the box of a ready session, making it and beginning to follow its
// journal when this process has none yet. conn is the way to it that is open already,
// nil: none. The error is ErrStopping.
func (e *Engine) boxOf(l *live, s db.Session, conn *connection) (*box, error) {
	l.mu.Lock()
	if b := l.box; b != nil && b.session.Generation >= s.Generation {
		l.mu.Unlock()
		return b, nil
	}
	before := l.box
	if conn == nil {
		conn = newConnection(s.ID, deref(s.ContainerID))
	}
	b := &box{session: s, conn: conn, thread: newThread(e.cfg.Store, s.ID)}
	ctx, cancel := context.WithCancel(e.ctx)
	b.cancel = cancel
	l.box = b
	l.mu.Unlock()
	if before != nil {
		before.close()
	}
	if !e.launch(func(context.Context) { e.follow(ctx, l, b) }) {
		cancel()
		return nil, ErrStopping
	}
	return b, nil
}

// close gives the box up. The sandbox runs on.
func (b *box) close() {
	b.cancel()
	b.conn.close()
}

// reach returns a client to the box's guest, over the open pipe or a new one.
func (e *Engine) reach(ctx context.Context, b *box) (*http.Client, error) {
	return e.client(ctx, b.conn, func(ctx context.Context, client *http.Client) error {
		h, err := guestHealth(ctx, client)
		if err == nil && h.Guest != deref(b.session.GuestID) {
			err = errGuest
		}
		return err
	})
}

func guestHealth(ctx context.Context, client *http.Client) (sandbox.Health, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	var h sandbox.Health
	answer, err := call(ctx, client, http.MethodGet, "/health", nil)
	if err != nil {
		return h, err
	}
	if err := json.Unmarshal(answer, &h); err != nil {
		return h, fmt.Errorf("the guest's health is no JSON: %w", err)
	}
	return h, nil
}

// An access is leave to use a session's sandbox until it is given back.
type access struct {
	session db.Session
	box     *box
	client  *http.Client
	live    *live
}

func (a *access) release() { a.live.gate.leave() }

// usable returns access to the sandbox of a session: awake, connected, and brought back
// if it was lost. The error is db.ErrNotFound, ErrNotReady, ErrTerminal, or ErrHarness.
func (e *Engine) usable(ctx context.Context, l *live) (*access, error) {
	for {
		s, err := e.cfg.Store.Session(ctx, l.id)
		if err != nil {
			return nil, err
		}
		switch {
		case s.Status == db.StatusCreating:
			err = e.awaitReady(ctx, l)
		case s.Status == db.StatusDead && s.Revivable:
			err = e.revive(ctx, l, s)
		case s.Status == db.StatusReady:
			var a *access
			if a, err = e.enter(ctx, l, s); err == nil {
				return a, nil
			}
			if errors.Is(err, sandbox.ErrGone) {
				err = e.lost(ctx, l, s, err)
			}
		default:
			err = ErrNotReady
		}
		if err != nil {
			return nil, err
		}
	}
}

// enter takes access to the sandbox of a ready session.
func (e *Engine) enter(ctx context.Context, l *live, s db.Session) (*access, error) {
	b, err := e.boxOf(l, s, nil)
	if err != nil {
		return nil, err
	}
	if err := l.gate.enter(ctx, func(ctx context.Context) error { return e.thaw(ctx, b.session) }); err != nil {
		return nil, err
	}
	client, err := e.reach(ctx, b)
	if errors.Is(err, sandbox.ErrPaused) { // not by lap, or lap did not come to note it
		if err = e.thaw(ctx, b.session); err == nil {
			client, err = e.reach(ctx, b)
		}
	}
	if err != nil {
		l.gate.leave()
		if errors.Is(err, sandbox.ErrGone) || ctx.Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", ErrHarness, err)
	}
	return &access{session: b.session, box: b, client: client, live: l}, nil
}

// Sandbox gives access to the guest of a session that is ready, or is so when it has
// been woken or brought back. The caller calls release when it is done. Errors:
// db.ErrNotFound, ErrNotReady, ErrHarness, ErrStopping.
func (e *Engine) Sandbox(ctx context.Context, sessionID string) (*http.Client, func(), error) {
	s, err := e.cfg.Store.Session(ctx, sessionID)
	if err != nil {
		return nil, nil, err
	}
	if e.over(s) || s.Status == db.StatusCreating && s.Generation == 1 {
		return nil, nil, ErrNotReady
	}
	a, err := e.usable(ctx, e.adopt(s))
	if err != nil {
		return nil, nil, err
	}
	if err := ignoreStale(e.cfg.Store.Touch(ctx, sessionID)); err != nil {
		a.release()
		return nil, nil, err
	}
	return a.client, a.release, nil
}
