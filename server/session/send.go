package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/prompt"
)

// deliver hands a turn to the guest of its session, once. A turn of an earlier process
// that was sent already is only made sure of to be followed.
func (e *Engine) deliver(ctx context.Context, l *live, t db.Turn, whole []json.RawMessage) error {
	if t.Status == db.TurnRunning {
		return e.resume(ctx, l, t)
	}
	if t.Lossy && whole == nil {
		return errors.New("lap was restarted before the message was sent, and its images are not stored: send it again")
	}
	left := revivals
	for pause := sendPause; ; pause = min(2*pause, sendPauseMax) {
		a, err := e.usable(ctx, l.id, &left)
		if err != nil {
			return err
		}
		err = e.sendTurn(ctx, a, t, whole)
		a.release()
		if !errors.Is(err, errUnsent) {
			return err
		}
		sleep(ctx, pause)
	}
}

// errUnsent says that a turn has surely not reached the guest.
var errUnsent = errors.New("the turn was not sent")

// sendTurn hands a queued turn to a guest. The error wraps errUnsent when it is queued still.
func (e *Engine) sendTurn(ctx context.Context, a *access, t db.Turn, whole []json.RawMessage) error {
	sending, err := e.cfg.Store.SendTurn(ctx, t.SessionID, a.session.Generation, t.Seq)
	if errors.Is(err, db.ErrStale) { // the sandbox was replaced meanwhile, or the turn is over
		if now, err := e.cfg.Store.Turn(ctx, t.SessionID, t.Seq); err != nil || now.Status != db.TurnQueued {
			return err
		}
		return errUnsent
	} else if err != nil {
		return err
	}
	a.live.turnsChanged()
	body, err := e.turnBody(ctx, a.session, t, whole, sending)
	if err != nil {
		return err
	}
	turn := sandbox.Turn{ID: strconv.FormatInt(t.Seq, 10), Path: sessionPath(a.session, "/message"), Body: body}
	arrived, err := postTurn(ctx, a.client, turn)
	switch {
	case err == nil || refused(err):
		return err
	case arrived:
		return e.insist(ctx, a, turn)
	}
	a.silent = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := ignoreStale(e.cfg.Store.UnsendTurn(ctx, t.SessionID, t.Seq)); err != nil {
		return err
	}
	return errUnsent
}

// refused reports whether err is an answer of the guest's, which is final.
func refused(err error) bool {
	var answer *statusError
	return errors.As(err, &answer)
}

// insist hands a turn that may have arrived to the guest again and again, which takes it
// once, until it says so, or is no more.
func (e *Engine) insist(ctx context.Context, a *access, turn sandbox.Turn) error {
	for pause := sendPause; ; pause = min(2*pause, sendPauseMax) {
		sleep(ctx, pause)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		client, err := e.reachAwake(ctx, a.box)
		if errors.Is(err, sandbox.ErrGone) {
			return e.lost(ctx, a.live, a.session, err) // which interrupts the turn
		}
		if err == nil {
			_, err = postTurn(ctx, client, turn)
		}
		if err == nil || refused(err) || errors.Is(err, errReplaced) { // then the turn is interrupted already
			return ignoreReplaced(err)
		}
	}
}

// resume makes sure that the journal is followed which will tell how a turn ended. It
// goes on trying as long as the turn has time: its harness may be at work.
func (e *Engine) resume(ctx context.Context, l *live, t db.Turn) error {
	for pause := sendPause; ; pause = min(2*pause, sendPauseMax) {
		s, err := e.cfg.Store.SessionState(ctx, t.SessionID)
		if err != nil {
			return err
		}
		if s.Status != db.StatusReady || deref(s.HarnessSessionID) != deref(t.HarnessSessionID) {
			return ignoreStale(e.cfg.Store.EndTurn(ctx, t.SessionID, t.Seq, db.TurnInterrupted, "the sandbox was lost while the agent was working"))
		}
		a, err := e.enter(ctx, l, s)
		switch {
		case err == nil:
			err = e.resend(ctx, a, t)
			a.release()
			return err
		case errors.Is(err, sandbox.ErrGone):
			return e.lost(ctx, l, s, err)
		}
		sleep(ctx, pause)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// resend hands a turn to the guest that an earlier process may not have come to hand over.
// The guest takes a turn once; one whose images were left out is then refused by its
// harness.
func (e *Engine) resend(ctx context.Context, a *access, t db.Turn) error {
	body, err := e.turnBody(ctx, a.session, t, nil, db.Sending{Primed: a.session.Primed})
	if err != nil {
		return err
	}
	turn := sandbox.Turn{ID: strconv.FormatInt(t.Seq, 10), Path: sessionPath(a.session, "/message"), Body: body}
	if _, err = postTurn(ctx, a.client, turn); err == nil || refused(err) {
		return err
	}
	return e.insist(ctx, a, turn)
}

// postTurn hands a turn to a guest. arrived is false when nothing of it has left: the
// body goes out only when the guest asks for it.
func postTurn(ctx context.Context, client *http.Client, t sandbox.Turn) (arrived bool, err error) {
	b, err := encode(t)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, turnAccept)
	defer cancel()
	body := &noticed{Reader: bytes.NewReader(b)}
	silence := time.AfterFunc(turnAsked, func() {
		if !body.read.Load() {
			cancel()
		}
	})
	defer silence.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sandbox/turns", body)
	if err != nil {
		return false, err
	}
	req.ContentLength = int64(len(b))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Expect", "100-continue")
	res, err := client.Do(req)
	if err != nil {
		return body.read.Load(), err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		return body.read.Load(), refusalOf(res)
	}
	return true, nil
}

// A noticed is a body that notes whether anything of it was read.
type noticed struct {
	io.Reader
	read atomic.Bool
}

func (n *noticed) Read(b []byte) (int, error) {
	n.read.Store(true)
	return n.Reader.Read(b)
}

// turnBody is a turn as the harness takes it. To a harness session that does not know
// what came before, that is told in the same breath.
func (e *Engine) turnBody(ctx context.Context, s db.Session, t db.Turn, whole []json.RawMessage, sending db.Sending) (json.RawMessage, error) {
	if whole == nil {
		if err := json.Unmarshal(t.Parts, &whole); err != nil {
			return nil, fmt.Errorf("turn %d: %w", t.Seq, err)
		}
	}
	parts := whole
	if !sending.Primed {
		before := []json.RawMessage{preamble(prompt.Preamble(s.ID, e.cfg.BaseURL))}
		history, err := e.history(ctx, s.ID, t.Seq)
		if err != nil {
			return nil, err
		}
		if history != "" {
			before = append(before, preamble(history))
		}
		parts = append(before, parts...)
	}
	body := map[string]any{}
	if t.Request != nil {
		if err := json.Unmarshal(t.Request, &body); err != nil {
			return nil, fmt.Errorf("turn %d: %w", t.Seq, err)
		}
	}
	if body["model"] == nil {
		body["model"] = gatewayModel(s.Model)
	}
	body["parts"] = parts
	return encode(body)
}

// sessionPath is a path of the session inside its harness.
func sessionPath(s db.Session, path string) string {
	return "/session/" + url.PathEscape(deref(s.HarnessSessionID)) + path
}

// harnessPath is sessionPath as the guest serves it.
func harnessPath(s db.Session, path string) string { return "/harness" + sessionPath(s, path) }

// abort ends what the harness is doing for a session.
func abort(ctx context.Context, a *access) error {
	ctx, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	_, err := call(ctx, a.client, http.MethodPost, harnessPath(a.session, "/abort"), struct{}{})
	return err
}
