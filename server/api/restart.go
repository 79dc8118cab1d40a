package api

import (
	"errors"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"lap/server/session"
)

// restartSession answers POST /sessions/{session_id}/restart when the session is ready
// again, in a new sandbox.
func (a *API) restartSession(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.session(r, p)
	if err != nil {
		return err
	}
	in, err := decodeOptional(w, r, smallBody)
	if err != nil {
		return err
	}
	env := envVars(in)
	hosts := envHosts(in, keysOf(env), nil)
	if err := in.err(); err != nil {
		return err
	}
	id := s.ID
	s, err = a.cfg.Engine.Restart(r.Context(), id, env, hosts)
	if errors.Is(err, session.ErrCreating) {
		return &requestError{http.StatusConflict, "session " + id + " is creating"}
	} else if err != nil {
		return noSession(err, id)
	}
	return a.showSession(w, r, s)
}

// abortTurn answers POST /sessions/{session_id}/abort, also when there is no turn.
func (a *API) abortTurn(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	id := p.ByName("session_id")
	if err := a.cfg.Engine.Abort(r.Context(), id); err != nil {
		return turnError(err, id)
	}
	return reply(w, http.StatusOK, okReply{true})
}

type okReply struct {
	OK bool `json:"ok"`
}
