package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/julienschmidt/httprouter"

	"lap/db"
	"lap/server/session"
)

// maxDetail is how many characters the detail of a phase has at most.
const maxDetail = 500

// reportedPhases are those that a sandbox reports.
var reportedPhases = []string{"cloning_repo", "installing_deps", "harness_listening"}

// reportPhase answers POST /sessions/{session_id}/phase. The bearer token is that of the
// session's sandbox, and no other will do.
func (a *API) reportPhase(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	id := p.ByName("session_id")
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s, err := a.cfg.Store.SessionState(r.Context(), id)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	// The engine looks again; here it keeps strangers from learning what a good body is.
	if err != nil || !session.IsProgressToken(s, token) {
		return phaseError(session.ErrToken)
	}
	in, err := decode(w, r, smallBody)
	if err != nil {
		return err
	}
	phase, detail := in.Required("phase"), in.Text("detail")
	if phase != "" && !slices.Contains(reportedPhases, phase) {
		in.fail("phase", "must be one of %s", strings.Join(reportedPhases, ", "))
	}
	if utf8.RuneCountInString(text(detail)) > maxDetail {
		in.fail("detail", "at most %d characters", maxDetail)
	}
	if err := in.err(); err != nil {
		return err
	}
	ok, err := a.cfg.Engine.Phase(r.Context(), id, token, phase, text(detail))
	if err != nil {
		return phaseError(err)
	}
	return reply(w, http.StatusOK, okReply{ok})
}

// phaseError answers a wrong token. Other errors pass.
func phaseError(err error) error {
	if errors.Is(err, session.ErrToken) {
		return &requestError{http.StatusUnauthorized, session.ErrToken.Error()}
	}
	return err
}
