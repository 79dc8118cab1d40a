package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"lap/db"
)

// idleEvent is the type of the event that ends a turn.
const idleEvent = "session.idle"

func isIdle(e db.Event) bool { return e.Type == idleEvent }

func never(db.Event) bool { return false }

// streamEvents answers GET /sessions/{session_id}/events: the rest of a turn.
func (a *API) streamEvents(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, after, err := a.resumed(r, p)
	if err != nil {
		return err
	}
	if s.Status != db.StatusReady {
		return &requestError{http.StatusConflict, "session not ready, status=" + s.Status}
	}
	if s.HarnessSessionID == nil {
		return &requestError{http.StatusServiceUnavailable, "session " + s.ID + " is not fully provisioned"}
	}
	f := a.newFollower(w, r, s.ID, a.timing.events, true)
	defer f.close()
	return f.serve(r, `{"type":"ready"}`, after, isIdle)
}

// streamSession answers GET /sessions/{session_id}/stream: bare events to the end of a
// turn, with follow=1 to the end of the session. It waits for a session to become ready.
func (a *API) streamSession(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, after, err := a.resumed(r, p)
	if err != nil {
		return err
	}
	f := a.newFollower(w, r, s.ID, a.timing.stream, false)
	defer f.close()
	if _, err := a.awaitReady(f.ctx, s); err != nil {
		return err
	}
	isLast := isIdle
	if r.URL.Query().Get("follow") == "1" {
		isLast = never
	}
	return f.serve(r, `{"type":"stream.opened"}`, after, isLast)
}

// resumed returns the session that the path names, and after which of its events the
// client wants to go on.
func (a *API) resumed(r *http.Request, p httprouter.Params) (s db.Session, after int64, err error) {
	if s, err = a.session(r, p); err != nil {
		return s, 0, err
	}
	after, err = resumeAfter(r, s.LastEvent)
	return s, after, err
}

// serve writes hello and then events, to the last one.
func (f *follower) serve(r *http.Request, hello string, after int64, isLast func(db.Event) bool) error {
	feed, err := f.feed(after)
	if err != nil && !errors.Is(err, errNoFeed) {
		return err
	}
	if f.open() == nil && r.Method != http.MethodHead {
		if err == nil {
			err = f.out.say(hello)
		}
		if err == nil {
			err = f.follow(feed, isLast, nil)
		}
		f.finish(err)
	}
	return nil
}

// awaitReady waits until a session, which was read before, is ready, and returns it.
func (a *API) awaitReady(ctx context.Context, s db.Session) (db.Session, error) {
	late := time.NewTimer(a.timing.ready)
	defer late.Stop()
	poll := time.NewTicker(a.timing.poll)
	defer poll.Stop()
	for {
		switch s.Status {
		case db.StatusReady:
			return s, nil
		case db.StatusFailed, db.StatusDead:
			return s, ended(s)
		}
		select {
		case <-poll.C:
		case <-late.C:
			return s, &requestError{http.StatusGatewayTimeout, fmt.Sprintf("session %s not ready within %gs", s.ID, a.timing.ready.Seconds())}
		case <-ctx.Done():
			return s, context.Cause(ctx)
		}
		id := s.ID
		var err error
		if s, err = a.cfg.Store.SessionState(ctx, id); err != nil {
			return s, noSession(err, id)
		}
	}
}

func ended(s db.Session) error {
	return &requestError{http.StatusGone, "session " + s.ID + " is " + s.Status}
}
