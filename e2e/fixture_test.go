package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"lap/client"
)

// fixture calls a route of the fixture and returns the answer's body.
func (s *serving) fixture(t *testing.T, method, path, body string) gjson.Result {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+"/api/v1/fixture/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d %s, %v", method, path, res.StatusCode, text, err)
	}
	return gjson.ParseBytes(text)
}

// TestControlledWorld controls a server with real sandboxes.
func TestControlledWorld(t *testing.T) { onEach(t, testControlledWorld) }

func testControlledWorld(t *testing.T, on runtime) {
	s := on.serve(t, options{args: []string{"--fixture"}, env: []string{"WARM_POOL_SIZE=1"}})
	if !strings.Contains(s.talk.String(), "this server is for tests") {
		t.Errorf("the server does not say what it is for:\n%s", s.talk)
	}
	agent := s.agent(t, client.NewAgent{})

	t.Run("requests", func(t *testing.T) {
		sess := s.session(t, agent.ID, client.NewSession{})
		if _, err := s.Send(t.Context(), sess.ID, "good morning"); err != nil {
			t.Fatal(err)
		}
		asked := s.fixture(t, "GET", "requests?session_id="+sess.ID, "").Get("data")
		if last := asked.Get("0"); last.Get("model").String() != "scripted/echo" || last.Get("status").Int() != 200 ||
			!strings.Contains(last.Get("body.messages").Raw, "good morning") || last.Get("agent_id").String() != agent.ID {
			t.Errorf("requests = %s", asked.Raw)
		}
	})

	t.Run("clock", func(t *testing.T) {
		sess := s.session(t, agent.ID, client.NewSession{})
		s.fixture(t, "POST", "clock", `{"advance":"25h"}`)
		after, err := s.Session(t.Context(), sess.ID)
		if err != nil || after.Status != "dead" || after.FailureReason == nil || *after.FailureReason != "idle timeout" {
			t.Errorf("session = %+v, %v", after, err)
		}
		if left := s.sandboxes(t, sess.ID); len(left) > 0 {
			t.Errorf("%d sandboxes are left", len(left))
		}
	})

	t.Run("model", func(t *testing.T) {
		sess := s.session(t, agent.ID, client.NewSession{})
		s.fixture(t, "POST", "faults", `{"faults":[{"step":"model","times":2,"status":429,"retry_after":"10ms"}]}`)
		if out := s.sh(t, sess.ID, "echo tried again"); out != "tried again" {
			t.Errorf("output = %q", out)
		}
		if hits := s.fixture(t, "GET", "faults", "").Get("faults.0.hits").Int(); hits != 2 {
			t.Errorf("%d hits", hits)
		}
	})

	t.Run("harness", func(t *testing.T) {
		s.fixture(t, "DELETE", "faults", "")
		sess := s.session(t, agent.ID, client.NewSession{})
		s.sh(t, sess.ID, "echo kept > note")
		s.fixture(t, "POST", "faults", `{"faults":[{"step":"harness","times":1}]}`)
		if _, err := s.Send(t.Context(), sess.ID, "RUN: true"); err == nil || !strings.Contains(err.Error(), "sandbox was lost") {
			t.Errorf("the turn whose sandbox died: %v", err)
		}
		if out := s.sh(t, sess.ID, "cat note"); out != "kept" {
			t.Errorf("after the recovery the file holds %q", out)
		}
	})

	t.Run("reset", func(t *testing.T) {
		sess := s.session(t, agent.ID, client.NewSession{})
		sent := make(chan error, 1)
		go func() {
			_, err := s.Send(t.Context(), sess.ID, "RUN: sleep 60")
			sent <- err
		}()
		eventually(t, "the turn runs", func() bool {
			return len(s.fixture(t, "GET", "requests?session_id="+sess.ID, "").Get("data").Array()) > 0
		})
		if took := s.fixture(t, "POST", "reset", "").Get("took_ms").Float(); took > 1000 {
			t.Errorf("it took %v ms", took)
		}
		if err := <-sent; err == nil {
			t.Error("the turn was answered")
		}
		again := s.agent(t, client.NewAgent{})
		next := s.session(t, again.ID, client.NewSession{})
		if out := s.sh(t, next.ID, "echo fresh"); out != "fresh" {
			t.Errorf("output = %q", out)
		}
		eventually(t, "the old sandboxes are removed", func() bool { return len(s.sandboxes(t, sess.ID)) == 0 })
	})
}
