package api_test

import "testing"

func TestSessionMemory(t *testing.T) {
	w := newWorld(t)
	agent, other := w.newAgent(t), w.newAgent(t)
	id, foreign := w.newSession(t, agent), w.newSession(t, other)
	path := sessions + "/" + id + "/memory"
	r := w.do(t, "POST", path, `{"text": "x", "tags": ["t"]}`).want(t, 201)
	for name, want := range map[string]string{"agent_id": agent, "source": "agent", "source_session_id": id, "type": "convention"} {
		if got := r.get(name).String(); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	r = w.do(t, "POST", path, `{"text": "y", "source": "ui", "source_session_id": "s"}`).want(t, 201)
	if r.get("source").String() != "ui" || r.get("source_session_id").String() != "s" {
		t.Errorf("memory = %s", r.body)
	}
	if r := w.do(t, "GET", path+"?q=X", nil).want(t, 200); r.get("total").Int() != 1 || r.get("data.0.text").String() != "x" {
		t.Errorf("memories = %s", r.body)
	}
	if all, own := w.do(t, "GET", path, nil), w.do(t, "GET", agents+"/"+agent+"/memory", nil); all.body != own.body {
		t.Errorf("memories of the session = %s, of its agent %s", all.body, own.body)
	}
	w.do(t, "POST", path, `{}`).wantError(t, 400, "text: is required")

	inside := w.inside(t, agent, id)
	inside("GET", path, nil).want(t, 200)
	r = inside("POST", path, `{"text": "z", "source": "ui", "source_session_id": "forged"}`).want(t, 201)
	if r.get("source").String() != "agent" || r.get("source_session_id").String() != id {
		t.Errorf("memory = %s", r.body)
	}
	for _, session := range []string{foreign, noID} {
		inside("GET", sessions+"/"+session+"/memory", nil).wantError(t, 401, "unauthorized")
		inside("POST", sessions+"/"+session+"/memory", `{"text": "x"}`).wantError(t, 401, "unauthorized")
	}
	w.send(t, "GET", path, nil, bearer(token(t, tokenKey, claims(w, agent, nil)))).want(t, 200)
	w.send(t, "GET", path, nil, bearer(token(t, tokenKey, claims(w, other, nil)))).want(t, 401)
	w.send(t, "GET", path, nil, bearer(token(t, tokenKey, claims(w, agent, map[string]any{"scope": []string{"skills"}})))).want(t, 401)
}
