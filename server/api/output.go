package api

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"lap/db"
)

const (
	defaultSince = 600 // seconds
	maxSince     = 3600
	defaultTail  = 500 // lines
	maxTail      = 5000
)

// sandboxLogs answers GET /sessions/{session_id}/sandbox_logs with what the sandbox
// printed last. Of a session that has ended it is what was last before its end.
func (a *API) sandboxLogs(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.session(r, p)
	if err != nil {
		return err
	}
	text, err := a.output(r.Context(), s)
	if r.Context().Err() != nil {
		return r.Context().Err()
	}
	q := r.URL.Query()
	since := positive(q.Get("sinceSeconds"), defaultSince, maxSince)
	if err != nil {
		text = "[sandbox_logs] transient read error: " + oneLine(err.Error()) + "\n"
	} else {
		end := a.cfg.Now()
		if s.StoppedAt != nil {
			end = *s.StoppedAt
		}
		text = printedSince(text, end.Add(-time.Duration(since)*time.Second))
	}
	text = lastLines(text, positive(q.Get("tailLines"), defaultTail, maxTail))
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = io.WriteString(w, text) // the client has gone
	return nil
}

// output is what a session's sandbox printed, without the secrets of its agent.
func (a *API) output(ctx context.Context, s db.Session) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timing.output)
	defer cancel()
	scrub, err := a.scrubber(ctx, s.AgentID)
	if err != nil {
		return "", err
	}
	text, err := a.cfg.Engine.Output(ctx, s.ID)
	return scrub.Replace(text), err
}

// positive reads a query of at most high. What is not a positive number is fallback.
func positive(text string, fallback, high int) int {
	n := integer(text, fallback, 0, high)
	if n == 0 {
		return fallback
	}
	return n
}

// printedSince returns the lines from the first that says a time not before the given
// one. Lines without a time belong to the one before them, all to the first if there is
// none.
func printedSince(text string, since time.Time) string {
	at, timed := 0, false
	for line := range strings.Lines(text) {
		printed, ok := lineTime(line)
		if ok && !printed.Before(since) {
			if !timed {
				return text
			}
			return text[at:]
		}
		timed = timed || ok
		at += len(line)
	}
	if timed {
		return ""
	}
	return text
}

// lineTime is the time with which a line of the guest begins: time=2026-…
func lineTime(line string) (t time.Time, ok bool) {
	rest, ok := strings.CutPrefix(line, "time=")
	if !ok {
		return time.Time{}, false
	}
	word, _, _ := strings.Cut(strings.TrimSuffix(rest, "\n"), " ")
	t, err := time.Parse(time.RFC3339, word) // takes fractions too
	return t, err == nil
}

// lastLines returns the last n lines.
func lastLines(text string, n int) string {
	at := len(strings.TrimSuffix(text, "\n"))
	for ; n > 0; n-- {
		if at = strings.LastIndexByte(text[:at], '\n'); at < 0 {
			return text
		}
	}
	return text[at+1:]
}
