package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/julienschmidt/httprouter"

	"lap/server/session"
)

// sendMessage answers POST /sessions/{session_id}/message when the turn is over.
func (a *API) sendMessage(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	id := p.ByName("session_id")
	if _, err := a.cfg.Store.Session(r.Context(), id); err != nil {
		return notReady(err, id)
	}
	in, err := decode(w, r, messageBody)
	if err != nil {
		return err
	}
	parts := turnParts(in)
	if err := in.err(); err != nil {
		return err
	}
	answer, err := a.cfg.Engine.Message(r.Context(), id, parts)
	switch {
	case errors.Is(err, session.ErrTerminal):
		return invalid("the session's harness is a terminal and takes no messages: connect to its tty_url")
	case errors.Is(err, session.ErrNotReady):
		return &requestError{http.StatusNotFound, "session " + id + " not found or not ready"}
	case err != nil:
		return notReady(err, id)
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
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
	rows := thread[min(pg.offset, len(thread)):]
	rows = rows[:min(pg.limit, len(rows))]
	return reply(w, http.StatusOK, list(pg, rows, len(thread), func(raw json.RawMessage) json.RawMessage { return raw }))
}
