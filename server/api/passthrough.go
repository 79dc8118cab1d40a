package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/julienschmidt/httprouter"

	"lap/db"
	"lap/server/session"
)

var errHarness = &requestError{http.StatusBadGateway, session.ErrHarness.Error()}

// passthrough answers any method on /sessions/{session_id}/opencode/{path}: the
// harness's own API. Messages to the session take the way of all messages, so that they
// are kept and wait for their turn.
func (a *API) passthrough(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.session(r, p)
	if err != nil {
		return err
	}
	path, err := harnessPath(r.URL.EscapedPath())
	if err != nil {
		return err
	}
	if !s.Revivable { // else whatever comes now brings it back
		if s, err = a.awaitReady(r.Context(), s); err != nil {
			return err
		}
	}
	if route, ok := path.send(r.Method, s); ok {
		return a.passMessage(w, r, s, route)
	}
	err = a.passRequest(w, r, s, path)
	if err != nil && path.isThread(r.Method) {
		return a.storedThread(w, r, s, err)
	}
	return err
}

// passMessage begins a turn and answers as a harness does: prompt_async at once, message
// with the reply.
func (a *API) passMessage(w http.ResponseWriter, r *http.Request, s db.Session, route string) error {
	body, err := readBody(w, r, messageBody)
	if err != nil {
		return err
	}
	turn, err := harnessTurn(body)
	if err != nil {
		return err
	}
	if turn.Once, err = once(r, "turn:"+s.ID, "opencode/"+route, body); err != nil {
		return err
	}
	pending, err := a.cfg.Engine.Begin(r.Context(), s.ID, turn)
	if err != nil {
		return turnError(err, s.ID)
	}
	if route == "prompt_async" {
		return noContent(w)
	}
	answer, err := pending.Reply(r.Context())
	if err != nil {
		return turnError(err, s.ID)
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// harnessTurn reads a message in the form of harnesses: its parts, and other members
// that are theirs.
func harnessTurn(body []byte) (session.Turn, error) {
	in, err := parse(body)
	if err != nil {
		return session.Turn{}, err
	}
	if !in.has("parts") {
		in.missing("parts")
	}
	turn := session.Turn{Parts: givenParts(in)}
	if err := in.err(); err != nil {
		return session.Turn{}, err
	}
	turn.Request = membersBut(body[skipSpace(body, 0):], "parts")
	return turn, nil
}

// membersBut returns an object without the members of one name, nil without any left.
func membersBut(object []byte, left string) json.RawMessage {
	var b bytes.Buffer
	for name, value := range members(object) {
		if unquote(name) == left {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	if b.Len() == 0 {
		return nil
	}
	return slices.Concat([]byte("{"), b.Bytes(), []byte("}"))
}

// passRequest sends a request to the harness and passes on its answer. An error says
// that nothing was written.
func (a *API) passRequest(w http.ResponseWriter, r *http.Request, s db.Session, path harnessRoute) error {
	if r.ContentLength > messageBody {
		return errTooLarge
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	guest, release, err := a.guest(ctx, s.ID)
	if errors.Is(err, session.ErrNotReady) {
		return ended(s)
	} else if err != nil {
		return noSession(err, s.ID)
	}
	defer release()
	body := &upload{ReadCloser: http.MaxBytesReader(w, r.Body, messageBody)}
	req, err := harnessRequest(ctx, r, path, body)
	if err != nil {
		return err
	}
	if !safe(r.Method) {
		a.touch(ctx, s.ID)
	}
	res, err := guest.Do(req)
	if err != nil {
		return body.failure(ctx, errHarness)
	}
	defer res.Body.Close()
	if res.StatusCode < http.StatusOK || res.StatusCode == http.StatusNotFound && path.isThread(r.Method) {
		return errHarness
	}
	if isStream(res) {
		defer a.atEnd(cancel)()
		defer a.keepTouching(ctx, s.ID)()
	}
	return a.passAnswer(w, r, res)
}

func isStream(res *http.Response) bool {
	return strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream")
}

// harnessRequest is r on its way to the harness, with no headers but those it needs.
func harnessRequest(ctx context.Context, r *http.Request, path harnessRoute, body *upload) (*http.Request, error) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, guestURL+"/harness/"+path.String(), nil)
	if err != nil {
		return nil, invalid("invalid path")
	}
	req.URL.RawQuery = r.URL.RawQuery
	body.fill(req, r.ContentLength)
	req.Header.Set("Content-Type", cmp.Or(r.Header.Get("Content-Type"), "application/json"))
	req.Header.Set("Accept", cmp.Or(r.Header.Get("Accept"), "*/*"))
	return req, nil
}

// passAnswer passes on what a harness answered: an event stream as it comes.
func (a *API) passAnswer(w http.ResponseWriter, r *http.Request, res *http.Response) error {
	h := w.Header()
	l := a.newRelay(w)
	if l.stream = isStream(res); l.stream {
		streamHeaders(h)
	} else {
		h.Set("X-Content-Type-Options", "nosniff")
		if kind := res.Header.Get("Content-Type"); kind != "" {
			h.Set("Content-Type", kind)
		}
	}
	if err := l.send(r, res.StatusCode, res.Body); err != nil {
		clear(h)
		return errHarness
	}
	return nil
}

// keepTouching notes activity on a session from now until stop.
func (a *API) keepTouching(ctx context.Context, id string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var g sync.WaitGroup
	g.Go(func() {
		tick := time.NewTicker(a.timing.touch)
		defer tick.Stop()
		for ctx.Err() == nil {
			a.touch(ctx, id)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return func() {
		cancel()
		g.Wait()
	}
}

// storedThread answers for a harness that cannot, or no longer, tell a session's
// messages.
func (a *API) storedThread(w http.ResponseWriter, r *http.Request, s db.Session, cause error) error {
	var bad *requestError
	away := errors.As(cause, &bad) && (bad == errHarness || bad.status == http.StatusGone)
	if !away && !errors.Is(cause, session.ErrHarness) {
		return cause
	}
	thread, err := a.cfg.Engine.Messages(r.Context(), s.ID)
	if err != nil {
		return noSession(err, s.ID)
	}
	return reply(w, http.StatusOK, filled(thread))
}
