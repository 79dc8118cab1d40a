package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/julienschmidt/httprouter"

	"lap/db"
	"lap/server/session"
)

// maxSessionSkills is how many skills of its own a session has at most.
const maxSessionSkills = 10

// createSession answers POST /agents/{agent_id}/session, before the session is up.
func (a *API) createSession(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	agent, err := a.agent(r, p)
	if err != nil {
		return err
	}
	body, err := readBody(w, r, messageBody)
	if err != nil {
		return err
	}
	want, err := sessionRequest(r, agent.ID, body)
	if err != nil {
		return err
	}
	skills, err := a.cfg.Store.SkillsByID(r.Context(), want.SkillIDs)
	if err != nil {
		return err
	}
	if len(skills) < len(want.SkillIDs) {
		return errNoSkills
	}
	var answer []byte // with a key, the one that is kept
	if want.Once != nil {
		want.Once.Answer = func(s db.Session) (_ []byte, err error) {
			answer, err = newEncoder().encode(a.sessionReply(s, db.Spent{}))
			return answer, err
		}
	}
	s, again, err := a.cfg.Engine.Create(r.Context(), agent, want)
	if err != nil {
		return noAgent(err, agent.ID)
	}
	if again != nil {
		w.Header().Set(replayed, "true")
		answer = again
	}
	if answer == nil {
		return reply(w, http.StatusCreated, a.sessionReply(s, db.Spent{}))
	}
	writeJSON(w, http.StatusCreated, answer)
	return nil
}

// sessionRequest reads the session that a request on an agent asks for.
func sessionRequest(r *http.Request, agentID string, body []byte) (session.NewSession, error) {
	in, err := parseOptional(body)
	if err != nil {
		return session.NewSession{}, err
	}
	want := newSession(in)
	if err := in.err(); err != nil {
		return session.NewSession{}, err
	}
	want.Once, err = once(r, "create:"+agentID, "session", body)
	return want, err
}

// newSession reads the session that a request describes.
func newSession(in *object) session.NewSession {
	want := session.NewSession{Title: in.Text("title"), Env: envVars(in), SkillIDs: sessionSkillIDs(in)}
	names := keysOf(want.Env)
	want.EnvPlain, want.EnvHosts = envPlain(in, names), envHosts(in, names, nil)
	budget(in).set(&want.Budget)
	want.InitialParts = userTurn(in.Text("initial_prompt"), attachments(in, "initial_attachments"))
	return want
}

// sessionSkillIDs reads the member skill_ids of a session: each id once.
func sessionSkillIDs(in *object) []string {
	given := in.Array("skill_ids")
	if len(given) > maxSessionSkills {
		in.fail("skill_ids", "at most %d, has %d", maxSessionSkills, len(given))
	}
	var ids []string
	for _, v := range given {
		id, ok := v.text()
		switch {
		case ok && (len(id) != len(uuid.Nil.String()) || uuid.Validate(id) != nil):
			v.fail("%q is not a UUID", clip(id))
		case ok && !slices.Contains(ids, id):
			ids = append(ids, id)
		}
	}
	return ids
}

// listSessions answers GET /sessions.
func (a *API) listSessions(w http.ResponseWriter, r *http.Request, _ httprouter.Params) error {
	q := r.URL.Query()
	p := parsePage(q)
	query := db.SessionQuery{Limit: p.limit, Offset: p.offset}
	if id := q.Get("agent_id"); id != "" {
		query.AgentID = &id
	}
	for status := range strings.SplitSeq(strings.Join(q["status"], ","), ",") {
		if status = strings.TrimSpace(status); status != "" {
			query.Statuses = append(query.Statuses, status)
		}
	}
	rows, total, err := a.cfg.Store.Sessions(r.Context(), query)
	if err != nil {
		return err
	}
	spent, err := a.cfg.Store.SpentOf(r.Context(), idsOf(rows, func(s db.Session) string { return s.ID }))
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, list(p, rows, total, func(s db.Session) sessionReply { return a.sessionReply(s, spent[s.ID]) }))
}

// readSession answers GET /sessions/{session_id}, also for a session that has ended.
func (a *API) readSession(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.session(r, p)
	if err != nil {
		return err
	}
	return a.showSession(w, r, s)
}

// showSession answers with a session as it is.
func (a *API) showSession(w http.ResponseWriter, r *http.Request, s db.Session) error {
	spent, err := a.cfg.Store.SessionSpent(r.Context(), s.ID)
	if err != nil {
		return noSession(err, s.ID)
	}
	return reply(w, http.StatusOK, a.sessionReply(s, spent))
}

// sessionState is session without its response, which may be large.
func (a *API) sessionState(r *http.Request, p httprouter.Params) (db.Session, error) {
	id := p.ByName("session_id")
	s, err := a.cfg.Store.SessionState(r.Context(), id)
	return s, noSession(err, id)
}

// session returns the session that the path names.
func (a *API) session(r *http.Request, p httprouter.Params) (db.Session, error) {
	id := p.ByName("session_id")
	s, err := a.cfg.Store.Session(r.Context(), id)
	return s, noSession(err, id)
}

func noSession(err error, id string) error { return missing(err, "session %s not found", id) }

// deleteSession answers DELETE /sessions/{session_id}. The row and its history stay.
func (a *API) deleteSession(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	id := p.ByName("session_id")
	if _, err := a.cfg.Engine.Stop(r.Context(), id); err != nil {
		return noSession(err, id)
	}
	return noContent(w)
}

// stopSession answers POST /sessions/{session_id}/stop.
func (a *API) stopSession(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	id := p.ByName("session_id")
	s, err := a.cfg.Engine.Stop(r.Context(), id)
	if err != nil {
		return noSession(err, id)
	}
	return reply(w, http.StatusOK, struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	}{s.ID, s.Status})
}
