package api_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/server/session"
)

func TestRestart(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	path := sessions + "/" + id + "/restart"
	r := w.do(t, "POST", path, nil).want(t, 200)
	if r.get("status").String() != "ready" || r.get("id").String() != id || r.get("harness_session_id").String() != "harness-2" {
		t.Errorf("session = %s", r.body)
	}
	w.do(t, "POST", path, `{"env_vars": {"A": "1"}}`).want(t, 200)
	w.do(t, "POST", path, `{"env_vars": {}}`).want(t, 200)
	if diff := cmp.Diff([]map[string]string{nil, {"A": "1"}, {}}, w.engine.restarted); diff != "" {
		t.Error(diff)
	}
	w.do(t, "POST", path, `{"env_vars": {"A": "1"}, "env_var_hosts": {"A": ["x.com"]}}`).want(t, 200)
	w.do(t, "POST", path, `{"env_vars": {"A": "1"}, "env_var_hosts": {"A": []}}`).want(t, 200)
	if diff := cmp.Diff([]map[string][]string{nil, nil, nil, {"A": {"x.com"}}, {}}, w.engine.rebound); diff != "" {
		t.Error(diff)
	}
	for bad, phrase := range map[string]string{
		`{"env_var_hosts": {"A": ["x.com"]}}`: "env_var_hosts.A: is not in env_vars",
		`{"env_vars": {"1": "x"}}`:            "invalid env var name", `{"env_vars": {"PORT": "1"}}`: "reserved keys", `{"env_vars": []}`: "env_vars: must be an object", `x`: "invalid JSON body",
	} {
		w.do(t, "POST", path, bad).wantError(t, 400, phrase)
	}
	for _, tt := range []struct {
		err    error
		status int
		phrase string
	}{
		{fmt.Errorf("%w: no such image", session.ErrRestart), 502, "session restart failed: no such image"},
		{session.ErrCreating, 409, "creating"},
		{session.ErrStopping, 503, "shutting down"},
		{errors.New("x"), 500, "internal error"},
	} {
		w.engine.answer(nil, tt.err)
		w.do(t, "POST", path, nil).wantError(t, tt.status, tt.phrase)
	}
}

func TestAbort(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	path := sessions + "/" + id + "/abort"
	if r := w.do(t, "POST", path, "not read").want(t, 200); r.body != `{"ok":true}` || len(w.engine.aborted) != 1 {
		t.Errorf("abort answered %s, %v", r.body, w.engine.aborted)
	}
	for _, tt := range []struct {
		err    error
		status int
		phrase string
	}{
		{session.ErrNotReady, 404, "session " + id + " not found or not ready"},
		{fmt.Errorf("%w: abort: 500", session.ErrHarness), 502, "harness request failed: abort: 500"},
	} {
		w.engine.answer(nil, tt.err)
		w.do(t, "POST", path, nil).wantError(t, tt.status, tt.phrase)
	}
}
