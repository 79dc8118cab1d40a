package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"lap/db"
	"lap/server/session"
)

// streamMessage answers POST /sessions/{session_id}/message_stream with the events of
// the turn that the message begins. The turn goes on when the client leaves.
func (a *API) streamMessage(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.messaged(r, p)
	if err != nil {
		return err
	}
	after, err := resumeAfter(r, s.LastEvent)
	if err != nil {
		return err
	}
	pending, err := a.begin(w, r, s.ID, "message_stream")
	if err != nil {
		return err
	}
	f := a.newFollower(w, r, s.ID, a.timing.turn, true)
	defer f.close()
	f.out.last = s.LastEvent
	first, err := f.begun(pending)
	if err == nil {
		err = f.turn(pending, first, after)
	}
	if err != nil && !errors.Is(err, errNoFeed) && !f.out.opened {
		return turnError(err, s.ID)
	}
	if f.open() == nil {
		f.finish(err)
	}
	return nil
}

// begun waits until a turn begins and returns the newest event before it. When that
// takes a while, the client gets the headers, and signs of life.
func (f *follower) begun(p Pending) (first int64, err error) {
	soon, cancel := context.WithTimeout(f.ctx, f.api.timing.begin)
	defer cancel()
	first, err = p.Started(soon)
	if !errors.Is(err, context.DeadlineExceeded) {
		return first, f.outcome(err)
	}
	if err := f.open(); err != nil {
		return 0, err
	}
	type start struct {
		first int64
		err   error
	}
	started := make(chan start, 1)
	f.tasks.Go(func() {
		first, err := p.Started(f.ctx)
		started <- start{first, err}
	})
	for {
		select {
		case s := <-started:
			return s.first, f.outcome(refused(s.err))
		case <-f.ping.C:
			if err := f.out.ping(); err != nil {
				return 0, err
			}
		case <-f.ctx.Done():
			return 0, context.Cause(f.ctx)
		}
	}
}

// turn writes the events of a turn that has begun. first is the newest event before it,
// after the one that the client knows.
func (f *follower) turn(p Pending, first, after int64) error {
	was, err := f.api.cfg.Store.SessionState(f.ctx, f.session)
	if err != nil {
		f.logError(err)
		return errNoFeed
	}
	feed, err := f.feed(max(first, after))
	if err == nil {
		err = f.open()
	}
	if err == nil {
		err = f.out.say(`{"type":"ready"}`)
	}
	if err != nil {
		return err
	}
	reply := make(chan error, 1)
	f.tasks.Go(func() {
		_, err := p.Reply(f.ctx)
		reply <- err
	})
	err = f.follow(feed, f.lastOfTurn(p, after > first), reply)
	if errors.Is(err, session.ErrHarness) && f.lost(was) {
		return errInterrupted
	}
	return f.outcome(refused(err))
}

// lastOfTurn returns what knows the last event of a turn. An idle event that comes before
// the user's message or the reply, which is stored by then, belongs to the turn before.
// begun says that the message has come already.
func (f *follower) lastOfTurn(p Pending, begun bool) func(db.Event) bool {
	return func(e db.Event) bool {
		begun = begun || isUserMessage(e)
		return begun && isIdle(e) && f.answered(p)
	}
}

func isUserMessage(e db.Event) bool {
	if e.Type != "message.updated" {
		return false
	}
	var frame struct {
		Properties struct {
			Info struct {
				Role string `json:"role"`
			} `json:"info"`
		} `json:"properties"`
	}
	return json.Unmarshal(e.Body, &frame) == nil && frame.Properties.Info.Role == "user"
}

// answered reports whether a turn is over.
func (f *follower) answered(p Pending) bool {
	ctx, cancel := context.WithTimeout(f.ctx, f.api.timing.answer)
	defer cancel()
	_, err := p.Reply(ctx)
	return ctx.Err() == nil || err == nil
}

// lost reports whether a session has lost the sandbox that it had.
func (f *follower) lost(was db.Session) bool {
	is, err := f.api.cfg.Store.SessionState(f.ctx, f.session)
	return err != nil || is.Status != db.StatusReady || is.Generation != was.Generation
}

// refused gives the harness's refusal of a turn its words. Other errors pass, also nil.
func refused(err error) error {
	if errors.Is(err, session.ErrHarness) {
		return errRefused
	}
	return err
}

// outcome is err, or what ended the stream when that is the reason.
func (f *follower) outcome(err error) error {
	if err != nil && f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	return err
}
