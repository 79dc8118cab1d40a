package api

import (
	"context"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"lap/db"
)

// logText is how many characters of a text a log shows.
const logText = 600

// A logEvent is one line of a session's log.
type logEvent struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	At     stamp  `json:"at"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
	Meta   string `json:"meta,omitempty"`
	Status string `json:"status,omitempty"`
}

// sessionLog answers GET /sessions/{session_id}/log: what happened, oldest first.
func (a *API) sessionLog(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.session(r, p)
	if err != nil {
		return err
	}
	turns, err := a.cfg.Store.Turns(r.Context(), s.ID)
	if err != nil {
		return err
	}
	events := a.threadLog(r.Context(), s)
	if len(events) == 0 {
		events = turnLog(turns)
	}
	events = append([]logEvent{{ID: s.ID + ":created", Kind: "created", At: stamp(s.CreatedAt), Title: "Session created"}},
		withRecoveries(events, turns)...)
	if last := endLog(s); last != nil {
		events = append(events, *last)
	}
	pg := parsePage(r.URL.Query())
	return reply(w, http.StatusOK, list(pg, pageOf(pg, events), len(events), func(e logEvent) logEvent { return e }))
}

// threadLog is the log that a session's thread makes, nil when there is none.
func (a *API) threadLog(ctx context.Context, s db.Session) []logEvent {
	ctx, cancel := context.WithTimeout(ctx, a.timing.thread)
	defer cancel()
	thread, err := a.cfg.Engine.Messages(ctx, s.ID)
	if err != nil {
		a.cfg.Log.WarnContext(ctx, "log made without the thread", "session", s.ID, "err", err)
		return nil
	}
	var events []logEvent
	at := s.CreatedAt
	for _, raw := range thread {
		var more []logEvent
		more, at = messageLog(raw, at)
		events = append(events, more...)
	}
	return events
}

// endLog is how a session ended, nil when it has not.
func endLog(s db.Session) *logEvent {
	e := logEvent{ID: s.ID + ":ended", Kind: "ended", Detail: text(s.FailureReason)}
	switch s.Status {
	case db.StatusDead:
		e.Title = "Sandbox ended"
	case db.StatusFailed:
		e.Title = "Session failed"
	default:
		return nil
	}
	at := s.CreatingSince
	if s.StoppedAt != nil {
		at = *s.StoppedAt
	}
	e.At = stamp(at)
	return &e
}

// withRecoveries puts in what turns tell of sandboxes that were replaced: the next turn
// went to another session of the harness. Where they tell nothing, the thread may.
func withRecoveries(events []logEvent, turns []db.Turn) []logEvent {
	recovered := recoveries(turns)
	if len(recovered) == 0 {
		return events
	}
	var out []logEvent
	for _, e := range events {
		if e.Kind == kindRecovered {
			continue
		}
		for len(recovered) > 0 && !time.Time(recovered[0].At).After(time.Time(e.At)) {
			out, recovered = append(out, recovered[0]), recovered[1:]
		}
		out = append(out, e)
	}
	return append(out, recovered...)
}

const kindRecovered = "recovered"

func recoveries(turns []db.Turn) []logEvent {
	var list []logEvent
	var before *string
	for _, t := range turns {
		if t.HarnessSessionID == nil {
			continue
		}
		if before != nil && *before != *t.HarnessSessionID {
			list = append(list, logEvent{ID: turnID(t) + ":recovered", Kind: kindRecovered, At: stamp(sentAt(t)), Title: "Sandbox recovered"})
		}
		before = t.HarnessSessionID
	}
	return list
}

// sentAt is when a turn was sent, or when it came as long as it was not.
func sentAt(t db.Turn) time.Time {
	if t.SentAt != nil {
		return *t.SentAt
	}
	return t.CreatedAt
}
