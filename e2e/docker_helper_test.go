package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	dockerclient "github.com/docker/docker/client"

	"lap/client"
)

// engine returns a client of the Docker engine, or skips the test when none answers.
// With LAP_TEST_REQUIRE_ALL set that is a failure.
func engine(t *testing.T) *dockerclient.Client {
	t.Helper()
	docker, err := dockerclient.NewClientWithOpts(dockerclient.FromEnv, dockerclient.WithAPIVersionNegotiation())
	if err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = docker.Ping(ctx)
	}
	if err != nil {
		if os.Getenv("LAP_TEST_REQUIRE_ALL") != "" {
			t.Fatalf("no Docker engine answers: %v", err)
		}
		t.Skipf("needs a Docker engine, and none answers: %v", err)
	}
	t.Cleanup(func() {
		if err := docker.Close(); err != nil {
			t.Error(err)
		}
	})
	return docker
}

// containers returns all containers made for an agent or a session, running or not.
func containers(t *testing.T, docker *dockerclient.Client, label, value string) []container.Summary {
	t.Helper()
	list, err := docker.ContainerList(t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", label+"="+value))})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// agent creates an agent on the built-in harness, deleted with the test.
func (s *serving) agent(t *testing.T, in client.NewAgent) client.Agent {
	t.Helper()
	if in.HarnessID == "" {
		in.HarnessID = "lap"
	}
	if in.Model == "" {
		in.Model = "scripted/echo"
	}
	a, err := s.CreateAgent(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	s.deleteAfter(t, a.ID)
	return a
}

// deleteAfter deletes an agent with the test, if the server still runs then.
func (s *serving) deleteAfter(t *testing.T, agentID string) {
	t.Helper()
	t.Cleanup(func() {
		if !s.running() {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		var gone *client.Error
		if err := s.DeleteAgent(ctx, agentID); err != nil && (!errors.As(err, &gone) || gone.Status != 404) {
			t.Errorf("delete agent: %v", err)
		}
	})
}

// session opens a session and waits until it is ready.
func (s *serving) session(t *testing.T, agentID string, in client.NewSession) client.Session {
	t.Helper()
	created, err := s.CreateSession(t.Context(), agentID, in)
	if err != nil {
		t.Fatal(err)
	}
	ready, err := s.AwaitReady(t.Context(), created.ID, func(client.Session) {})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.talk)
	}
	return ready
}

// failure waits for a session that cannot start and returns why.
func (s *serving) failure(t *testing.T, agentID string, in client.NewSession) string {
	t.Helper()
	created, err := s.CreateSession(t.Context(), agentID, in)
	if err != nil {
		t.Fatal(err)
	}
	failed, err := s.AwaitReady(t.Context(), created.ID, func(client.Session) {})
	if err == nil || failed.FailureReason == nil {
		t.Fatalf("session %s is %s, want failed with a reason", created.ID, failed.Status)
	}
	return *failed.FailureReason
}

// sh runs a command in the sandbox through the scripted agent and returns its output.
func (s *serving) sh(t *testing.T, sessionID, command string) string {
	t.Helper()
	if _, err := s.Send(t.Context(), sessionID, "RUN: "+command); err != nil {
		t.Fatalf("%v\n%s", err, s.talk)
	}
	page, err := s.Messages(t.Context(), sessionID)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range slices.Backward(page.Data) {
		for _, p := range m.Parts {
			if p.Type == "tool" {
				return strings.TrimSpace(p.State.Output)
			}
		}
	}
	t.Fatalf("no tool ran for %q", command)
	return ""
}

// inspect returns what the engine tells of a session's container, typed and as text.
func inspect(t *testing.T, docker *dockerclient.Client, sess client.Session) (container.InspectResponse, string) {
	t.Helper()
	if sess.TaskARN == nil {
		t.Fatal("the session has no task_arn")
	}
	c, err := docker.ContainerInspect(t.Context(), *sess.TaskARN)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, string(text)
}

// eventually waits until ok holds, for at most 20 seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s still not: %s", what)
		}
	}
}
