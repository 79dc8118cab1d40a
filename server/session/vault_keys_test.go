package session_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/db"
	"lap/server/session"
)

func TestVaultKeys(t *testing.T) {
	w := newWorld(t, nil)
	agent, err := w.store.UpdateAgent(t.Context(), w.agent.ID, func(a *db.Agent) error {
		a.SetEnv(map[string]string{"Z": "1", "PLAIN": "2", "BOTH": "3", "HIDDEN": "4", "LAP_FILE_0_CONTENT": "5", "A": "6"})
		a.EnvPlain = []string{"PLAIN"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.agent = agent
	s := w.await(t, w.create(t, session.NewSession{
		Env:      map[string]string{"OWN": "1", "BOTH": "2", "HIDDEN": "3"}, // HIDDEN is no secret any more
		EnvPlain: []string{"HIDDEN"},
	}).ID, db.StatusReady)
	keys := func(s db.Session) []string {
		t.Helper()
		names, err := w.VaultKeys(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if diff := cmp.Diff([]string{"A", "Z", "BOTH", "OWN"}, keys(s)); diff != "" {
		t.Error(diff)
	}
	without := s
	without.ContainerID = nil
	if names := keys(without); names != nil {
		t.Errorf("without a sandbox: %s", names)
	}
	if s, err = w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if names := keys(s); names != nil {
		t.Errorf("after its end: %s", names)
	}
}

// The operator's secrets have stubs. Keys that only lap may know are in no sandbox at all.
func TestVaultKeysOfTheOperator(t *testing.T) {
	env := map[string]string{
		"SLACK_TOKEN": "1", "REGION": "2", "PUBLIC_KEY": "3", "EMPTY_TOKEN": "", "DATABASE_URL": "4", "LITELLM_API_KEY": "5",
		"MASTER_KEY": "6", "GIT_TOKEN": "7", "ENCRYPTION_KEY": "8", "HARNESS_TOKEN_SIGNING_KEY": "9", "LAP_ACCESS_TOKEN": "10",
	}
	w := newWorld(t, func(c *session.Config) { c.Env, c.EnvPlain = env, []string{"PUBLIC_KEY"} })
	s := w.await(t, w.create(t, session.NewSession{Env: map[string]string{"LAP_AUTH_TOKEN": "11"}}).ID, db.StatusReady)
	names, err := w.VaultKeys(t.Context(), s)
	if diff := cmp.Diff([]string{"DATABASE_URL", "SLACK_TOKEN"}, names); diff != "" || err != nil {
		t.Error(diff, err)
	}
	p, err := session.Policy(w.Engine, t.Context(), s.ID)
	if err != nil || len(p.Credentials) != 2 {
		t.Errorf("credentials = %+v, %v", p.Credentials, err)
	}
	w.runtime.do(*s.ContainerID, func(b *fakeBox) {
		for name, value := range env {
			plain := name == "REGION" || name == "PUBLIC_KEY" || name == "EMPTY_TOKEN"
			if inside, has := b.boot.Env[name]; has && inside == value != plain {
				t.Errorf("%s=%s is in the sandbox", name, inside)
			}
		}
	})
}

// TestBindingsAndBudgetAreStored creates a session, and restarts it with other variables.
func TestBindingsAndBudgetAreStored(t *testing.T) {
	w := newWorld(t, nil)
	in := session.NewSession{
		Env: map[string]string{"A": "1"}, EnvHosts: map[string][]string{"A": {"x.com"}}, Budget: &db.Budget{Turns: new(int64(3))},
	}
	s := w.await(t, w.create(t, in).ID, db.StatusReady)
	for _, step := range []struct{ given, want map[string][]string }{
		{nil, in.EnvHosts}, {map[string][]string{"B": {"y.com"}}, map[string][]string{"B": {"y.com"}}}, {map[string][]string{}, nil},
	} {
		after, err := w.Restart(t.Context(), s.ID, map[string]string{"A": "1", "B": "2"}, step.given)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, after.EnvHosts); diff != "" || *after.Budget.Turns != 3 {
			t.Errorf("after a restart with %v: %+v %s", step.given, after.Budget, diff)
		}
	}
}
