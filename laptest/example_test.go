package laptest_test

import (
	"os"
	"strings"
	"testing"

	"lap/client"
	"lap/laptest"
)

// The model of this test first looks which system it runs on, and then says so.
const lookAround = `
turns:
  - text: Let me look.
    tool_calls:
      - name: bash
        arguments: {command: uname -s}
  - text: "I run on {{last_tool}}."
`

// TestAssistant is how a test of an application that talks to lap looks: an agent, a
// session, a message, and what has come of it.
func TestAssistant(t *testing.T) {
	t.Parallel()
	lap := laptest.Start(t, laptest.Script("look", lookAround))
	agent, err := lap.CreateAgent(t.Context(), client.NewAgent{Name: "assistant", Model: "scripted/look", HarnessID: "lap"})
	if err != nil {
		t.Fatal(err)
	}
	session, err := lap.CreateSession(t.Context(), agent.ID, client.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	if session, err = lap.AwaitReady(t.Context(), session.ID, func(client.Session) {}); err != nil {
		needsSandboxes(t, err)
	}
	reply, err := lap.Send(t.Context(), session.ID, "Where are you?")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(reply.Text()); !strings.Contains(got, "Linux") {
		t.Errorf("the assistant says %q", got)
	}
}

// needsSandboxes skips a test on a machine that cannot run sandboxes, and fails it for any
// other reason.
func needsSandboxes(t *testing.T, err error) {
	t.Helper()
	if strings.Contains(err.Error(), "no container engine") && os.Getenv("LAP_TEST_REQUIRE_ALL") == "" {
		t.Skip(err)
	}
	t.Fatal(err)
}
