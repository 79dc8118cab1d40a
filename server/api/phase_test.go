package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"lap/db"
)

// progressToken gives a session that is creating a token and returns it.
func (w *world) progressToken(t *testing.T, id string) string {
	t.Helper()
	token := "progress-" + id
	digest := sha256.Sum256([]byte(token))
	if err := w.store.SetProgressToken(t.Context(), id, 1, hex.EncodeToString(digest[:])); err != nil {
		t.Fatal(err)
	}
	return token
}

func TestReportPhase(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	id := w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	path := sessions + "/" + id + "/phase"
	token := bearer(w.progressToken(t, id))
	for _, phase := range []string{"cloning_repo", "installing_deps", "harness_listening", "harness_listening"} {
		if r := w.send(t, "POST", path, `{"phase": "`+phase+`", "detail": "d"}`, token).want(t, 200); r.body != `{"ok":true}` {
			t.Errorf("%s: %s", phase, r.body)
		}
		if got := w.do(t, "GET", sessions+"/"+id, nil); got.get("phase").String() != phase || got.get("phase_detail").String() != "d" {
			t.Errorf("session = %s", got.body)
		}
	}
	for body, phrase := range map[string]string{
		`{}`: "phase: is required", `{"phase": "ready"}`: "phase: must be one of", `{"phase": 1}`: "phase: ", `x`: "invalid JSON body",
		`{"phase": "cloning_repo", "detail": "` + strings.Repeat("ä", 501) + `"}`: "detail: at most 500",
	} {
		w.send(t, "POST", path, body, token).wantError(t, 400, phrase)
	}
	inside := w.serve(t, w.api.SandboxHandler(agent, id))
	inside.send(t, "POST", path, `{"phase": "cloning_repo", "detail": "`+strings.Repeat("ä", 500)+`"}`, token).want(t, 200)
	if err := w.store.MarkReady(t.Context(), id, 1, db.Readiness{HarnessSessionID: "h"}); err != nil {
		t.Fatal(err)
	}
	if r := w.send(t, "POST", path, `{"phase": "cloning_repo"}`, token).want(t, 200); r.body != `{"ok":false}` {
		t.Errorf("after ready: %s", r.body)
	}
	if got := w.do(t, "GET", sessions+"/"+id, nil).get("phase").String(); got != "ready" {
		t.Errorf("phase = %s", got)
	}
}

func TestPhaseNeedsItsToken(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	id := w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	other := w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	w.progressToken(t, id)
	for _, session := range []string{id, other, noID} {
		for _, token := range []string{"", "Bearer", "Bearer ", "Bearer x", "Bearer " + masterKey, "Bearer " + session, "Bearer progress-" + other} {
			r := w.send(t, "POST", sessions+"/"+session+"/phase", "not read", map[string]string{"Authorization": token})
			r.wantError(t, 401, "invalid harness progress token")
		}
	}
	w.send(t, "GET", sessions+"/"+id+"/phase", nil, nil).wantError(t, 405, "method not allowed")
	w.send(t, "POST", sessions+"/"+id+"/phase/x", nil, nil).wantError(t, 401, "unauthorized")
}
