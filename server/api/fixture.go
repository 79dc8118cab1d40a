package api

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"lap/server/fixture"
)

var errNoFixture error = &requestError{http.StatusForbidden, "this server is not for tests: start lap serve with --fixture"}

// controlled answers only where the server's world may be controlled.
func (a *API) controlled(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
		if a.cfg.Fixture == nil {
			return errNoFixture
		}
		return h(w, r, p)
	}
}

type clockReply struct {
	Now    stamp `json:"now"`
	Offset int64 `json:"offset_ms"`
}

// readClock answers GET /api/v1/fixture/clock.
func (a *API) readClock(w http.ResponseWriter, _ *http.Request, _ httprouter.Params) error {
	now, offset := a.cfg.Fixture.Now()
	return reply(w, http.StatusOK, clockReply{stamp(now), offset.Milliseconds()})
}

// moveClock answers POST /api/v1/fixture/clock when all that has come due is under way.
func (a *API) moveClock(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	in, err := decode(w, r, smallBody)
	if err != nil {
		return err
	}
	by, to := durationOf(in, "advance"), timeOf(in, "set")
	if in.has("advance") == in.has("set") {
		in.add(0, "advance", "give this or set, and not both")
	}
	if err := in.err(); err != nil {
		return err
	}
	if to != nil {
		err = a.cfg.Fixture.Set(r.Context(), *to)
	} else {
		err = a.cfg.Fixture.Advance(r.Context(), *by)
	}
	if errors.Is(err, fixture.ErrBackwards) || errors.Is(err, fixture.ErrTooFar) {
		return invalid("%s", err)
	} else if err != nil {
		return err
	}
	return a.readClock(w, r, p)
}

// durationOf reads an optional duration as Go writes it, nil when absent.
func durationOf(o *object, name string) *time.Duration {
	text := o.Text(name)
	if text == nil {
		return nil
	}
	d, err := time.ParseDuration(*text)
	if err != nil || d < 0 {
		o.fail(name, "must be a duration of zero or more, such as 50ms, 15m or 24h")
	}
	return &d
}

// timeOf reads an optional time, nil when absent.
func timeOf(o *object, name string) *time.Time {
	text := o.Text(name)
	if text == nil {
		return nil
	}
	t, err := time.Parse(time.RFC3339, *text)
	if err != nil {
		o.fail(name, "must be a time such as 2030-01-31T12:00:00Z")
	}
	return &t
}

type resetReply struct {
	OK   bool    `json:"ok"`
	Took float64 `json:"took_ms"`
}

// resetWorld answers POST /api/v1/fixture/reset.
func (a *API) resetWorld(w http.ResponseWriter, r *http.Request, _ httprouter.Params) error {
	began := time.Now()
	if err := a.cfg.Fixture.Reset(r.Context()); err != nil {
		return err
	}
	return reply(w, http.StatusOK, resetReply{true, math.Round(float64(time.Since(began).Microseconds())) / 1e3})
}

// A callReply is on the wire what a model was asked.
type callReply struct {
	N         int    `json:"n"`
	At        stamp  `json:"at"`
	SessionID string `json:"session_id"`
	AgentID   string `json:"agent_id"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	Model     string `json:"model"`
	Body      any    `json:"body"` // as it was sent; null: it was a form; a string: it was no JSON
	Status    *int   `json:"status"`
}

type callsReply struct {
	Data    []callReply `json:"data"`
	Dropped int         `json:"dropped"`
}

// listCalls answers GET /api/v1/fixture/requests.
func (a *API) listCalls(w http.ResponseWriter, r *http.Request, _ httprouter.Params) error {
	q := r.URL.Query()
	calls, dropped := a.cfg.Fixture.Calls(q.Get("session_id"), integer(q.Get("after"), 0, 0, math.MaxInt))
	out := callsReply{Data: []callReply{}, Dropped: dropped}
	for _, c := range calls {
		out.Data = append(out.Data, newCallReply(c))
	}
	return reply(w, http.StatusOK, out)
}

func newCallReply(c fixture.Call) callReply {
	out := callReply{
		N: c.N, At: stamp(c.At), SessionID: c.SessionID, AgentID: c.AgentID, Method: c.Method, Path: c.Path, Model: c.Model,
	}
	switch {
	case json.Valid(c.Body):
		out.Body = json.RawMessage(c.Body)
	case c.Body != nil:
		out.Body = string(c.Body)
	}
	if c.Status != 0 {
		out.Status = &c.Status
	}
	return out
}
