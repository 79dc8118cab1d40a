package session

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"lap/db"
	"lap/sandbox/vault"
	"lap/sandbox/vault/rule"
	"lap/sandbox/vault/swap"
)

// gatewayKey is the name of the model gateway's key. Its real value is added by the gateway
// itself and by nobody else.
const gatewayKey = "LITELLM_API_KEY"

// A credential is a variable of a sandbox whose real value stays on the host.
type credential struct {
	swap.Credential
	hosts    []string // where it is swapped
	bound    bool     // hosts were chosen by the user
	anywhere bool
	reason   string // why it is swapped nowhere; empty: it is somewhere
}

func (c credential) vaulted() (vault.Credential, error) {
	hosts, err := entries(c.hosts)
	return vault.Credential{Credential: c.Credential, Hosts: hosts, Anywhere: c.anywhere, Reason: c.reason}, err
}

// credentials are all of a session: its variables, then those in its agent's requirements.
func (e *Engine) credentials(agent db.Agent, s db.Session, own map[string]string) []credential {
	_, list := e.requirements(agent, s.ID)
	return append(e.variables(agent, s, own), list...)
}

// variables are the credentials of a session that it has as variables: the operator's that
// look like some, the agent's, the session's own, later ones winning, in the order of their names.
func (e *Engine) variables(agent db.Agent, s db.Session, own map[string]string) []credential {
	values := map[string]string{}
	add := func(env map[string]string, isPlain func(string) bool) {
		for name, value := range env {
			delete(values, name) // the last one counts, also when it is none
			if value != "" && !isPlain(name) && !isFile(name) && !slices.Contains(never, name) && name != gatewayKey {
				values[name] = value
			}
		}
	}
	add(e.cfg.Env, func(name string) bool { return !vault.LooksSecret(name) || slices.Contains(e.cfg.EnvPlain, name) })
	add(agent.Env, func(name string) bool { return slices.Contains(agent.EnvPlain, name) })
	add(own, func(name string) bool { return slices.Contains(s.EnvPlain, name) })
	list := make([]credential, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		c := credential{Credential: swap.Credential{Name: name, Stub: e.stub(s.ID, name), Value: values[name]}}
		_, isOwn := own[name]
		e.bind(&c, agent, s, isOwn)
		list = append(list, c)
	}
	return list
}

// isFile reports whether a variable is part of a file that is written into the sandbox.
func isFile(name string) bool { return strings.HasPrefix(name, "LAP_FILE_") }

// bind finds out where a credential may go: where its user says, else where it belongs by
// its name, else where its agent may go.
func (e *Engine) bind(c *credential, agent db.Agent, s db.Session, own bool) {
	if hosts := s.EnvHosts[c.Name]; own && len(hosts) > 0 {
		c.hosts, c.bound = hosts, true
		return
	}
	if hosts := agent.EnvVarHosts[c.Name]; len(hosts) > 0 {
		c.hosts, c.bound = hosts, true
		return
	}
	if e.cfg.Egress.Anywhere {
		if c.anywhere = !e.defaultDeny(agent); !c.anywhere {
			c.reason = c.Name + " is bound to no host, so where hosts are refused by default it goes to none: set env_var_hosts." + c.Name
		}
		return
	}
	c.hosts = vault.Suggested(c.Name)
	if slices.Contains(gitTokens, c.Name) {
		c.hosts = append(slices.Clone(c.hosts), e.repositoryHosts(agent)...)
	}
	if len(c.hosts) == 0 {
		c.hosts = agent.AllowOut
	}
	if len(c.hosts) == 0 {
		c.reason = c.Name + " is bound to no host, so it goes to none: set env_var_hosts." + c.Name
	}
}

// defaultDeny reports whether hosts that no list names are refused to an agent.
func (e *Engine) defaultDeny(agent db.Agent) bool {
	if agent.DefaultDeny != nil {
		return *agent.DefaultDeny
	}
	return e.cfg.Egress.DefaultDeny
}

// repositoryHosts are the hosts of an agent's repositories that rules can name.
func (e *Engine) repositoryHosts(agent db.Agent) []string {
	trees, err := e.trees(agent)
	if err != nil { // whose sessions fail for it
		return nil
	}
	var hosts []string
	for _, t := range trees {
		u, err := url.Parse(t.url)
		if err != nil {
			continue
		}
		if _, err := rule.ParseEntry(u.Hostname()); err == nil { // not so for addresses of IPv6
			hosts = append(hosts, u.Hostname())
		}
	}
	return hosts
}

// stub stands for a credential in the sandbox of a session.
func (e *Engine) stub(sessionID, name string) string {
	return swap.Stub(e.cfg.StubKey, sessionID, name)
}
