package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
	dockerimage "github.com/docker/docker/api/types/image"

	"lap/client"
	"lap/sandbox"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestFailedSessionsSayWhy(t *testing.T) { onEach(t, testFailedSessionsSayWhy) }

func testFailedSessionsSayWhy(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	tests := []struct {
		name  string
		agent client.NewAgent
		want  []string
	}{
		{"harness that is not there", client.NewAgent{HarnessID: "opencode"}, []string{`"opencode"`, `"lap"`}},
		{"terminal harness", client.NewAgent{HarnessID: "claude-code"}, []string{`"claude-code"`, `"lap"`}},
		{"image that cannot be pulled", client.NewAgent{HarnessImage: "127.0.0.1:9/no/such:image"}, []string{"127.0.0.1:9/no/such:image", "pull", "refused"}},
	}
	if on.engine == nil { // there are no images
		tests = tests[:2]
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			agent := s.agent(t, tt.agent)
			reason := s.failure(t, agent.ID, client.NewSession{})
			for _, want := range tt.want {
				if !strings.Contains(reason, want) {
					t.Errorf("failure_reason %q does not name %q", reason, want)
				}
			}
			if left := s.sandboxes(t, agent.ID); len(left) > 0 {
				t.Errorf("%d containers left", len(left))
			}
		})
	}
}

// noEngine is the setting of an engine that does not answer.
const noEngine = "DOCKER_HOST=unix:///nonexistent/docker.sock"

func TestWithoutEngine(t *testing.T) {
	s := serve(t, options{env: []string{"LAP_SANDBOX=docker", noEngine}})
	reason := s.failure(t, s.agent(t, client.NewAgent{}).ID, client.NewSession{})
	for _, want := range []string{"/nonexistent/docker.sock", "start Docker"} {
		if !strings.Contains(reason, want) {
			t.Errorf("failure_reason %q does not say %q", reason, want)
		}
	}
}

func TestWithoutEngineSandboxesAreNative(t *testing.T) {
	onNative(t)
	s := serve(t, options{env: []string{noEngine}})
	sess := s.session(t, s.agent(t, client.NewAgent{}).ID, client.NewSession{})
	if !strings.HasPrefix(*sess.TaskARN, sandbox.NativePrefix) || s.sh(t, sess.ID, "echo there") != "there" {
		t.Errorf("the sandbox is %s", *sess.TaskARN)
	}
}

func TestStopDuringCreating(t *testing.T) { onEach(t, testStopDuringCreating) }

func testStopDuringCreating(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	agent := s.agent(t, client.NewAgent{})
	for range 5 {
		sess, err := s.CreateSession(t.Context(), agent.ID, client.NewSession{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteSession(t.Context(), sess.ID); err != nil {
			t.Fatal(err)
		}
		if left := s.sandboxes(t, sess.ID); len(left) > 0 {
			t.Errorf("%d containers left after delete", len(left))
		}
		after, err := s.Session(t.Context(), sess.ID)
		if err != nil || after.Status != "dead" || after.FailureReason != nil {
			t.Errorf("session %+v, error %v; want dead without a reason", after, err)
		}
	}
}

func TestDeletedAgentLeavesNothing(t *testing.T) { onEach(t, testDeletedAgentLeavesNothing) }

func testDeletedAgentLeavesNothing(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	agent := s.agent(t, client.NewAgent{})
	s.session(t, agent.ID, client.NewSession{})
	if _, err := s.CreateSession(t.Context(), agent.ID, client.NewSession{}); err != nil { // still creating
		t.Fatal(err)
	}
	if err := s.DeleteAgent(t.Context(), agent.ID); err != nil {
		t.Fatal(err)
	}
	if left := s.sandboxes(t, agent.ID); len(left) > 0 {
		t.Errorf("%d containers left", len(left))
	}
}

func TestKilledDuringCreating(t *testing.T) { onEach(t, testKilledDuringCreating) }

func testKilledDuringCreating(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	agent := s.agent(t, client.NewAgent{})
	var sessions []client.Session
	for range 3 {
		sess, err := s.CreateSession(t.Context(), agent.ID, client.NewSession{})
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, sess)
	}
	if _, err := s.AwaitReady(t.Context(), sessions[0].ID, func(client.Session) {}); err != nil {
		t.Fatal(err)
	}
	s.stop(t, syscall.SIGKILL)
	again := on.serve(t, options{dir: s.dir, env: []string{"RECONCILE_INTERVAL_SECONDS=1"}})
	again.deleteAfter(t, agent.ID)
	for _, sess := range sessions { // those that were creating are brought up anew
		if _, err := again.AwaitReady(t.Context(), sess.ID, func(client.Session) {}); err != nil {
			t.Errorf("%v\n%s", err, again.talk)
			continue
		}
		again.sh(t, sess.ID, "true")
		eventually(t, "one container a session", func() bool { return len(s.sandboxes(t, sess.ID)) == 1 })
	}
}

// TestSandboxThatCannotBeReplaced loses a sandbox together with its image.
func TestSandboxThatCannotBeReplaced(t *testing.T) {
	docker := engine(t)
	image := "lap-e2e:" + rand.Text()
	if err := docker.ImageTag(t.Context(), "debian:bookworm-slim", strings.ToLower(image)); err != nil {
		t.Skipf("needs debian:bookworm-slim: %v", err)
	}
	untag := sync.OnceFunc(func() {
		if _, err := docker.ImageRemove(context.WithoutCancel(t.Context()), strings.ToLower(image), dockerimage.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(untag)
	s := serve(t, options{env: []string{"LAP_PULL=never", "WARM_POOL_SIZE=0"}})
	agent := s.agent(t, client.NewAgent{HarnessImage: strings.ToLower(image)})
	sess := s.session(t, agent.ID, client.NewSession{})
	s.sh(t, sess.ID, "echo before")
	if err := docker.ContainerRemove(t.Context(), *sess.TaskARN, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	untag()
	var failed *client.Error
	if _, err := s.Send(t.Context(), sess.ID, "anybody there?"); !errors.As(err, &failed) || failed.Status != 502 || !strings.Contains(failed.Message, "LAP_PULL") {
		t.Errorf("a message to a sandbox that cannot be replaced: %v, want 502 with the reason", err)
	}
	after, err := s.Session(t.Context(), sess.ID)
	if err != nil || after.Status != "dead" || after.FailureReason == nil || !strings.HasPrefix(*after.FailureReason, "sandbox unreachable") {
		t.Errorf("session %+v, error %v; want dead with a reason", after, err)
	}
	if left := containers(t, docker, "dev.lap.session", sess.ID); len(left) > 0 {
		t.Errorf("%d containers left", len(left))
	}
	if page, err := s.Messages(t.Context(), sess.ID); err != nil || len(page.Data) < 3 {
		t.Errorf("%d messages left of the conversation, error %v", len(page.Data), err)
	}
}

func TestManySessionsAtOnce(t *testing.T) { onEach(t, testManySessionsAtOnce) }

func testManySessionsAtOnce(t *testing.T, on runtime) {
	s := on.serve(t, options{env: []string{"LAP_SANDBOX_MEMORY=128m"}})
	agent := s.agent(t, client.NewAgent{})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			created, err := s.CreateSession(t.Context(), agent.ID, client.NewSession{})
			if err != nil {
				t.Errorf("create: %v", err)
				return
			}
			if _, err := s.AwaitReady(t.Context(), created.ID, func(client.Session) {}); err != nil {
				t.Error(err)
				return
			}
			reply, err := s.Send(t.Context(), created.ID, "number "+itoa(i))
			if err != nil || reply.Text() != "number "+itoa(i) {
				t.Errorf("reply %q, error %v", reply.Text(), err)
			}
		})
	}
	wg.Wait()
}
