package api

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"lap/db"
	"lap/server/session"
)

// What ends a stream without its last event. The texts are part of the API.
var (
	errTimeout     = errors.New("stream timeout")
	errInterrupted = errors.New("event stream interrupted")
	errRefused     = errors.New("prompt_async failed")
	errNoFeed      = errors.New("harness event stream failed")
)

// A follower is a client that reads a session's events as they come.
type follower struct {
	api     *API
	session string
	out     sse
	ctx     context.Context // ends with the client, with the time it has, and with EndStreams
	cancel  func()
	tasks   sync.WaitGroup
	ping    *time.Ticker
	touch   *time.Ticker
}

// newFollower begins a stream of at most the given length. Nothing is written before
// open. The caller closes it.
func (a *API) newFollower(w http.ResponseWriter, r *http.Request, id string, length time.Duration, wrap bool) *follower {
	ctx, cancel := a.streamContext(r.Context(), length)
	return &follower{
		api: a, session: id, ctx: ctx, cancel: cancel,
		out:  sse{w: w, rc: http.NewResponseController(w), limit: a.timing.write, wrap: wrap},
		ping: time.NewTicker(a.timing.ping), touch: time.NewTicker(a.timing.touch),
	}
}

// streamContext is the context of a stream: its cause is errTimeout after the given
// time, session.ErrStopping after EndStreams.
func (a *API) streamContext(parent context.Context, length time.Duration) (context.Context, func()) {
	timed, cancelTimed := context.WithTimeoutCause(parent, length, errTimeout)
	ctx, cancel := context.WithCancelCause(timed)
	stop := a.atEnd(func() { cancel(session.ErrStopping) })
	return ctx, func() {
		stop()
		cancel(nil)
		cancelTimed()
	}
}

// atEnd calls end when EndStreams is, unless stop comes before.
func (a *API) atEnd(end func()) (stop func() bool) { return context.AfterFunc(a.ending, end) }

// close ends what the follower began.
func (f *follower) close() {
	f.cancel()
	f.tasks.Wait()
	f.ping.Stop()
	f.touch.Stop()
}

// open sends the headers. It counts as activity of the session.
func (f *follower) open() error {
	if f.out.opened {
		return nil
	}
	f.api.touch(f.ctx, f.session)
	return f.out.open()
}

// touch notes activity on a session.
func (a *API) touch(ctx context.Context, id string) {
	err := a.cfg.Store.Touch(ctx, id)
	if err != nil && !errors.Is(err, db.ErrStale) && ctx.Err() == nil {
		a.cfg.Log.WarnContext(ctx, "activity not noted", "session", id, "err", err)
	}
}

// feed opens the session's log after the given event; -1: from now on.
func (f *follower) feed(after int64) (Feed, error) {
	feed, err := f.api.cfg.Engine.Feed(f.ctx, f.session, after)
	switch {
	case err == nil:
		f.out.last = feed.After()
	case errors.Is(err, db.ErrNotFound) && !f.out.opened:
		return nil, noSession(err, f.session)
	default:
		f.logError(err)
		err = errNoFeed
	}
	return feed, err
}

// logError notes what is nobody's doing.
func (f *follower) logError(err error) {
	if f.ctx.Err() == nil && !errors.Is(err, session.ErrEnded) && !errors.Is(err, session.ErrStopping) {
		f.api.cfg.Log.ErrorContext(f.ctx, "event stream broke off", "session", f.session, "err", err)
	}
}

// A batch is what was read at a time, or why nothing was.
type batch struct {
	events []db.Event
	err    error
}

// read reads feed until it ends or the follower does.
func (f *follower) read(feed Feed) <-chan batch {
	batches := make(chan batch)
	f.tasks.Go(func() {
		for {
			events, err := feed.Next(f.ctx)
			select {
			case batches <- batch{events, err}:
			case <-f.ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	return batches
}

// follow writes what feed reads, to the event of which isLast says so. What comes from
// reply, if anything, ends it a little later at most, and is its outcome then.
func (f *follower) follow(feed Feed, isLast func(db.Event) bool, reply <-chan error) error {
	batches := f.read(feed)
	var outcome error
	var grace <-chan time.Time
	for {
		select {
		case b := <-batches:
			if b.err != nil && grace != nil {
				return outcome
			}
			if b.err != nil {
				f.logError(b.err)
				return b.err
			}
			if over, err := f.out.events(b.events, isLast); over || err != nil {
				return err
			}
		case outcome = <-reply:
			reply, grace = nil, time.After(f.api.timing.grace)
		case <-grace:
			return outcome
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		case <-f.ping.C:
			if err := f.out.ping(); err != nil {
				return err
			}
		case <-f.touch.C:
			f.api.touch(f.ctx, f.session)
		}
	}
}

// finish writes how the stream ended, for those who still read it. Bare streams tell
// only of faults.
func (f *follower) finish(err error) {
	bare := !f.out.wrap
	switch {
	case err == nil && bare, errors.Is(err, errTimeout) && bare:
	case err == nil:
		_ = f.out.say(`{"type":"done"}`) // who is gone needs no end
	case errors.Is(err, errTimeout), errors.Is(err, errRefused), errors.Is(err, errNoFeed):
		_ = f.out.say(`{"type":"error","message":"` + err.Error() + `"}`)
	default:
		_ = f.out.say(`{"type":"error","message":"` + errInterrupted.Error() + `"}`)
	}
}
