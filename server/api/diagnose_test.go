package api_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/sandbox"
	"lap/server/session"
)

// container is one that was made long ago and runs.
func container(change func(*sandbox.Detail)) *sandbox.Detail {
	d := &sandbox.Detail{Info: sandbox.Info{ID: "c1", Name: "lap-x-1", State: sandbox.StateRunning}, Image: "debian", StartedAt: time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC)}
	if change != nil {
		change(d)
	}
	return d
}

func TestDiagnose(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t, `"name": "N"`, `"env_vars": {"A": "hush-4711"}`))
	w.engine.set(func() {
		w.engine.output = strings.Repeat("line\n", 300)
		w.engine.diagnosis = session.Diagnosis{
			EngineVersion: "28.5", Container: container(nil), ImageRef: "debian", Image: &sandbox.Image{ID: "sha256:1", Size: 12},
			Harness: &session.HarnessProbe{Status: 200}, Warm: map[string]int{"warm": 1, "other": 5}, Notes: map[string]string{"n": "is hush-4711"},
		}
	})
	r := w.do(t, "GET", sessions+"/"+id+"/diagnose", nil).want(t, 200)
	for path, want := range map[string]string{
		"session.session_id": quoted(id), "session.status": `"ready"`, "session.stopped_at": "null", "session.failure_reason": "null",
		"session.sandbox_url": quoted("http://lap.test" + sessions + "/" + id + "/opencode"),
		"agent.agent_name":    `"N"`, "agent.harness_id": `"lap"`, "agent.branch": `"main"`, "agent.repo_url": "null",
		"container":     `{"exists":true,"id":"c1","name":"lap-x-1","state":"running","running":true,"oom_killed":false,"restart_count":0,"started_at":"2026-01-15T10:00:00.000Z","image":"debian"}`,
		"image":         `{"present":true,"ref":"debian","id":"sha256:1","size_bytes":12}`,
		"docker":        `{"reachable":true,"version":"28.5"}`,
		"warm_pool":     `{"claimed":0,"dead":0,"provisioning":0,"warm":1}`,
		"harness_probe": `{"reachable":true,"status":200}`, "detected_issues": `[]`, "notes": `{"n":"is ***"}`,
		"pod_logs_tail.available": "true",
	} {
		if got := r.get(path).Raw; got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	if n := strings.Count(r.get("pod_logs_tail.text").String(), "\n"); n != 200 {
		t.Errorf("%d lines of logs, want 200", n)
	}
	if got := r.get("session.age_ms").Int(); got < 1000 || got > 60_000 {
		t.Errorf("age_ms = %d", got)
	}
}

func TestDiagnoseNothing(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	w.engine.set(func() { w.engine.fail = errors.New("no logs") })
	r := w.do(t, "GET", sessions+"/"+id+"/diagnose", nil).want(t, 200)
	for path, want := range map[string]string{
		"container": `{"exists":false}`, "image": `{"present":false,"ref":""}`, "docker": `{"reachable":true}`, "harness_probe": "null",
		"pod_logs_tail": `{"available":false,"error":"no logs"}`, "detected_issues": "[]", "notes": "{}",
	} {
		if got := r.get(path).Raw; got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
}

func TestDetect(t *testing.T) {
	exited := func(d *sandbox.Detail) { d.State, d.ExitCode = sandbox.StateExited, 137 }
	tests := []struct {
		name     string
		creating bool
		d        session.Diagnosis
		want     []string
	}{
		{"no engine", false, session.Diagnosis{EngineError: "no", ContainerErr: "no"}, []string{"docker_unreachable high"}},
		{"no container", false, session.Diagnosis{}, []string{"container_missing high"}},
		{"exited", false, session.Diagnosis{Container: container(exited)}, []string{"container_exited high"}},
		{"out of memory", false, session.Diagnosis{Container: container(func(d *sandbox.Detail) { exited(d); d.OOMKilled = true })}, []string{"container_exited high", "oom_killed high"}},
		{"no image", false, session.Diagnosis{Container: container(nil), ImageRef: "x"}, []string{"image_missing high"}},
		{"silent", false, session.Diagnosis{Container: container(nil), Harness: &session.HarnessProbe{Error: "x"}}, []string{"harness_unreachable high"}},
		{"harness fails", false, session.Diagnosis{Container: container(nil), Harness: &session.HarnessProbe{Status: 500}}, []string{"harness_unreachable high"}},
		{"frozen", false, session.Diagnosis{Container: container(func(d *sandbox.Detail) { d.State = sandbox.StatePaused }), Frozen: true, Harness: &session.HarnessProbe{}}, nil},
		{"pool empty", false, session.Diagnosis{Container: container(nil), PoolSize: 2, Warm: map[string]int{"dead": 1}}, []string{"warm_pool_empty_for_agent info"}},
		{"pool filling", false, session.Diagnosis{Container: container(nil), PoolSize: 2, Warm: map[string]int{"provisioning": 1}}, nil},
		{"creating for long", true, session.Diagnosis{Container: container(nil)}, []string{"container_not_ready_old med", "stuck_creating high"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.do(t, "POST", agents+"/"+w.newAgent(t)+"/session", nil).want(t, 201).get("id").String()
			w.giveContainer(t, id, "c1")
			if !tt.creating {
				w.makeReady(t, id)
			}
			w.clock.advance(time.Hour)
			w.engine.set(func() { w.engine.diagnosis = tt.d })
			var got []string
			for _, issue := range w.do(t, "GET", sessions+"/"+id+"/diagnose", nil).want(t, 200).get("detected_issues").Array() {
				got = append(got, issue.Get("code").String()+" "+issue.Get("severity").String())
				if issue.Get("message").String() == "" {
					t.Errorf("no message: %s", issue)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
