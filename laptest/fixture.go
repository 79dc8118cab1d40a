package laptest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// Clock moves the server's clock on, so that what waits for it comes due: a session that
// is idle ends, a sandbox is frozen. The test fails if it cannot.
func (s *Server) Clock(tb testing.TB, by time.Duration) {
	tb.Helper()
	s.control(tb, http.MethodPost, "clock", map[string]string{"advance": by.String()}, nil)
}

// A Fault is a step that is to fail, or to be slow. docs/fixture.md lists the steps.
type Fault struct {
	Step       string `json:"step"`                  // such as sandbox.create
	Times      int    `json:"times"`                 // how often; 0: until the next Reset
	Error      string `json:"error,omitempty"`       // what it fails with
	Delay      string `json:"delay,omitempty"`       // how long it takes before, such as 50ms
	Status     int    `json:"status,omitempty"`      // of a model's answer
	RetryAfter string `json:"retry_after,omitempty"` // when that says to try again, such as 1s
}

// Faults lets steps of the server fail the next times they are taken.
func (s *Server) Faults(tb testing.TB, faults ...Fault) {
	tb.Helper()
	s.control(tb, http.MethodPost, "faults", map[string][]Fault{"faults": faults}, nil)
}

// Reset makes the server as it was when it started: no agents, no sessions, no faults, and
// the clock tells the time.
func (s *Server) Reset(tb testing.TB) {
	tb.Helper()
	s.control(tb, http.MethodPost, "reset", struct{}{}, nil)
}

// A Request is a call of a model that a session made.
type Request struct {
	N         int             `json:"n"` // 1 is the first one since the start
	At        time.Time       `json:"at"`
	SessionID string          `json:"session_id"`
	AgentID   string          `json:"agent_id"`
	Method    string          `json:"method"`
	Path      string          `json:"path"`
	Model     string          `json:"model"`
	Body      json.RawMessage `json:"body"`
	Status    int             `json:"status"` // 0: it has no answer yet
}

// Requests returns what models were asked, oldest first.
func (s *Server) Requests(tb testing.TB) []Request {
	tb.Helper()
	var page struct {
		Data []Request `json:"data"`
	}
	s.control(tb, http.MethodGet, "requests", nil, &page)
	return page.Data
}

// control calls a route by which a test controls the server, with in as JSON unless it is
// nil, and decodes the answer into out unless that is nil.
func (s *Server) control(tb testing.TB, method, what string, in, out any) {
	tb.Helper()
	if err := s.call(tb, method, s.URL+"/api/v1/fixture/"+what, in, out); err != nil {
		tb.Fatalf("fixture %s: %v", what, err)
	}
}

// callLimit is how long one call of the fixture may take.
const callLimit = time.Minute

func (s *Server) call(tb testing.TB, method, url string, in, out any) error {
	tb.Helper()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), callLimit) // also in a Cleanup
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.Key)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s: %s", res.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}
