package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// account is what a session or an agent says of its use of models.
type account struct {
	FailureReason *string `json:"failure_reason"`
	Usage         struct {
		Calls       int64 `json:"calls"`
		TotalTokens int64 `json:"total_tokens"`
		Turns       int64 `json:"turns"`
	} `json:"usage"`
}

func (s *serving) account(t *testing.T, path string) account {
	t.Helper()
	status, answer := s.rest(t, http.MethodGet, "/managed_agents"+path, "")
	var a account
	if err := json.Unmarshal([]byte(answer), &a); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	return a
}

// A session whose budget is spent says so, to its agent and to its user, and goes on when
// there is more.
func TestBudgets(t *testing.T) { onEach(t, testBudgets) }

func testBudgets(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	agent, sess := s.sandbox(t, map[string]any{"budget": map[string]any{"turns": 2}}, map[string]any{"budget": map[string]any{"tokens": 1_000_000}})
	for range 2 {
		if reply, err := s.Send(t.Context(), sess, "hello"); err != nil || reply.Text() != "hello" {
			t.Fatalf("reply = %q, %v", reply.Text(), err)
		}
	}
	used := s.account(t, "/sessions/"+sess)
	if used.Usage.Calls != 2 || used.Usage.TotalTokens == 0 || used.Usage.Turns != 2 || used.FailureReason != nil {
		t.Errorf("used %+v", used)
	}
	if all := s.account(t, "/agents/"+agent); all.Usage != used.Usage {
		t.Errorf("the agent has used %+v, its session %+v", all, used)
	}
	reply, err := s.Send(t.Context(), sess, "hello")
	if err != nil || !strings.Contains(string(reply.Info.Error), "budget of 2 turns") {
		t.Errorf("reply = %q, error %s, %v", reply.Text(), reply.Info.Error, err)
	}
	if after := s.account(t, "/sessions/"+sess); after.FailureReason == nil || !strings.HasPrefix(*after.FailureReason, "budget spent: ") || after.Usage.Calls != 2 {
		t.Errorf("session = %+v", after)
	}
	s.patch(t, agent, `{"budget": null}`)
	if reply, err := s.Send(t.Context(), sess, "hello"); err != nil || reply.Text() != "hello" {
		t.Errorf("reply = %q, %v", reply.Text(), err)
	}
	if after := s.account(t, "/sessions/"+sess); after.FailureReason != nil {
		t.Errorf("failure_reason = %s", *after.FailureReason)
	}
}
