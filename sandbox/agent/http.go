//go:build unix

package agent

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
)

// bodyLimit bounds a request, in bytes.
const bodyLimit = 64 << 20

// A handler answers one route. It returns an error only when it has written nothing.
type handler func(w http.ResponseWriter, r *http.Request) error

// A requestError is what the client did wrong.
type requestError struct {
	status  int
	name    string
	message string
}

func (e *requestError) Error() string { return e.message }

func notFound(format string, args ...any) error {
	return &requestError{http.StatusNotFound, "NotFoundError", fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return &requestError{http.StatusBadRequest, "BadRequest", fmt.Sprintf(format, args...)}
}

// ServeHTTP is the only place where an error becomes a response.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h(w, r)
	if err == nil {
		return
	}
	var bad *requestError
	if !errors.As(err, &bad) {
		bad = &requestError{http.StatusInternalServerError, "UnknownError", err.Error()}
	}
	_ = reply(w, bad.status, &Error{Name: bad.name, Data: ErrorData{Message: bad.message}})
}

func reply(w http.ResponseWriter, status int, v any) error {
	body, err := encode(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
	return nil
}

// decode reads a JSON object into v. An empty body leaves v as it is.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		return badRequest("body: %v", err)
	}
	if len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return badRequest("body: %v", err)
	}
	return nil
}

func (a *Agent) unknownRoute(_ http.ResponseWriter, r *http.Request) error {
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

// readSession answers GET /session/{id}.
func (a *Agent) readSession(w http.ResponseWriter, r *http.Request) error {
	s, err := a.session(r)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, s.snapshot())
}

// deleteSession answers DELETE /session/{id} and aborts what the session does.
func (a *Agent) deleteSession(w http.ResponseWriter, r *http.Request) error {
	s, err := a.session(r)
	if err != nil {
		return err
	}
	a.mu.Lock()
	delete(a.sessions, s.id)
	a.mu.Unlock()
	s.end()
	a.bus.publish("session.deleted", sessionChanged{s.id, s.snapshot()})
	return reply(w, http.StatusOK, true)
}

// abort answers POST /session/{id}/abort. There is nothing to abort in an unknown
// session, which is no error.
func (a *Agent) abort(w http.ResponseWriter, r *http.Request) error {
	if s, err := a.session(r); err == nil {
		s.abort()
	}
	return reply(w, http.StatusOK, true)
}

// message answers POST /session/{id}/message when the turn is over. The turn goes on
// when the client leaves.
func (a *Agent) message(w http.ResponseWriter, r *http.Request) error {
	t, err := a.prompt(w, r)
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
func (a *Agent) promptAsync(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.prompt(w, r); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// prompt queues the turn that r asks for.
func (a *Agent) prompt(w http.ResponseWriter, r *http.Request) (*turn, error) {
	s, err := a.session(r)
	if err != nil {
		return nil, err
	}
	var p prompt
	if err := decode(w, r, &p); err != nil {
		return nil, err
	}
	content, err := p.check()
	if err != nil {
		return nil, err
	}
	return s.enqueue(r.Context(), p, content)
}

// listMessages answers GET /session/{id}/message: oldest first, with ?limit=N the
// newest N.
func (a *Agent) listMessages(w http.ResponseWriter, r *http.Request) error {
	s, err := a.session(r)
	if err != nil {
		return err
	}
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
func (a *Agent) readMessage(w http.ResponseWriter, r *http.Request) error {
	s, err := a.session(r)
	if err != nil {
		return err
	}
	id := r.PathValue("msg")
	for _, m := range s.messages() {
		if m.Info.ID == id {
			return reply(w, http.StatusOK, m)
		}
	}
	return notFound("Message not found: %s", id)
}

// session finds the session that the path of r names.
func (a *Agent) session(r *http.Request) (*session, error) {
	id := r.PathValue("id")
	a.mu.Lock()
	defer a.mu.Unlock()
	if s, ok := a.sessions[id]; ok {
		return s, nil
	}
	return nil, notFound("Session not found: %s", id)
}

func (a *Agent) all() []*session {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]*session, 0, len(a.sessions))
	for _, s := range a.sessions {
		list = append(list, s)
	}
	return list
}
