package e2e

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/go-cmp/cmp"

	"lap/client"
)

// A reader follows a session's stream, over connections that it cuts at random, from
// whatever server is there.
type reader struct {
	mu     sync.Mutex // guards what follows
	server *serving
	got    []frame
}

func (r *reader) follow(ctx context.Context, sessionID string) {
	after := int64(0)
	for ctx.Err() == nil {
		r.mu.Lock()
		server := r.server
		r.mu.Unlock()
		left := rand.IntN(20)
		_ = server.stream(ctx, sessionID, "follow=1&after="+strconv.FormatInt(after, 10), func(f frame) bool { // the server may be gone
			if f.kind() != "stream.opened" {
				after = f.id
				r.mu.Lock()
				r.got = append(r.got, f)
				r.mu.Unlock()
			}
			left--
			return left > 0
		})
	}
}

func (r *reader) frames() []frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *reader) turnTo(s *serving) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = s
}

func TestTurnsAndStreamsSurviveTheServer(t *testing.T) {
	engine(t)
	dir := t.TempDir()
	first := serve(t, options{dir: dir})
	agent, err := first.CreateAgent(t.Context(), client.NewAgent{Model: "scripted/echo", HarnessID: "lap"})
	if err != nil {
		t.Fatal(err)
	}
	sess := first.session(t, agent.ID, client.NewSession{})
	r := &reader{server: first}
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() { r.follow(ctx, sess.ID) })
	defer following.Wait()
	defer cancel()
	if _, err := first.Send(t.Context(), sess.ID, "RUN: echo before >> /work/seen"); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = first.Send(t.Context(), sess.ID, "RUN: echo during >> /work/seen; for i in $(seq 30); do echo $i; sleep 0.05; done; echo survived") // its server is killed
	}()
	eventually(t, "the turn runs", func() bool {
		return slices.ContainsFunc(r.frames(), func(f frame) bool { return strings.Contains(f.data, `"output":"1\n`) })
	})
	first.stop(t, syscall.SIGKILL)
	<-sent

	second := serve(t, options{dir: dir})
	second.deleteAfter(t, agent.ID)
	r.turnTo(second)
	eventually(t, "the reply is picked up", func() bool {
		now, err := second.Session(t.Context(), sess.ID)
		return err == nil && now.Status == "ready" && strings.Contains(string(now.Response), "survived")
	})
	if seen := second.sh(t, sess.ID, "cat /work/seen"); seen != "before\nduring" {
		t.Errorf("the harness saw %q", seen)
	}
	all := second.events(t, sess.ID)
	gapless(t, all)
	eventually(t, "the reader has read all", func() bool { return len(r.frames()) >= len(all) })
	if diff := cmp.Diff(all, r.frames(), cmp.AllowUnexported(frame{})); diff != "" {
		t.Errorf("what a reader got over cut connections differs from the log:\n%s", diff)
	}
}

func TestLostSandboxComesBack(t *testing.T) {
	docker := engine(t)
	s := serve(t, options{env: []string{"WARM_POOL_SIZE=0"}})
	agent := s.agent(t, client.NewAgent{})
	sess := s.session(t, agent.ID, client.NewSession{})
	s.sh(t, sess.ID, "echo kept > /work/file")

	if err := docker.ContainerKill(t.Context(), *sess.TaskARN, "KILL"); err != nil {
		t.Fatal(err)
	}
	if got := s.sh(t, sess.ID, "cat /work/file"); got != "kept" {
		t.Errorf("a sandbox that was stopped came back with %q", got)
	}
	now, err := s.Session(t.Context(), sess.ID)
	if err != nil || now.TaskARN == nil || *now.TaskARN != *sess.TaskARN || now.FailureReason != nil {
		t.Errorf("session = %+v, %v", now, err)
	}

	if err := docker.ContainerRemove(t.Context(), *sess.TaskARN, container.RemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss is noticed", func() bool {
		now, err := s.Session(t.Context(), sess.ID)
		return err == nil && now.Status == "dead" && now.FailureReason != nil && *now.FailureReason == "task disappeared"
	})
	if got := s.sh(t, sess.ID, "ls /work"); got != "repo" {
		t.Errorf("a fresh sandbox has %q", got)
	}
	if n := len(containers(t, docker, "dev.lap.session", sess.ID)); n != 1 {
		t.Errorf("%d containers", n)
	}
	told := 0
	page, err := s.Messages(t.Context(), sess.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range page.Data {
		for _, p := range m.Parts {
			if strings.HasPrefix(p.Text, "<previous_session_history>") {
				told++
				if !strings.Contains(p.Text, "echo kept") || strings.Contains(p.Text, "cat /work/file") != (told == 2) {
					t.Errorf("the history is %s", p.Text)
				}
			}
		}
	}
	if told != 2 { // once to each fresh harness
		t.Errorf("the history was told %d times", told)
	}
	if _, err := s.Send(t.Context(), sess.ID, "and on"); err != nil {
		t.Error(err)
	}
}

func TestRestartKeepsTheConversation(t *testing.T) {
	docker := engine(t)
	s := serve(t, options{env: []string{"WARM_POOL_SIZE=0"}})
	agent := s.agent(t, client.NewAgent{})
	sess := s.session(t, agent.ID, client.NewSession{EnvVars: map[string]string{"MINE": "still"}, EnvPlain: []string{"MINE"}})
	s.sh(t, sess.ID, "echo x > /work/file")
	after, err := s.Restart(t.Context(), sess.ID, nil)
	if err != nil || after.Status != "ready" || *after.TaskARN == *sess.TaskARN {
		t.Fatalf("session = %+v, %v", after, err)
	}
	if got := s.sh(t, sess.ID, "echo $MINE; ls /work"); got != "still\nrepo" {
		t.Errorf("the fresh sandbox has %q", got)
	}
	if n := len(containers(t, docker, "dev.lap.session", sess.ID)); n != 1 {
		t.Errorf("%d containers", n)
	}
	if page, err := s.Messages(t.Context(), sess.ID); err != nil || page.Data[0].Info.Role != "user" || page.Total != 6 {
		t.Errorf("%d messages, %v", page.Total, err)
	}
}

func TestFrozenSandboxThaws(t *testing.T) {
	docker := engine(t)
	o := options{dir: t.TempDir(), env: []string{"WARM_POOL_SIZE=0", "LAP_FREEZE_AFTER=300ms"}}
	s := serve(t, o)
	agent := s.agent(t, client.NewAgent{})
	sess := s.session(t, agent.ID, client.NewSession{})
	frozen := func() bool {
		c, err := docker.ContainerInspect(t.Context(), *sess.TaskARN)
		return err == nil && c.State.Paused
	}
	eventually(t, "the sandbox is paused", frozen)
	if got := s.sh(t, sess.ID, "echo awake"); got != "awake" {
		t.Errorf("it says %q", got)
	}
	eventually(t, "the sandbox is paused again", frozen)
	s.stop(t, syscall.SIGKILL)
	s = serve(t, o)
	s.deleteAfter(t, agent.ID)
	if !frozen() {
		t.Error("a new server woke the sandbox")
	}
	if got := s.sh(t, sess.ID, "echo awake"); got != "awake" {
		t.Errorf("to a new server it says %q", got)
	}
}

func TestWarmSandboxIsTaken(t *testing.T) {
	docker := engine(t)
	s := serve(t, options{env: []string{"WARM_POOL_SIZE=1"}})
	agent := s.agent(t, client.NewAgent{})
	first := s.session(t, agent.ID, client.NewSession{})
	var warm string
	eventually(t, "a sandbox is warm", func() bool {
		d, err := s.Diagnose(t.Context(), first.ID)
		if err != nil || d.WarmPool.Warm != 1 {
			return false
		}
		for _, c := range containers(t, docker, "dev.lap.agent", agent.ID) {
			if c.Labels["dev.lap.session"] != first.ID {
				warm = c.ID
			}
		}
		return warm != ""
	})
	sess := s.session(t, agent.ID, client.NewSession{EnvVars: map[string]string{"MINE": "yes"}, EnvPlain: []string{"MINE"}})
	if sess.TaskARN == nil || *sess.TaskARN != warm {
		t.Errorf("the session has container %v, want %s", sess.TaskARN, warm)
	}
	if got := s.sh(t, sess.ID, "echo $MINE $SESSION_ID"); got != "yes "+sess.ID {
		t.Errorf("it says %q", got)
	}
	if err := s.DeleteAgent(t.Context(), agent.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no container is left of the agent", func() bool { return len(containers(t, docker, "dev.lap.agent", agent.ID)) == 0 })
}

func TestInstallationsLeaveEachOtherAlone(t *testing.T) {
	engine(t)
	o := options{env: []string{"RECONCILE_INTERVAL_SECONDS=1"}}
	a, b := serve(t, o), serve(t, o)
	one := a.session(t, a.agent(t, client.NewAgent{}).ID, client.NewSession{})
	other := b.session(t, b.agent(t, client.NewAgent{}).ID, client.NewSession{})
	a.stop(t, syscall.SIGKILL)
	a = serve(t, options{dir: a.dir, env: o.env})
	time.Sleep(2500 * time.Millisecond) // two reconciles of each
	if _, err := a.Send(t.Context(), one.ID, "there?"); err != nil {
		t.Error(err)
	}
	if _, err := b.Send(t.Context(), other.ID, "there?"); err != nil {
		t.Error(err)
	}
	a.deleteAfter(t, one.AgentID)
}

func TestKeysHoldAcrossACrash(t *testing.T) {
	docker := engine(t)
	dir := t.TempDir()
	s := serve(t, options{dir: dir, env: []string{"WARM_POOL_SIZE=0"}})
	agent, err := s.CreateAgent(t.Context(), client.NewAgent{Model: "scripted/echo", HarnessID: "lap"})
	if err != nil {
		t.Fatal(err)
	}
	created := s.keyed(t, "/agents/"+agent.ID+"/session", "create-1", `{}`)
	var sess client.Session
	if err := json.Unmarshal([]byte(created.body), &sess); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AwaitReady(t.Context(), sess.ID, func(client.Session) {}); err != nil {
		t.Fatal(err)
	}
	message := "/sessions/" + sess.ID + "/message"
	said := s.keyed(t, message, "say-1", `{"text":"RUN: echo once >> /work/seen"}`)
	s.stop(t, syscall.SIGKILL)
	s = serve(t, options{dir: dir, env: []string{"WARM_POOL_SIZE=0"}})
	s.deleteAfter(t, agent.ID)
	if again := s.keyed(t, "/agents/"+agent.ID+"/session", "create-1", `{}`); again != created {
		t.Errorf("create again: %+v, want %+v", again, created)
	}
	if again := s.keyed(t, message, "say-1", `{"text":"RUN: echo once >> /work/seen"}`); again != said {
		t.Errorf("message again: %+v, want %+v", again, said)
	}
	if other := s.keyed(t, message, "say-1", `{"text":"other"}`); other.status != http.StatusConflict {
		t.Errorf("another body: %+v", other)
	}
	if seen := s.sh(t, sess.ID, "cat /work/seen"); seen != "once" {
		t.Errorf("the harness saw %q", seen)
	}
	if n := len(containers(t, docker, "dev.lap.agent", agent.ID)); n != 1 {
		t.Errorf("%d containers", n)
	}
}

// keyed posts a body with an idempotency key.
func (s *serving) keyed(t *testing.T, path, key, body string) answer {
	t.Helper()
	req := s.request(t, http.MethodPost, managed+path, body)
	req.Header.Set("Idempotency-Key", key)
	return do(t, req)
}
