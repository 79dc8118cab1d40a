package api

import (
	"errors"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"lap/db"
)

// listSessionMemories answers GET /sessions/{session_id}/memory: those of the session's
// agent.
func (a *API) listSessionMemories(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.remembering(r, p)
	if err != nil {
		return err
	}
	return a.memories(w, r, s.AgentID)
}

// createSessionMemory answers POST /sessions/{session_id}/memory.
func (a *API) createSessionMemory(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.remembering(r, p)
	if err != nil {
		return err
	}
	return a.addMemory(w, r, db.Memory{AgentID: s.AgentID, Source: sourceAgent, SourceSessionID: &s.ID})
}

// remembering returns the session that the path names. An agent learns of no session but
// its own, not even that there is none.
func (a *API) remembering(r *http.Request, p httprouter.Params) (db.Session, error) {
	s, err := a.session(r, p)
	who := callerOf(r)
	var bad *requestError
	if who != nil && (errors.As(err, &bad) || err == nil && s.AgentID != who.agent) {
		err = errUnauthorized
	}
	return s, err
}
