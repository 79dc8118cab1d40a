//go:build linux

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"lap/sandbox"
)

const (
	maxTurn       = 128 << 20 // bytes of a turn: ten images of 5 MiB are 67 MiB of base64
	maxResult     = 64 << 20  // bytes of the harness's answer
	maxTurnID     = 256       // bytes of a turn's id
	turnsRemember = 4096      // turns that are known when they come again
)

// turns knows which turns there were.
type turns struct {
	mu    sync.Mutex // guards the rest
	known map[string]struct{}
	order []string // of known, oldest first
	next  int      // in order, when it is full: the next to be forgotten
}

// add reports whether id is new, and remembers it.
func (t *turns) add(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, again := t.known[id]; again {
		return false
	}
	if t.known == nil {
		t.known = map[string]struct{}{}
	}
	t.known[id] = struct{}{}
	if len(t.order) < turnsRemember {
		t.order = append(t.order, id)
		return true
	}
	delete(t.known, t.order[t.next])
	t.order[t.next] = id
	t.next = (t.next + 1) % turnsRemember
	return true
}

// takeTurn answers POST /turns. It reads the body, which is when a host that waits for
// "100 Continue" sends it, and answers before the turn is over.
func (g *Guest) takeTurn(w http.ResponseWriter, r *http.Request) error {
	b := g.booted.Load()
	if b == nil {
		return errNotBooted
	}
	var t sandbox.Turn
	if err := decode(w, r, maxTurn, &t); err != nil {
		return err
	}
	if t.ID == "" || len(t.ID) > maxTurnID {
		return refuse(http.StatusBadRequest, "id: want 1 to %d bytes", maxTurnID)
	}
	session, err := harnessSession(t.Path)
	if err != nil {
		return err
	}
	if g.turns.add(t.ID) {
		g.feed.begin(session)
		ctx := context.WithoutCancel(r.Context()) // the end of the harness ends its turns
		if !b.harness.start(func() { g.feed.finish(session, b.harness.turn(ctx, &t)) }) {
			return errNotBooted
		}
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// harnessSession checks the path of a turn and returns the session in it.
func harnessSession(path string) (string, error) {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Fragment != "" {
		return "", refuse(http.StatusBadRequest, "path: want one of the harness's API, got %q", path)
	}
	rest, ok := strings.CutPrefix(u.Path, "/session/")
	if !ok {
		return "", refuse(http.StatusBadRequest, "path: want one below /session/, got %q", path)
	}
	segments := strings.Split(rest, "/")
	for _, s := range segments {
		if s == "" || s == "." || s == ".." {
			return "", refuse(http.StatusBadRequest, "path: want no empty or dot segments, got %q", path)
		}
	}
	return segments[0], nil
}

// turn sends t to the harness and waits for its answer, however long that takes.
func (h *harness) turn(ctx context.Context, t *sandbox.Turn) sandbox.TurnResult {
	result := sandbox.TurnResult{ID: t.ID}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, harnessURL+t.Path, &onceReader{t.Body})
	if err != nil {
		result.Error = err.Error()
		return result
	}
	req.ContentLength = int64(len(t.Body))
	req.Header.Set("Content-Type", "application/json")
	t.Body = nil // it can be many images, and the turn can take hours
	res, err := h.client.Do(req)
	if err != nil {
		result.Error = "the harness gave no answer: " + errors.Unwrap(err).Error()
		return result
	}
	defer res.Body.Close()
	body, err := readResult(res)
	switch {
	case err != nil:
		result.Error = "the harness's answer broke off: " + err.Error()
	case len(body) > maxResult:
		result.Status, result.Error = res.StatusCode, fmt.Sprintf("the harness's answer is larger than %d MiB", maxResult>>20)
	default:
		result.Status, result.Body = res.StatusCode, body
	}
	return result
}

// readResult reads an answer up to the first byte that is too many.
func readResult(res *http.Response) ([]byte, error) {
	var body bytes.Buffer
	if n := res.ContentLength; n > 0 && n <= maxResult {
		body.Grow(int(n) + bytes.MinRead) // growing step by step takes several times the memory
	}
	_, err := body.ReadFrom(io.LimitReader(res.Body, maxResult+1))
	return body.Bytes(), err
}

// A onceReader reads bytes and lets go of them.
type onceReader struct{ rest json.RawMessage }

func (r *onceReader) Read(p []byte) (int, error) {
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.rest = nil
		return n, io.EOF
	}
	return n, nil
}
