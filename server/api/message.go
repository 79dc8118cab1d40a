package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/julienschmidt/httprouter"

	"lap/db"
	"lap/server/session"
)

// sendMessage answers POST /sessions/{session_id}/message when the turn is over.
func (a *API) sendMessage(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.messaged(r, p)
	if err != nil {
		return err
	}
	pending, err := a.begin(w, r, s.ID, "message")
	if err != nil {
		return err
	}
	answer, err := pending.Reply(r.Context())
	if err != nil {
		return turnError(err, s.ID)
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// messaged returns the session that a message is sent to, in whatever state.
func (a *API) messaged(r *http.Request, p httprouter.Params) (db.Session, error) {
	id := p.ByName("session_id")
	s, err := a.cfg.Store.SessionState(r.Context(), id)
	return s, notReady(err, id)
}

// begin accepts the message in a request's body. route names the route that asks.
func (a *API) begin(w http.ResponseWriter, r *http.Request, id, route string) (Pending, error) {
	body, err := readBody(w, r, messageBody)
	if err != nil {
		return nil, err
	}
	in, err := parse(body)
	if err != nil {
		return nil, err
	}
	turn := session.Turn{Parts: turnParts(in)}
	if err := in.err(); err != nil {
		return nil, err
	}
	if turn.Once, err = once(r, "turn:"+id, route, body); err != nil {
		return nil, err
	}
	pending, err := a.cfg.Engine.Begin(r.Context(), id, turn)
	return pending, turnError(err, id)
}

// turnError gives the errors of a turn their words. Other errors pass, also nil.
func turnError(err error, id string) error {
	switch {
	case errors.Is(err, session.ErrTerminal):
		return invalid("the session's harness is a terminal and takes no messages: connect to its tty_url")
	case errors.Is(err, session.ErrNotReady):
		return notReady(db.ErrNotFound, id)
	}
	return notReady(err, id)
}

func notReady(err error, id string) error {
	return missing(err, "session %s not found or not ready", id)
}

// turnParts reads a user turn: parts, or text and attachments.
func turnParts(in *object) []json.RawMessage {
	if in.has("parts") {
		for _, name := range []string{"text", "attachments"} {
			if in.has(name) {
				in.fail(name, "cannot go with parts")
			}
		}
		return givenParts(in)
	}
	parts := userTurn(in.Text("text"), attachments(in, "attachments"))
	switch {
	case len(parts) > 0 || in.err() != nil:
	case in.has("text"):
		in.fail("text", "must not be empty without attachments")
	default:
		in.missing("text, attachments or parts")
	}
	return parts
}

// givenParts reads the member parts.
func givenParts(in *object) []json.RawMessage {
	list := in.Array("parts")
	if len(list) == 0 {
		in.fail("parts", "must not be empty")
	}
	parts := make([]json.RawMessage, 0, len(list))
	for _, v := range list {
		o := v.object()
		if o == nil {
			continue
		}
		requiredText(o, "type")
		parts = append(parts, v.raw)
	}
	return parts
}

// listMessages answers GET /sessions/{session_id}/messages.
func (a *API) listMessages(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	id := p.ByName("session_id")
	thread, err := a.cfg.Engine.Messages(r.Context(), id)
	if err != nil {
		return noSession(err, id)
	}
	q := r.URL.Query()
	if q.Get("order") == "desc" {
		thread = slices.Clone(thread)
		slices.Reverse(thread)
	}
	pg := parsePage(q)
	return reply(w, http.StatusOK, list(pg, pageOf(pg, thread), len(thread), func(raw json.RawMessage) json.RawMessage { return raw }))
}
