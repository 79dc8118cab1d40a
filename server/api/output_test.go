package api_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lap/server/api"
)

func TestSandboxLogs(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	get := func(query string) string {
		t.Helper()
		r := w.do(t, "GET", sessions+"/"+id+"/sandbox_logs"+query, nil).want(t, 200)
		if got := r.header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
			t.Errorf("Content-Type = %s", got)
		}
		return r.body
	}
	if got := get(""); got != "" {
		t.Errorf("nothing printed: %q", got)
	}
	line := func(ago time.Duration, msg string) string {
		return "time=" + w.clock.Now().Add(-ago).Format(time.RFC3339Nano) + " level=INFO msg=" + msg + "\n"
	}
	old, mid, late := line(2*time.Hour, "old")+"of old\n", line(30*time.Minute, "mid")+"of mid\n\n", line(time.Minute, "late")+"of late"
	w.engine.set(func() { w.engine.output = "first\n" + old + mid + late })
	for query, want := range map[string]string{
		"": late, "?sinceSeconds=3600": mid + late, "?sinceSeconds=99999999999999999999": mid + late, "?sinceSeconds=2400": mid + late,
		"?sinceSeconds=0": late, "?sinceSeconds=-5": late, "?sinceSeconds=x": late, "?sinceSeconds=10": "",
		"?tailLines=1": "of late", "?sinceSeconds=3600&tailLines=3": "\n" + late, "?sinceSeconds=3600&tailLines=0": mid + late, "?tailLines=x": late,
	} {
		if got := get(query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	w.engine.set(func() { w.engine.output = "first\n" + late })
	if got, want := get(""), "first\n"+late; got != want {
		t.Errorf("all of it is new: %q, want %q", got, want)
	}
	w.engine.set(func() { w.engine.output = strings.Repeat("no time\n", 6000) })
	if n := strings.Count(get(""), "\n"); n != 500 {
		t.Errorf("%d lines, want 500", n)
	}
	if n := strings.Count(get("?tailLines=9999"), "\n"); n != 5000 {
		t.Errorf("%d lines, want 5000", n)
	}
	w.do(t, "GET", sessions+"/"+noID+"/sandbox_logs", nil).wantError(t, 404, "session "+noID+" not found")
}

// TestLogsOfAnEndedSession counts from the end of the session: what was last explains it.
func TestLogsOfAnEndedSession(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	text := "time=" + w.clock.Now().Format(time.RFC3339) + " msg=bye\n"
	w.engine.set(func() { w.engine.output = text })
	w.do(t, "POST", sessions+"/"+id+"/stop", nil).want(t, 200)
	w.clock.advance(5 * time.Hour)
	if r := w.do(t, "GET", sessions+"/"+id+"/sandbox_logs?sinceSeconds=60", nil).want(t, 200); r.body != text {
		t.Errorf("logs = %q, want %q", r.body, text)
	}
}

func TestLogsThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.api.Hurry(api.Timing{Output: time.Minute})
	id := w.newSession(t, w.newAgent(t))
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("no\nway"), "[sandbox_logs] transient read error: no way\n"},
		{fmt.Errorf("read: %w", context.DeadlineExceeded), "[sandbox_logs] transient read error: read: context deadline exceeded\n"},
	} {
		w.engine.answer(nil, tt.err)
		if r := w.do(t, "GET", sessions+"/"+id+"/sandbox_logs", nil).want(t, 200); r.body != tt.want {
			t.Errorf("logs = %q, want %q", r.body, tt.want)
		}
	}
}

func TestLogsShowNoSecrets(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t, `"env_vars": {"A": "hush-4711", "B": "hush-4711-longer", "C": "short", "D": "plain-value", "E": "two\nlines\"x"}`, `"env_plain": ["D"]`))
	w.engine.set(func() {
		w.engine.output = "hush-4711 hush-4711-longer short plain-value two\\nlines\\\"x\ntwo\nlines\"x hush-4711hush-4711\n"
	})
	const want = "*** *** short plain-value ***\n*** ******\n"
	if r := w.do(t, "GET", sessions+"/"+id+"/sandbox_logs", nil); r.body != want {
		t.Errorf("logs = %q, want %q", r.body, want)
	}
	if r := w.do(t, "GET", sessions+"/"+id+"/diagnose", nil).want(t, 200); r.get("pod_logs_tail.text").String() != want {
		t.Errorf("diagnose = %s", r.body)
	}
}
