package e2e

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"lap/client"
	"lap/server/gateway/scripted"
)

// What an agent did with a model is done again by another server, in other sandboxes,
// without a model gateway: whatever differs from session to session is not looked at.
func TestRecordOnceReplayWithoutGateway(t *testing.T) { onEach(t, testRecordOnceReplay) }

func testRecordOnceReplay(t *testing.T, on runtime) {
	var calls atomic.Int32
	models := scripted.New(t.TempDir(), slog.New(slog.DiscardHandler))
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = models.Answer(r.Context(), w, "chat/completions", "scripted/echo", body, scripted.Caller{})
		}
		if failure, ok := errors.AsType[*scripted.Error](err); ok {
			http.Error(w, failure.Message, failure.Status)
		}
	}))
	t.Cleanup(upstream.Close)
	tapes := filepath.Join(t.TempDir(), "cassettes")
	const work = "RUN: date; date +%s; mktemp; env | grep -i token; uname -s\nRUN: echo and so on"

	doWork := func(s *serving, model string) string {
		agent := s.agent(t, client.NewAgent{Model: model, EnvVars: map[string]string{"GITHUB_TOKEN": "ghp_abcdefghijklmnop1234"}})
		reply, err := s.Send(t.Context(), s.session(t, agent.ID, client.NewSession{}).ID, work)
		if err != nil || len(reply.Info.Error) > 0 {
			t.Fatalf("%s: reply %+v, error %v\n%s", model, reply, err, s.talk)
		}
		return reply.Text()
	}
	recorder := on.serve(t, options{env: []string{"LAP_CASSETTES=" + tapes, "LITELLM_API_BASE=" + upstream.URL, "LITELLM_API_KEY=sk-gateway12345678"}})
	recorded := doWork(recorder, "record/once/gpt-5")
	made := calls.Load()
	player := on.serve(t, options{env: []string{"LAP_CASSETTES=" + tapes}})
	for range 2 {
		if replayed := doWork(player, "replay/once"); replayed != recorded || !strings.Contains(recorded, "and so on") {
			t.Errorf("recorded %q, replayed %q", recorded, replayed)
		}
	}
	if calls.Load() != made || made == 0 {
		t.Errorf("the model gateway was called %d times while recording and %d times after", made, calls.Load()-made)
	}
	text, err := os.ReadFile(filepath.Join(tapes, "once.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"ghp_abc", "sk-gateway"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the cassette holds %s", secret)
		}
	}
}
