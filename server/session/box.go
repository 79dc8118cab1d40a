package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"lap/db"
	"lap/sandbox"
)

// A box is the sandbox that a session uses in one generation, with what follows its
// journal.
type box struct {
	session db.Session // as it became ready
	conn    *connection
	gate    *gate
	thread  *thread
	cancel  context.CancelFunc // ends following
	used    atomic.Int64       // when it was used last, in Unix milliseconds
	whole   bool               // the thread has what the log has, and no more; only following uses it
}

// errReplaced says that a sandbox was given up while somebody was about to use it.
var errReplaced = errors.New("the sandbox was replaced")

func ignoreReplaced(err error) error {
	if errors.Is(err, errReplaced) {
		return nil
	}
	return err
}

// boxOf returns the box of a ready session, making it and beginning to follow its
// journal when this process has none yet. conn is the way to it that is open already,
// which it takes over; nil: none. The error is errReplaced or ErrStopping.
func (e *Engine) boxOf(l *live, s db.Session, conn *connection) (*box, error) {
	if conn == nil {
		conn = newConnection(s.ID, deref(s.ContainerID))
	}
	fresh := &box{session: s, conn: conn, gate: newGate(), thread: newThread(e.cfg.Store, s.ID)}
	ctx, cancel := context.WithCancel(e.ctx)
	fresh.cancel = cancel
	l.mu.Lock()
	before, gone := l.box, l.gone
	known := before != nil && before.session.Generation >= s.Generation
	if !known && !gone {
		l.box = fresh
	}
	l.mu.Unlock()
	switch {
	case gone:
		fresh.close()
		return nil, errReplaced
	case known:
		fresh.close()
		return before, nil
	case before != nil:
		before.close()
	}
	if !e.launch(func(context.Context) { e.follow(ctx, l, fresh) }) {
		fresh.close()
		return nil, ErrStopping
	}
	return fresh, nil
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
	silent  bool // the guest did not answer
}

func (a *access) release() {
	if a.silent {
		a.box.used.Store(0) // so that the next who uses it has a look
	} else {
		a.box.used.Store(time.Now().UnixMilli())
	}
	a.box.gate.leave()
}

const (
	revivals    = 3 // how often a sandbox is brought back for one turn, or one other use of it
	usablePause = 10 * time.Millisecond
)

// usable returns access to the sandbox of a session: awake, connected, and brought back
// if it was lost, which left counts. The error is db.ErrNotFound, ErrNotReady, ErrHarness,
// or ErrStopping.
func (e *Engine) usable(ctx context.Context, id string, left *int) (*access, error) {
	for {
		s, err := e.cfg.Store.SessionState(ctx, id)
		switch {
		case err != nil:
			return nil, err
		case e.ctx.Err() != nil:
			return nil, ErrStopping
		case e.over(s):
			return nil, ErrNotReady
		}
		switch l := e.adopt(s); s.Status {
		case db.StatusCreating:
			err = e.awaitReady(ctx, l)
		case db.StatusDead:
			if *left--; *left < 0 {
				return nil, fmt.Errorf("%w: the sandbox was lost again and again (%s)", ErrHarness, deref(s.FailureReason))
			}
			err = e.revive(ctx, s)
		default:
			var a *access
			if a, err = e.enter(ctx, l, s); err == nil {
				return a, nil
			}
			if errors.Is(err, sandbox.ErrGone) {
				err = e.lost(ctx, l, s, err)
			}
			if err = ignoreReplaced(err); err == nil {
				sleep(ctx, usablePause) // what was found out is about to be known
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// enter takes access to the sandbox of a ready session. The error wraps sandbox.ErrGone,
// ErrHarness, errReplaced or ErrStopping, or is that of ctx.
func (e *Engine) enter(ctx context.Context, l *live, s db.Session) (*access, error) {
	b, err := e.boxOf(l, s, nil) //nolint:contextcheck // following outlives who begins it
	if err != nil {
		return nil, err
	}
	var client *http.Client
	err = b.gate.enter(ctx, func(ctx context.Context) error { return e.thaw(ctx, b.session) })
	if err == nil {
		if client, err = e.reachAwake(ctx, b); err == nil {
			return &access{session: b.session, box: b, client: client, live: l}, nil
		}
		b.gate.leave()
	}
	for _, known := range []error{sandbox.ErrGone, errReplaced, ErrStopping} {
		if errors.Is(err, known) || ctx.Err() != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrHarness, err)
}

// reachAwake is reach for who uses the sandbox: one that was paused, but not by lap, or
// lap did not come to note it, is woken.
func (e *Engine) reachAwake(ctx context.Context, b *box) (*http.Client, error) {
	client, err := e.reach(ctx, b)
	if err == nil && time.Since(time.UnixMilli(b.used.Load())) > quiet {
		err = e.listen(ctx, b, client)
	}
	if errors.Is(err, sandbox.ErrPaused) {
		if err = e.thaw(ctx, b.session); err == nil {
			client, err = e.reach(ctx, b)
		}
	}
	return client, err
}

const (
	quiet         = time.Second // after which a sandbox is listened to before it is used
	listenTimeout = time.Second // for its sign of life
)

// listen finds out whether a sandbox whose pipe is open was paused by somebody else: it
// gives no sign of life. The error wraps sandbox.ErrPaused or sandbox.ErrGone. One that is
// only slow is none.
func (e *Engine) listen(ctx context.Context, b *box, client *http.Client) error {
	short, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	if _, err := guestHealth(short, client); err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	d, err := e.cfg.Runtime.Inspect(ctx, b.conn.containerID)
	if err == nil && d.State == sandbox.StatePaused {
		err = sandbox.ErrPaused
	}
	return err
}

// Sandbox gives access to the guest of a session that is ready, or is so when it has
// been woken or brought back. The caller calls release when it is done. Errors:
// db.ErrNotFound, ErrNotReady, ErrHarness, ErrStopping.
func (e *Engine) Sandbox(ctx context.Context, sessionID string) (*http.Client, func(), error) {
	s, err := e.cfg.Store.SessionState(ctx, sessionID)
	if err != nil {
		return nil, nil, err
	}
	if s.Status == db.StatusCreating && s.Generation == 1 {
		return nil, nil, ErrNotReady
	}
	left := revivals
	a, err := e.usable(ctx, sessionID, &left)
	if err != nil {
		return nil, nil, err
	}
	if err := ignoreStale(e.cfg.Store.Touch(ctx, sessionID)); err != nil {
		a.release()
		return nil, nil, err
	}
	return a.client, a.release, nil
}
