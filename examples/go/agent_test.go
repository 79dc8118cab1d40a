// Package agent shows a test of a program whose agents run on lap. Each test has a server of
// its own, so all of them run side by side.
package agent

import (
	"encoding/json"
	"testing"
	"time"

	"lap/client"
	"lap/laptest"
)

func TestReply(t *testing.T) {
	t.Parallel()
	lap := laptest.Start(t)
	session := open(t, lap, "scripted/echo")

	reply, err := lap.Send(t.Context(), session.ID, "hello")
	if err != nil {
		t.Fatal(err)
	}
	if reply.Text() != "hello" {
		t.Errorf("the reply is %q", reply.Text())
	}
	requests := lap.Requests(t)
	if len(requests) != 1 || requests[0].SessionID != session.ID || lastText(t, requests[0]) != "hello" {
		t.Errorf("the model was asked %+v", requests)
	}
}

// The model scripted/triage looks at the issue in the sandbox, then decides.
const triage = `
turns:
  - tool_calls:
      - name: bash
        arguments: {command: "echo 'Title: crash on start'"}
  - when: {tool: crash}
    text: "priority: high"
  - text: "priority: low"
`

func TestScript(t *testing.T) {
	t.Parallel()
	lap := laptest.Start(t, laptest.Script("triage", triage))
	session := open(t, lap, "scripted/triage")

	reply, err := lap.Send(t.Context(), session.ID, "Triage the issue.")
	if err != nil {
		t.Fatal(err)
	}
	if reply.Text() != "priority: high" {
		t.Errorf("the reply is %q", reply.Text())
	}
}

func TestIdleSessionEnds(t *testing.T) {
	t.Parallel()
	lap := laptest.Start(t)
	session := open(t, lap, "scripted/echo")

	lap.Clock(t, 25*time.Hour) // a session may be idle for 24 hours

	ended, err := lap.Session(t.Context(), session.ID)
	if err != nil {
		t.Fatal(err)
	}
	if ended.FailureReason == nil || *ended.FailureReason != "idle timeout" {
		t.Errorf("the session is %+v", ended)
	}
}

// open opens a session of a new agent and waits until it takes messages.
func open(t *testing.T, lap *laptest.Server, model string) client.Session {
	t.Helper()
	agent, err := lap.CreateAgent(t.Context(), client.NewAgent{Model: model, HarnessID: "lap"})
	if err != nil {
		t.Fatal(err)
	}
	session, err := lap.CreateSession(t.Context(), agent.ID, client.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	if session, err = lap.AwaitReady(t.Context(), session.ID, func(client.Session) {}); err != nil {
		t.Fatal(err)
	}
	return session
}

// lastText is what the user said last in a call of the model.
func lastText(t *testing.T, r laptest.Request) string {
	t.Helper()
	var body struct {
		Messages []struct{ Content json.RawMessage }
	}
	if err := json.Unmarshal(r.Body, &body); err != nil {
		t.Fatal(err)
	}
	var parts []struct{ Text string }
	if err := json.Unmarshal(body.Messages[len(body.Messages)-1].Content, &parts); err != nil {
		t.Fatal(err)
	}
	return parts[len(parts)-1].Text
}
