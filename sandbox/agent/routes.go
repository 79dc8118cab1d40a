package agent

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
)

func (a *Agent) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /global/health":              a.health,
		"GET /event":                      a.events,
		"GET /session":                    a.listSessions,
		"POST /session":                   a.createSession,
		"GET /session/status":             a.status,
		"GET /session/{id}":               a.of(readSession),
		"DELETE /session/{id}":            a.of(deleteSession),
		"POST /session/{id}/abort":        a.abort,
		"POST /session/{id}/message":      a.of(message),
		"POST /session/{id}/prompt_async": a.of(promptAsync),
		"GET /session/{id}/message":       a.of(listMessages),
		"GET /session/{id}/message/{msg}": a.of(readMessage),
		"/":                               unknownRoute,
	} {
		mux.Handle(pattern, h)
	}
	return mux
}

// of adapts a handler that answers for one session.
func (a *Agent) of(h func(s *session, w http.ResponseWriter, r *http.Request) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		s, err := a.session(r)
		if err != nil {
			return err
		}
		return h(s, w, r)
	}
}

func (a *Agent) session(r *http.Request) (*session, error) {
	id := r.PathValue("id")
	a.mu.Lock()
	defer a.mu.Unlock()
	if s, ok := a.sessions[id]; ok {
		return s, nil
	}
	return nil, notFound("Session not found: %s", id)
}

func unknownRoute(_ http.ResponseWriter, r *http.Request) error {
	return notFound("no route %s %s", r.Method, r.URL.Path)
}

// health answers GET /global/health.
func (a *Agent) health(w http.ResponseWriter, _ *http.Request) error {
	return reply(w, http.StatusOK, struct {
		Healthy bool   `json:"healthy"`
		Version string `json:"version"`
	}{true, a.version})
}

// listSessions answers GET /session, newest update first.
func (a *Agent) listSessions(w http.ResponseWriter, _ *http.Request) error {
	list := []Session{}
	for _, s := range a.all() {
		list = append(list, s.snapshot())
	}
	slices.SortFunc(list, func(x, y Session) int {
		return cmp.Or(cmp.Compare(y.Time.Updated, x.Time.Updated), cmp.Compare(y.ID, x.ID))
	})
	return reply(w, http.StatusOK, list)
}

// createSession answers POST /session. Fields it does not know are ignored.
func (a *Agent) createSession(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Title  string `json:"title"`
		Prompt string `json:"prompt"`
	}
	if err := decode(w, r, &req); err != nil {
		return err
	}
	return reply(w, http.StatusOK, a.open(cmp.Or(req.Title, "New session"), req.Prompt).snapshot())
}

// status answers GET /session/status. Idle sessions are absent.
func (a *Agent) status(w http.ResponseWriter, _ *http.Request) error {
	busy := map[string]Status{}
	for _, s := range a.all() {
		if st := s.state(); st.Type != "idle" {
			busy[s.id] = st
		}
	}
	return reply(w, http.StatusOK, busy)
}

// abort answers POST /session/{id}/abort. There is nothing to abort in an unknown
// session, which is no error.
func (a *Agent) abort(w http.ResponseWriter, r *http.Request) error {
	if s, err := a.session(r); err == nil {
		s.abort()
	}
	return reply(w, http.StatusOK, true)
}

// readSession answers GET /session/{id}.
func readSession(s *session, w http.ResponseWriter, _ *http.Request) error {
	return reply(w, http.StatusOK, s.snapshot())
}

// deleteSession answers DELETE /session/{id} and aborts what the session does.
func deleteSession(s *session, w http.ResponseWriter, _ *http.Request) error {
	s.agent.mu.Lock()
	delete(s.agent.sessions, s.id)
	s.agent.mu.Unlock()
	s.end()
	s.tell("session.deleted", Properties{Info: s.snapshot()})
	return reply(w, http.StatusOK, true)
}

// message answers POST /session/{id}/message when the turn is over. The turn goes on
// when the client leaves.
func message(s *session, w http.ResponseWriter, r *http.Request) error {
	t, err := s.accept(w, r)
	if err != nil {
		return err
	}
	select {
	case <-t.done:
		return reply(w, http.StatusOK, t.answer)
	case <-r.Context().Done():
		return nil
	}
}

// promptAsync answers POST /session/{id}/prompt_async at once.
func promptAsync(s *session, w http.ResponseWriter, r *http.Request) error {
	if _, err := s.accept(w, r); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// accept queues the turn that r asks for.
func (s *session) accept(w http.ResponseWriter, r *http.Request) (*turn, error) {
	var p prompt
	if err := decode(w, r, &p); err != nil {
		return nil, err
	}
	said, err := p.check()
	if err != nil {
		return nil, err
	}
	return s.enqueue(r.Context(), p, said)
}

// listMessages answers GET /session/{id}/message: oldest first, with ?limit=N the
// newest N.
func listMessages(s *session, w http.ResponseWriter, r *http.Request) error {
	thread := s.messages()
	if q := r.URL.Query().Get("limit"); q != "" {
		n, err := strconv.Atoi(q)
		if err != nil || n < 0 {
			return badRequest("limit: want a number that is not negative, got %q", q)
		}
		thread = thread[max(0, len(thread)-n):]
	}
	return reply(w, http.StatusOK, thread)
}

// readMessage answers GET /session/{id}/message/{msg}.
func readMessage(s *session, w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("msg")
	for _, m := range s.messages() {
		if m.Info.ID == id {
			return reply(w, http.StatusOK, m)
		}
	}
	return notFound("Message not found: %s", id)
}
