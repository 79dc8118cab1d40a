package e2e

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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
	onEach(t, testTurnsAndStreamsSurviveTheServer)
}

func testTurnsAndStreamsSurviveTheServer(t *testing.T, on runtime) {
	dir := t.TempDir()
	first := on.serve(t, options{dir: dir})
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

	second := on.serve(t, options{dir: dir})
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

// A sandbox that is just writing to its server when that dies must not die with it.
func TestLoudSandboxSurvivesTheServer(t *testing.T) { onEach(t, testLoudSandboxSurvivesTheServer) }

func testLoudSandboxSurvivesTheServer(t *testing.T, on runtime) {
	s := on.serve(t, options{env: []string{"WARM_POOL_SIZE=0"}})
	agent := s.agent(t, client.NewAgent{})
	sess := s.session(t, agent.ID, client.NewSession{})
	s.sh(t, sess.ID, "truncate -s 4G /work/much; echo kept > /tmp/here")
	for range 3 {
		much, err := s.ReadFile(t.Context(), sess.ID, "/work/much")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, much, 1<<20); err != nil {
			t.Fatal(err)
		}
		var reading sync.WaitGroup
		reading.Go(func() {
			_, _ = io.Copy(io.Discard, much) // until its server is killed
			_ = much.Close()
		})
		s.stop(t, syscall.SIGKILL)
		reading.Wait()
		s = on.serve(t, options{dir: s.dir, env: []string{"WARM_POOL_SIZE=0"}})
		s.deleteAfter(t, agent.ID)
		if got := s.sh(t, sess.ID, "cat /tmp/here"); got != "kept" {
			t.Fatalf("the sandbox says %q", got)
		}
		if now, err := s.Session(t.Context(), sess.ID); err != nil || now.FailureReason != nil || strings.Contains(s.talk.String(), "sandbox lost") {
			t.Fatalf("the sandbox was lost: %+v, %v", now, err)
		}
	}
}

func TestLostSandboxComesBack(t *testing.T) { onEach(t, testLostSandboxComesBack) }

func testLostSandboxComesBack(t *testing.T, on runtime) {
	s := on.serve(t, options{env: []string{"WARM_POOL_SIZE=0"}})
	agent := s.agent(t, client.NewAgent{})
	sess := s.session(t, agent.ID, client.NewSession{})
	s.sh(t, sess.ID, "echo kept > /work/file")

	s.killSandbox(t, *sess.TaskARN)
	if got := s.sh(t, sess.ID, "cat /work/file"); got != "kept" {
		t.Errorf("a sandbox that was stopped came back with %q", got)
	}
	now, err := s.Session(t.Context(), sess.ID)
	if err != nil || now.TaskARN == nil || *now.TaskARN != *sess.TaskARN || now.FailureReason != nil {
		t.Errorf("session = %+v, %v", now, err)
	}

	s.removeSandbox(t, *sess.TaskARN)
	eventually(t, "the loss is noticed", func() bool {
		now, err := s.Session(t.Context(), sess.ID)
		return err == nil && now.Status == "dead" && now.FailureReason != nil && *now.FailureReason == "task disappeared"
	})
	if got := s.sh(t, sess.ID, "ls /work"); got != "repo" {
		t.Errorf("a fresh sandbox has %q", got)
	}
	if n := len(s.sandboxes(t, sess.ID)); n != 1 {
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

func TestRestartKeepsTheConversation(t *testing.T) { onEach(t, testRestartKeepsTheConversation) }

func testRestartKeepsTheConversation(t *testing.T, on runtime) {
	s := on.serve(t, options{env: []string{"WARM_POOL_SIZE=0"}})
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
	if n := len(s.sandboxes(t, sess.ID)); n != 1 {
		t.Errorf("%d containers", n)
	}
	if page, err := s.Messages(t.Context(), sess.ID); err != nil || page.Data[0].Info.Role != "user" || page.Total != 6 {
		t.Errorf("%d messages, %v", page.Total, err)
	}
}

func TestFrozenSandboxThaws(t *testing.T) { onEach(t, testFrozenSandboxThaws) }

func testFrozenSandboxThaws(t *testing.T, on runtime) {
	o := options{dir: t.TempDir(), env: []string{"WARM_POOL_SIZE=0", "LAP_FREEZE_AFTER=300ms"}}
	s := on.serve(t, o)
	agent := s.agent(t, client.NewAgent{})
	sess := s.session(t, agent.ID, client.NewSession{})
	frozen := func() bool { return s.paused(t, *sess.TaskARN) }
	eventually(t, "the sandbox is paused", frozen)
	if got := s.sh(t, sess.ID, "echo awake"); got != "awake" {
		t.Errorf("it says %q", got)
	}
	eventually(t, "the sandbox is paused again", frozen)
	s.stop(t, syscall.SIGKILL)
	s = on.serve(t, o)
	s.deleteAfter(t, agent.ID)
	if !frozen() {
		t.Error("a new server woke the sandbox")
	}
	if got := s.sh(t, sess.ID, "echo awake"); got != "awake" {
		t.Errorf("to a new server it says %q", got)
	}
}

func TestWarmSandboxIsTaken(t *testing.T) { onEach(t, testWarmSandboxIsTaken) }

func testWarmSandboxIsTaken(t *testing.T, on runtime) {
	s := on.serve(t, options{env: []string{"WARM_POOL_SIZE=1"}})
	agent := s.agent(t, client.NewAgent{})
	first := s.session(t, agent.ID, client.NewSession{})
	var warm string
	eventually(t, "a sandbox is warm", func() bool {
		d, err := s.Diagnose(t.Context(), first.ID)
		if err != nil || d.WarmPool.Warm != 1 {
			return false
		}
		for _, c := range s.sandboxes(t, agent.ID) {
			if c.Session != first.ID {
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
	eventually(t, "no container is left of the agent", func() bool { return len(s.sandboxes(t, agent.ID)) == 0 })
}

func TestInstallationsLeaveEachOtherAlone(t *testing.T) {
	onEach(t, testInstallationsLeaveEachOtherAlone)
}

func testInstallationsLeaveEachOtherAlone(t *testing.T, on runtime) {
	o := options{env: []string{"RECONCILE_INTERVAL_SECONDS=1"}}
	a, b := on.serve(t, o), on.serve(t, o)
	one := a.session(t, a.agent(t, client.NewAgent{}).ID, client.NewSession{})
	other := b.session(t, b.agent(t, client.NewAgent{}).ID, client.NewSession{})
	a.stop(t, syscall.SIGKILL)
	a = on.serve(t, options{dir: a.dir, env: o.env})
	time.Sleep(2500 * time.Millisecond) // two reconciles of each
	if _, err := a.Send(t.Context(), one.ID, "there?"); err != nil {
		t.Error(err)
	}
	if _, err := b.Send(t.Context(), other.ID, "there?"); err != nil {
		t.Error(err)
	}
	a.deleteAfter(t, one.AgentID)
}

func TestKeysHoldAcrossACrash(t *testing.T) { onEach(t, testKeysHoldAcrossACrash) }

func testKeysHoldAcrossACrash(t *testing.T, on runtime) {
	dir := t.TempDir()
	s := on.serve(t, options{dir: dir, env: []string{"WARM_POOL_SIZE=0"}})
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
	s = on.serve(t, options{dir: dir, env: []string{"WARM_POOL_SIZE=0"}})
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
	if n := len(s.sandboxes(t, agent.ID)); n != 1 {
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
