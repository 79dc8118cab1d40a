package session

import (
	"context"
	"errors"
	"fmt"

	"lap/db"
)

// feedPage is how many events a feed hands out at once.
const feedPage = 256

// A Feed reads a session's event log from a place on, in order and without gaps, for as
// long as its reader wants. It holds nothing but that place: a slow reader costs no
// memory, it reads the stored log later.
type Feed struct {
	engine *Engine
	id     string
	after  int64
}

// ErrAhead says that a feed was to begin after an event that does not exist yet.
var ErrAhead = fmt.Errorf("no such event yet")

// Feed returns a feed of the events after the given one, or with -1 of those to come.
// The error is db.ErrNotFound or ErrAhead.
func (e *Engine) Feed(ctx context.Context, sessionID string, after int64) (*Feed, error) {
	s, err := e.cfg.Store.SessionState(ctx, sessionID)
	if err != nil {
		return nil, err
	}
	if after > s.LastEvent {
		return nil, fmt.Errorf("%w: the newest event is %d", ErrAhead, s.LastEvent)
	}
	if after < 0 {
		after = s.LastEvent
	}
	return &Feed{engine: e, id: s.ID, after: after}, nil
}

// After is the event that was read last, or the one that the feed begins after.
func (f *Feed) After() int64 { return f.after }

// Next waits for events after those already read and returns at most feedPage. The error
// is ErrEnded when the session is over and all was read, ErrStopping when lap is.
func (f *Feed) Next(ctx context.Context) ([]db.Event, error) {
	for {
		l := f.engine.find(f.id)
		var more <-chan struct{}
		var held bool
		var events []db.Event
		if l != nil {
			events, held, more = l.hub.after(f.after)
		}
		if !held {
			var err error
			if events, err = f.engine.cfg.Store.Events(ctx, f.id, f.after, feedPage); err != nil {
				return nil, err
			}
		}
		if len(events) > 0 {
			events = events[:min(len(events), feedPage)]
			f.after = events[len(events)-1].Seq
			return events, nil
		}
		if err := f.wait(ctx, l, more); err != nil {
			return nil, err
		}
	}
}

// wait waits until there may be more. A session that this process holds nothing of gets
// no more events until it is brought back, which makes a new live.
func (f *Feed) wait(ctx context.Context, l *live, more <-chan struct{}) error {
	if l == nil {
		s, err := f.engine.cfg.Store.SessionState(ctx, f.id)
		if errors.Is(err, db.ErrNotFound) { // it was deleted, with its log
			return ErrEnded
		} else if err != nil {
			return err
		}
		if f.engine.over(s) {
			if s.LastEvent > f.after {
				return nil // written just before the session ended
			}
			return ErrEnded
		}
		_, _, more = f.engine.adopt(s).hub.after(f.after)
	}
	select {
	case <-more:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-f.engine.ctx.Done():
		return ErrStopping
	}
}
