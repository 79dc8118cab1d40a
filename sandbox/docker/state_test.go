package docker_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/sandbox"
)

func TestListTellsTheState(t *testing.T) {
	e, d := newEngine(t)
	states := map[string]sandbox.State{
		"created": sandbox.StateCreated, "running": sandbox.StateRunning, "paused": sandbox.StatePaused, "restarting": sandbox.StateRunning,
		"removing": sandbox.StateExited, "exited": sandbox.StateExited, "dead": sandbox.StateExited,
	}
	var all []string
	for state := range states {
		all = append(all, fmt.Sprintf(`{"Id":%q,"Names":["/lap-s-7"],"Created":60,"State":%q,"Labels":{"dev.lap.session":"s","dev.lap.agent":"a","dev.lap.generation":"7"}}`, state, state))
	}
	e.HandleFunc("GET "+api+"/containers/json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "[%s]", strings.Join(all, ","))
	})
	infos, err := d.List(t.Context())
	if err != nil || len(infos) != len(states) {
		t.Fatalf("list = %v, error %v", infos, err)
	}
	for _, info := range infos {
		want := sandbox.Info{ID: info.ID, Name: "lap-s-7", Session: "s", Agent: "a", Generation: 7, State: states[info.ID], Created: time.Unix(60, 0).UTC()}
		if diff := cmp.Diff(want, info); diff != "" {
			t.Errorf("%s (-want +got):\n%s", info.ID, diff)
		}
	}
}

func TestInspectTellsTheDetail(t *testing.T) {
	const never = "0001-01-01T00:00:00Z"
	minute := func(n int) time.Time { return time.Date(2026, 1, 1, 0, n, 0, 0, time.UTC) }
	tests := []struct {
		name  string
		state string
		want  sandbox.Detail
	}{
		{
			"never started", fmt.Sprintf(`{"Status":"created","StartedAt":%q,"FinishedAt":%q}`, never, never),
			sandbox.Detail{Info: sandbox.Info{State: sandbox.StateCreated}},
		},
		{
			"out of memory", `{"Status":"exited","ExitCode":137,"OOMKilled":true,"StartedAt":"2026-01-01T00:01:00Z","FinishedAt":"2026-01-01T00:02:00Z"}`,
			sandbox.Detail{Info: sandbox.Info{State: sandbox.StateExited}, ExitCode: 137, OOMKilled: true, StartedAt: minute(1), FinishedAt: minute(2)},
		},
		{
			"started again", `{"Status":"running","ExitCode":137,"OOMKilled":true,"StartedAt":"2026-01-01T00:03:00Z","FinishedAt":"2026-01-01T00:02:00Z"}`,
			sandbox.Detail{Info: sandbox.Info{State: sandbox.StateRunning}, StartedAt: minute(3)},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, d := newEngine(t)
			e.HandleFunc("GET "+api+"/containers/{id}/json", func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"Id":"c","Name":"/lap-s-7","Created":"2026-01-01T00:00:00Z","RestartCount":2,"State":%s,
					"Config":{"Image":"i","Labels":{"dev.lap.session":"s","dev.lap.agent":"a","dev.lap.generation":"7"}}}`, tt.state)
			})
			tt.want.ID, tt.want.Name, tt.want.Session, tt.want.Agent, tt.want.Generation = "c", "lap-s-7", "s", "a", 7
			tt.want.Created, tt.want.Image, tt.want.Restarts = minute(0), "i", 2
			got, err := d.Inspect(t.Context(), "c")
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestInspectOfNothing(t *testing.T) {
	e, d := newEngine(t)
	e.state = ""
	if _, err := d.Inspect(t.Context(), "c"); !errors.Is(err, sandbox.ErrGone) {
		t.Errorf("error = %v", err)
	}
}

func TestPauseOfWhatDoesNotRunOrIsPaused(t *testing.T) {
	tests := []struct {
		state          string
		pause, unpause error
	}{
		{"paused", nil, errRefused},
		{"running", errRefused, nil},
		{"exited", sandbox.ErrGone, sandbox.ErrGone},
		{"created", sandbox.ErrGone, sandbox.ErrGone},
		{"dead", sandbox.ErrGone, sandbox.ErrGone},
		{"", sandbox.ErrGone, sandbox.ErrGone},
	}
	for _, tt := range tests {
		t.Run(tt.state, func(t *testing.T) {
			e, d := newEngine(t)
			e.state = tt.state
			for _, call := range []string{"pause", "unpause"} {
				e.HandleFunc("POST "+api+"/containers/{id}/"+call, func(w http.ResponseWriter, _ *http.Request) {
					refuse(w, http.StatusConflict, errRefused.Error())
				})
			}
			check(t, "pause", d.Pause(t.Context(), "c"), tt.pause)
			check(t, "unpause", d.Unpause(t.Context(), "c"), tt.unpause)
		})
	}
}

var errRefused = errors.New("not like this")

// check compares the error of a call with the one that it should wrap or, from the
// engine, quote.
func check(t *testing.T, what string, got, want error) {
	t.Helper()
	switch {
	case want == nil && got == nil, errors.Is(got, want):
	case want != nil && got != nil && strings.Contains(got.Error(), want.Error()):
	default:
		t.Errorf("%s: error = %v, want %v", what, got, want)
	}
}

func TestPing(t *testing.T) {
	e, d := newEngine(t)
	if version, err := d.Ping(t.Context()); err != nil || version != "24.0.1" {
		t.Errorf("version %q, error %v", version, err)
	}
	e.HandleFunc("GET "+api+"/version", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusInternalServerError, "out of disk") })
	if _, err := d.Ping(t.Context()); !errors.Is(err, sandbox.ErrUnavailable) || !strings.Contains(err.Error(), "out of disk") {
		t.Errorf("error = %v", err)
	}
}
