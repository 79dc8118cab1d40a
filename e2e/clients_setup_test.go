package e2e

import (
	"net/http"
	"strings"
	"testing"

	"lap/client"
)

// TestSetup prepares projects with commands that use the vault.
func TestSetup(t *testing.T) { onEach(t, testSetup) }

func testSetup(t *testing.T, on runtime) {
	far := newFarSide(t)
	host := hostedRepository(t, realKey)
	s := on.serve(t, options{env: far.settings()})
	plain := s.session(t, s.fullAgent(t, newAgent{}), client.NewSession{})
	s.needs(t, plain.ID, "curl")
	repository := func(id, command string) project {
		return project{ID: id, Name: "the " + id, RepoURL: host + "/open/r.git", SetupCmd: command}
	}

	t.Run("done", func(t *testing.T) {
		b := s.box(t, far, newAgent{Projects: []project{
			repository("one", "curl -sS -H \"Authorization: Bearer $KEY\" https://key.clients.test/echo >got"),
			repository("two", "cat ../one/got hello.txt >got"),
		}})
		b.try(t, []clientTest{
			{"the first", "cat /work/projects/one/got", "GET STUB"},
			{"the second after it", "cat /work/projects/two/got", "GET STUB\nhello"},
		})
	})

	t.Run("failed", func(t *testing.T) {
		id := s.fullAgent(t, newAgent{Projects: []project{repository("bad", "test -z \"$WHY\" || echo it is broken >&2; exit 3")}})
		reason := s.failure(t, id, client.NewSession{EnvVars: map[string]string{"WHY": sessionValue}})
		if want := "setup_cmd of project the bad failed with status 3: it is broken"; !strings.Contains(reason, want) {
			t.Errorf("failure_reason = %q, want %q in it", reason, want)
		}
	})

	t.Run("requirements without Python", func(t *testing.T) {
		if got := s.sh(t, plain.ID, "python3 -m pip --version >/dev/null 2>&1 && echo there"); got == "there" {
			t.Skip("sandboxes have Python with pip here")
		}
		id := s.fullAgent(t, newAgent{Requirements: "requests==2.0"})
		reason := s.failure(t, id, client.NewSession{})
		const want = "requirements could not be installed: they need Python with pip, which the sandbox's image has not: choose a harness_image that has it"
		if !strings.Contains(reason, want) {
			t.Errorf("failure_reason = %q, want %q in it", reason, want)
		}
		a := do(t, s.request(t, http.MethodGet, managed+"/agents/"+id, ""))
		if a.status != http.StatusOK || !strings.Contains(a.body, "requests==2.0") {
			t.Errorf("the agent is %d %s", a.status, a.body)
		}
	})
}
