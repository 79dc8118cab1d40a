package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/prompt"
)

const (
	// settle bounds the writes that end a turn whose own time is over.
	settle = 10 * time.Second
	// abortTimeout bounds how long a harness may take to end a turn.
	abortTimeout = 5 * time.Second
)

// Message sends one user turn and returns the harness's reply, {"info", "parts"}, when
// the turn is over. Turns of one session run one at a time, in the order in which they
// came. A caller whose ctx ends does not end the turn.
//
// Errors: db.ErrNotFound, ErrNotReady, ErrTerminal, ErrHarness, ErrStopping.
func (e *Engine) Message(ctx context.Context, id string, parts []json.RawMessage) (json.RawMessage, error) {
	s, err := e.ready(ctx, id)
	if err != nil {
		return nil, err
	}
	l := e.adopt(s)
	return e.startTurn(ctx, &turn{engine: e, live: l, parts: parts}, l.turns.join())
}

// ready returns a session that takes messages.
func (e *Engine) ready(ctx context.Context, id string) (db.Session, error) {
	s, err := e.cfg.Store.Session(ctx, id)
	if err != nil {
		return db.Session{}, err
	}
	if h, ok := sandbox.LookupHarness(s.HarnessID); ok && h.Kind == sandbox.KindTUI {
		return db.Session{}, ErrTerminal
	}
	if s.Status != db.StatusReady {
		return db.Session{}, ErrNotReady
	}
	return s, nil
}

// A turn is one user message on its way.
type turn struct {
	engine *Engine
	live   *live
	parts  []json.RawMessage
}

// startTurn runs t when it is its turn, as part of the engine, and waits for it.
func (e *Engine) startTurn(ctx context.Context, t *turn, p place) (json.RawMessage, error) {
	type outcome struct {
		reply json.RawMessage
		err   error
	}
	over := make(chan outcome, 1)
	started := e.launch(func(ctx context.Context) {
		defer p.leave()
		ctx, cancel := context.WithTimeout(ctx, e.cfg.TurnTimeout)
		defer cancel()
		select {
		case <-p.turn:
			reply, err := t.run(ctx)
			over <- outcome{reply, err}
		case <-ctx.Done():
			over <- outcome{nil, e.ended()}
		}
	})
	if !started {
		p.leave()
		return nil, ErrStopping
	}
	select {
	case o := <-over:
		return o.reply, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ended says why a turn's context has ended.
func (e *Engine) ended() error {
	if e.ctx.Err() != nil {
		return ErrStopping
	}
	return fmt.Errorf("%w: no reply within %s: %w", ErrHarness, e.cfg.TurnTimeout, context.DeadlineExceeded)
}

// run carries the turn out. Its session may have changed while it waited.
func (t *turn) run(ctx context.Context) (json.RawMessage, error) {
	e := t.engine
	s, err := e.ready(ctx, t.live.id)
	if err != nil {
		e.forget(t.live)
		return nil, err
	}
	stored, err := withoutImages(t.parts)
	if err != nil {
		return nil, err
	}
	seq, first, err := e.cfg.Store.BeginTurn(ctx, s.ID, stored, preview(t.parts))
	if errors.Is(err, db.ErrStale) {
		return nil, ErrNotReady
	} else if err != nil {
		return nil, err
	}
	parts := t.parts
	if first {
		parts = append([]json.RawMessage{preamble(prompt.Preamble(s.ID, e.cfg.BaseURL))}, parts...)
	}
	reply, err := e.exchange(ctx, t.live, s, parts)
	if err != nil {
		return nil, t.fail(ctx, s, seq, err)
	}
	return reply.whole, t.complete(ctx, s, seq, reply)
}

// complete stores the reply, and has what the turn added to the thread stored after it.
func (t *turn) complete(ctx context.Context, s db.Session, seq int64, r reply) error {
	err := t.engine.cfg.Store.CompleteTurn(ctx, s.ID, seq, r.parts, r.whole)
	if errors.Is(err, db.ErrStale) { // the agent was deleted meanwhile
		return ErrNotReady
	}
	if err != nil {
		return err
	}
	t.live.snapshots.Lock() // here, so that who stops the session next waits for it
	started := t.engine.launch(func(ctx context.Context) {
		defer t.live.snapshots.Unlock()
		t.engine.snapshot(ctx, t.live, s, messageID(r.whole))
	})
	if !started {
		t.live.snapshots.Unlock()
	}
	return nil
}

// A reply is what a harness answered to a turn.
type reply struct {
	whole json.RawMessage // always with a parts array
	parts json.RawMessage
}

// exchange sends the turn to the harness, once, and waits for its reply.
func (e *Engine) exchange(ctx context.Context, l *live, s db.Session, parts []json.RawMessage) (reply, error) {
	client, err := e.client(ctx, l, deref(s.ContainerID))
	if err != nil {
		return reply{}, err
	}
	answer, err := call(ctx, client, http.MethodPost, harnessPath(s, "/message"), prompted{Model: gatewayModel(s.Model), Parts: parts})
	if err != nil {
		return reply{}, err
	}
	return parseReply(answer)
}

// harnessPath is a path of the session inside its harness.
func harnessPath(s db.Session, path string) string {
	return "/harness/session/" + url.PathEscape(deref(s.HarnessSessionID)) + path
}

func parseReply(answer []byte) (reply, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(answer, &members); err != nil || members == nil {
		return reply{}, fmt.Errorf("the harness's reply is no JSON object: %.200q", answer)
	}
	if list := members["parts"]; len(list) > 0 && list[0] == '[' {
		return reply{whole: answer, parts: list}, nil
	}
	members["parts"] = json.RawMessage(`[]`)
	whole, err := json.Marshal(members)
	return reply{whole: whole, parts: members["parts"]}, err
}

// fail records a turn that got no reply and returns what its sender is told. A turn
// that the harness refused, or that took too long, is over; one that was interrupted
// stays pending.
func (t *turn) fail(ctx context.Context, s db.Session, seq int64, cause error) error {
	e := t.engine
	if e.ctx.Err() != nil {
		return ErrStopping
	}
	late := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()
	var refused *statusError
	switch {
	case late:
		return errors.Join(e.ended(), e.abort(ctx, t.live, s), ignoreStale(e.cfg.Store.FailTurn(ctx, s.ID, seq)))
	case errors.As(cause, &refused):
		return errors.Join(fmt.Errorf("%w: %w", ErrHarness, cause), ignoreStale(e.cfg.Store.FailTurn(ctx, s.ID, seq)))
	case errors.Is(cause, sandbox.ErrGone):
		return errors.Join(fmt.Errorf("%w: the sandbox is gone", ErrHarness), e.lose(ctx, t.live, s))
	}
	if now, err := e.cfg.Store.Session(ctx, s.ID); err != nil || now.Status != db.StatusReady {
		return fmt.Errorf("%w: the session was stopped", ErrHarness)
	}
	if call, ok := errors.AsType[*url.Error](cause); ok { // its URL means nothing outside
		cause = call.Err
	}
	return fmt.Errorf("%w: the connection to the sandbox broke off: %w", ErrHarness, cause)
}

// abort ends what the harness is doing for a session.
func (e *Engine) abort(ctx context.Context, l *live, s db.Session) error {
	ctx, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	client, err := e.client(ctx, l, deref(s.ContainerID))
	if err != nil {
		return err
	}
	_, err = call(ctx, client, http.MethodPost, harnessPath(s, "/abort"), struct{}{})
	return err
}

// lose ends a session whose sandbox is gone.
func (e *Engine) lose(ctx context.Context, l *live, s db.Session) error {
	err := e.cfg.Store.MarkLost(ctx, s.ID, s.Generation, "sandbox unreachable")
	e.forget(l)
	return errors.Join(ignoreStale(err), e.removeSandbox(ctx, s))
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
