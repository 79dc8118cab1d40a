package api_test

import (
	"net/http"
	"strings"
	"testing"
)

const keyHeader = "Idempotency-Key"

// once sends a request with an idempotency key.
func (w *world) once(t *testing.T, key, path, body string) response {
	t.Helper()
	return w.send(t, "POST", path, body, map[string]string{"Authorization": "Bearer " + masterKey, keyHeader: key})
}

func TestCreateSessionOnce(t *testing.T) {
	w := newWorld(t)
	agent, other := w.newAgent(t), w.newAgent(t)
	path := agents + "/" + agent + "/session"
	first := w.once(t, "k 1", path, `{"title": "<T>"}`).want(t, 201)
	if err := w.store.MarkFailed(t.Context(), first.get("id").String(), 1, "changed since"); err != nil {
		t.Fatal(err)
	}
	again := w.once(t, "k 1", path, `{"title": "<T>"}`).want(t, 201)
	if again.body != first.body || again.header.Get("Idempotent-Replayed") != "true" || first.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("again: %v\n%s, want\n%s", again.header, again.body, first.body)
	}
	w.once(t, "k 1", path, `{"title":"<T>"}`).wantError(t, http.StatusConflict, "Idempotency-Key was used for another request")
	if r := w.once(t, "k 2", path, `{"title": "<T>"}`).want(t, 201); r.get("id").String() == first.get("id").String() {
		t.Error("another key gives the same session")
	}
	if r := w.once(t, "k 1", agents+"/"+other+"/session", `{"title": "<T>"}`).want(t, 201); r.get("agent_id").String() != other {
		t.Error("the key of one agent's session gives another agent's")
	}
	w.once(t, "k 3", path, "").want(t, 201)
	w.once(t, "k 3", path, "{}").want(t, http.StatusConflict) // other bytes
	if total := w.do(t, "GET", sessions, nil).get("total").Int(); total != 4 {
		t.Errorf("%d sessions, want 4", total)
	}
}

func TestSendMessageOnce(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	one, two := w.newSession(t, agent), w.newSession(t, agent)
	path := sessions + "/" + one + "/message"
	first := w.once(t, "k", path, `{"text":"x"}`).want(t, 200)
	if again := w.once(t, "k", path, `{"text":"x"}`).want(t, 200); again.body != first.body || w.engine.sent() != 1 {
		t.Errorf("again: %s after %d turns", again.body, w.engine.sent())
	}
	w.once(t, "k", path, `{"text":"y"}`).want(t, http.StatusConflict)
	w.once(t, "k", sessions+"/"+one+"/message_stream", `{"text":"x"}`).want(t, http.StatusConflict)
	w.once(t, "k", sessions+"/"+two+"/message", `{"text":"x"}`).want(t, 200)
	if n := w.engine.sent(); n != 2 {
		t.Errorf("%d turns, want 2", n)
	}
}

func TestIdempotencyKeyFaults(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	id := w.newSession(t, agent)
	before := w.do(t, "GET", sessions, nil).get("total").Int()
	paths := []string{agents + "/" + agent + "/session", sessions + "/" + id + "/message", sessions + "/" + id + "/message_stream"}
	for _, path := range paths {
		for _, key := range []string{"", strings.Repeat("k", 256), "ä", "a\tb"} {
			w.once(t, key, path, `{"text":"x"}`).wantError(t, 400, "Idempotency-Key: ")
		}
	}
	request := "POST " + paths[1] + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + masterKey +
		"\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 12\r\n\r\n{\"text\":\"x\"}"
	if status := w.raw(t, request); status != 400 {
		t.Errorf("two keys: %d, want 400", status)
	}
	w.once(t, "", sessions+"/"+noID+"/message", `{}`).want(t, 404)
	w.once(t, strings.Repeat("~", 255), paths[1], `{"text":"x"}`).want(t, 200)
	if total := w.do(t, "GET", sessions, nil).get("total").Int(); total != before || w.engine.sent() != 1 {
		t.Errorf("%d sessions, %d turns", total, w.engine.sent())
	}
}
