package e2e

import (
	"strings"
	"syscall"
	"testing"

	"lap/client"
)

func TestMainJob(t *testing.T) { onEach(t, testMainJob) }

func testMainJob(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	agent := s.agent(t, client.NewAgent{Name: "worker", Prompt: "Be brief."})
	sess := s.session(t, agent.ID, client.NewSession{Title: "main job"})

	reply, err := s.Send(t.Context(), sess.ID, "say it back")
	if err != nil {
		t.Fatal(err)
	}
	if reply.Text() != "say it back" || reply.Info.Role != "assistant" || reply.Info.Finish != "stop" {
		t.Errorf("reply = %+v", reply)
	}
	if got := s.sh(t, sess.ID, "pwd; id -u"); got != "/work/repo\n0" {
		t.Errorf("the command printed %q", got)
	}
	after, err := s.Session(t.Context(), sess.ID)
	if err != nil {
		t.Fatal(err)
	}
	if after.TitlePreview == nil || *after.TitlePreview != "say it back" {
		t.Errorf("title_preview = %v", after.TitlePreview)
	}
	if !strings.Contains(string(after.Response), "/work/repo") {
		t.Errorf("response = %s", after.Response)
	}

	if err := s.DeleteSession(t.Context(), sess.ID); err != nil {
		t.Fatal(err)
	}
	if left := s.sandboxes(t, sess.ID); len(left) > 0 {
		t.Errorf("%d containers left after delete", len(left))
	}
	page, err := s.Messages(t.Context(), sess.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Data) != 5 { // user, reply; user, tool call, report
		t.Errorf("%d messages are kept of the ended session, want 5", len(page.Data))
	}
}

func TestConversationGoesOnAfterRestart(t *testing.T) { onEach(t, testConversationGoesOnAfterRestart) }

func testConversationGoesOnAfterRestart(t *testing.T, on runtime) {
	for name, sig := range map[string]syscall.Signal{"terminated": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			s := on.serve(t, options{})
			agent := s.agent(t, client.NewAgent{})
			sess := s.session(t, agent.ID, client.NewSession{})
			s.sh(t, sess.ID, "cd /tmp && echo kept > file")
			s.stop(t, sig)

			again := on.serve(t, options{dir: s.dir})
			again.deleteAfter(t, agent.ID)
			if got := again.sh(t, sess.ID, "pwd; cat file"); got != "/tmp\nkept" {
				t.Errorf("after the restart the sandbox printed %q", got)
			}
		})
	}
}
