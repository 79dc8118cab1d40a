package session_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lap/db"
	"lap/sandbox/vault"
	"lap/sandbox/vault/rule"
	"lap/server/session"
)

// credential finds what the vault knows of a variable.
func credential(t *testing.T, p vault.Policy, name string) (vault.Credential, bool) {
	t.Helper()
	for _, c := range p.Credentials {
		if c.Name == name {
			return c, true
		}
	}
	return vault.Credential{}, false
}

// edit changes the world's agent.
func (w *world) edit(t *testing.T, change func(*db.Agent)) {
	t.Helper()
	var err error
	w.agent, err = w.store.UpdateAgent(t.Context(), w.agent.ID, func(a *db.Agent) error { change(a); return nil })
	if err != nil {
		t.Fatal(err)
	}
	w.Changed(w.agent.ID)
}

func hostsOf(c vault.Credential) string {
	var list []string
	for _, e := range c.Hosts {
		list = append(list, e.String())
	}
	return strings.Join(list, " ")
}

func TestWhereCredentialsGo(t *testing.T) {
	repo, six := "https://git.corp.example/team/repo", "https://[2001:db8::1]/team/repo"
	tests := []struct {
		name    string
		agent   db.Agent
		env     map[string]string
		in      session.NewSession
		change  func(*session.Config)
		secret  string // name of a variable of the agent
		hosts   string
		reason  string // part of it
		noStub  bool
		allowed string // what is allowed, when there is a list
	}{
		{name: "bound", env: map[string]string{"K": "v"}, agent: db.Agent{AllowOut: []string{"a.example", "b.example"}, EnvVarHosts: map[string][]string{"K": {"a.example"}}}, secret: "K", hosts: "a.example"},
		{name: "suggested", env: map[string]string{"LINEAR_API_KEY": "v"}, secret: "LINEAR_API_KEY", hosts: "api.linear.app"},
		{name: "suggested before allowed", env: map[string]string{"LINEAR_API_KEY": "v"}, agent: db.Agent{AllowOut: []string{"a.example"}}, secret: "LINEAR_API_KEY", hosts: "api.linear.app"},
		{name: "allowed", env: map[string]string{"K": "v"}, agent: db.Agent{AllowOut: []string{"a.example", "*.b.example"}}, secret: "K", hosts: "a.example *.b.example"},
		{name: "nowhere", env: map[string]string{"K": "v"}, secret: "K", reason: "K is bound to no host"},
		{name: "its repository's host", env: map[string]string{"GITHUB_TOKEN": "v"}, agent: db.Agent{RepoURL: &repo}, secret: "GITHUB_TOKEN", hosts: "github.com api.github.com *.githubusercontent.com git.corp.example"},
		{name: "its repository is at an address of IPv6", env: map[string]string{"GITHUB_TOKEN": "v"}, agent: db.Agent{RepoURL: &six}, secret: "GITHUB_TOKEN", hosts: "github.com api.github.com *.githubusercontent.com"},
		{name: "the session's own", in: session.NewSession{Env: map[string]string{"K": "v"}, EnvHosts: map[string][]string{"K": {"s.example"}}}, env: map[string]string{"K": "other"}, secret: "K", hosts: "s.example"},
		{name: "plain", env: map[string]string{"K": "v"}, agent: db.Agent{EnvPlain: []string{"K"}}, secret: "K", noStub: true},
		{name: "plain in the session", env: map[string]string{"K": "v"}, in: session.NewSession{Env: map[string]string{"K": "v"}, EnvPlain: []string{"K"}}, secret: "K", noStub: true},
		{name: "a file", env: map[string]string{"LAP_FILE_0_DEST": "~/x"}, secret: "LAP_FILE_0_DEST", noStub: true},
		{name: "empty", env: map[string]string{"K": ""}, secret: "K", noStub: true},
		{name: "the operator's secret", change: func(c *session.Config) { c.Env = map[string]string{"SLACK_BOT_TOKEN": "v"} }, secret: "SLACK_BOT_TOKEN", hosts: "slack.com www.slack.com"},
		{name: "the operator's setting", change: func(c *session.Config) { c.Env = map[string]string{"REGION": "v"} }, secret: "REGION", noStub: true},
		{name: "the operator's plain", change: func(c *session.Config) {
			c.Env, c.EnvPlain = map[string]string{"PUBLIC_KEY": "v"}, []string{"PUBLIC_KEY"}
		}, secret: "PUBLIC_KEY", noStub: true},
		{name: "the operator's own key", change: func(c *session.Config) { c.Env = map[string]string{"GIT_TOKEN": "v"} }, secret: "GIT_TOKEN", noStub: true},
		{name: "anywhere, where the server denies", env: map[string]string{"K": "v"}, change: func(c *session.Config) { c.Egress.Anywhere, c.Egress.DefaultDeny = true, true }, secret: "K", reason: "refused by default it goes to none"},
		{name: "anywhere, where the agent denies", env: map[string]string{"LINEAR_API_KEY": "v"}, agent: db.Agent{DefaultDeny: new(true)}, change: func(c *session.Config) { c.Egress.Anywhere = true }, secret: "LINEAR_API_KEY", reason: "refused by default it goes to none"},
		{name: "anywhere, bound where the agent denies", env: map[string]string{"K": "v"}, agent: db.Agent{DefaultDeny: new(true), AllowOut: []string{"a.example"}, EnvVarHosts: map[string][]string{"K": {"a.example"}}}, change: func(c *session.Config) { c.Egress.Anywhere = true }, secret: "K", hosts: "a.example"},
		{name: "anywhere", env: map[string]string{"K": "v"}, change: func(c *session.Config) { c.Egress.Anywhere = true }, secret: "K"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.change)
			w.edit(t, func(a *db.Agent) {
				a.AllowOut, a.EnvVarHosts, a.EnvPlain, a.RepoURL = tt.agent.AllowOut, tt.agent.EnvVarHosts, tt.agent.EnvPlain, nil
				a.DefaultDeny = tt.agent.DefaultDeny
				a.SetEnv(tt.env)
			})
			s := w.await(t, w.create(t, tt.in).ID, db.StatusReady)
			w.edit(t, func(a *db.Agent) { a.RepoURL = tt.agent.RepoURL }) // which is not fetched then
			p, err := session.Policy(w.Engine, t.Context(), s.ID)
			if err != nil {
				t.Fatal(err)
			}
			c, ok := credential(t, p, tt.secret)
			if ok == tt.noStub {
				t.Fatalf("credentials = %v", p.Credentials)
			}
			if ok && (hostsOf(c) != tt.hosts || tt.reason == "" != (c.Reason == "") || !strings.Contains(c.Reason, tt.reason) || c.Anywhere != (tt.name == "anywhere")) {
				t.Errorf("credential = %+v", c)
			}
			var inside string
			w.runtime.do(*s.ContainerID, func(b *fakeBox) { inside = b.boot.Env[tt.secret] })
			if ok && (inside != c.Stub || c.Value != "v" || !strings.HasPrefix(inside, "stub_")) {
				t.Errorf("inside %q, credential %+v", inside, c)
			}
			if stubbed := strings.HasPrefix(inside, "stub_"); stubbed == tt.noStub {
				t.Errorf("inside %q", inside)
			}
		})
	}
}

// What is said of an agent's rules holds at once, and nothing leaves when it makes no sense.
func TestRulesOfRunningSessions(t *testing.T) {
	w := newWorld(t, func(c *session.Config) {
		entry, err := rule.ParseEntry("never.example")
		if err != nil {
			t.Fatal(err)
		}
		c.Egress.Deny, c.Egress.DefaultDeny = []rule.Entry{entry}, true
	})
	s := w.ready(t)
	allowed := func(host string) bool {
		t.Helper()
		p, err := session.Policy(w.Engine, t.Context(), s.ID)
		if err != nil {
			return false
		}
		target, err := rule.ParseTarget(host, 443)
		if err != nil {
			t.Fatal(err)
		}
		return p.Rules.Host(target).Allowed
	}
	if allowed("a.example") {
		t.Error("the default is to deny")
	}
	w.edit(t, func(a *db.Agent) { a.DefaultDeny = new(false) })
	if !allowed("a.example") || allowed("never.example") {
		t.Error("the agent's own default does not hold")
	}
	w.edit(t, func(a *db.Agent) { a.AllowOut, a.DenyOut = []string{"*.example"}, []string{"a.example"} })
	if !allowed("b.example") || allowed("a.example") || allowed("b.test") || allowed("never.example") {
		t.Error("the agent's lists do not hold")
	}
	w.edit(t, func(a *db.Agent) {
		a.SetEnv(map[string]string{"K": "v"})
		a.EnvVarHosts = map[string][]string{"K": {"bound.test"}}
	})
	if !allowed("bound.test") {
		t.Error("what a credential is bound to cannot be reached")
	}
	w.edit(t, func(a *db.Agent) { a.AllowOut = []string{"no host at all"} })
	if _, err := session.Policy(w.Engine, t.Context(), s.ID); err == nil || allowed("b.example") {
		t.Error("a rule that makes no sense is overlooked")
	}
	if _, err := session.Policy(w.Engine, t.Context(), "00000000-0000-4000-8000-000000000000"); err == nil {
		t.Error("a session that does not exist has rules")
	}
}

// A session's own variables are nowhere but in this process and, sealed, in its sandbox.
func TestCredentialsOutliveTheProcess(t *testing.T) {
	w := newWorld(t, nil)
	s := w.await(t, w.create(t, session.NewSession{Env: map[string]string{"K": "a real value"}}).ID, db.StatusReady)
	before, err := session.Policy(w.Engine, t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	w.restart(t)
	var after vault.Policy
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if after, err = session.Policy(w.Engine, t.Context(), s.ID); err == nil || time.Now().After(deadline) {
			break
		}
	}
	b, _ := credential(t, before, "K")
	a, _ := credential(t, after, "K")
	if a.Value != "a real value" || a.Stub != b.Stub {
		t.Errorf("before %+v, after %+v", b, a)
	}
	var sealed, inside string
	w.runtime.do(*s.ContainerID, func(b *fakeBox) { sealed, inside = b.boot.Sealed, b.boot.Env["K"] })
	if sealed == "" || strings.Contains(sealed, "real") || inside != a.Stub {
		t.Errorf("sealed %q, inside %q", sealed, inside)
	}
	other := w.await(t, w.create(t, session.NewSession{Env: map[string]string{"K": "another's"}}).ID, db.StatusReady)
	w.runtime.do(*other.ContainerID, func(b *fakeBox) { b.boot.Sealed = sealed }) // stolen
	w.restart(t)
	if p, err := session.Policy(w.Engine, t.Context(), other.ID); err == nil && len(p.Credentials) > 0 {
		if c, _ := credential(t, p, "K"); c.Value == "a real value" {
			t.Error("another session's keepsake was opened")
		}
	}
}

// oneConnection returns an error unless just one connection of a session is stored.
func oneConnection(t *testing.T, w *world, sessionID string) error {
	t.Helper()
	list, total, err := w.store.Egress(t.Context(), sessionID, 9, 0)
	if err != nil {
		t.Fatal(err)
	}
	if total != 1 || list[0].Host != "out.example" {
		return fmt.Errorf("connections = %+v", list)
	}
	return nil
}
