package session

import (
	"strings"

	"lap/db"
	"lap/sandbox"
	"lap/sandbox/vault"
)

// warnings names what an agent or a session asks for and will not get.
func (e *Engine) warnings(agent db.Agent, s db.Session, own map[string]string) []string {
	var list []string
	if len(agent.MCPServers) > 0 {
		list = append(list, "mcp_servers are not available to the built-in agent yet")
	}
	if agent.HarnessImage != nil && e.cfg.RuntimeName == sandbox.Native {
		list = append(list, "harness_image is not used: native sandboxes have this machine's own programs (LAP_SANDBOX=docker uses images)")
	}
	for _, c := range e.credentials(agent, s, own) {
		if c.reason != "" {
			list = append(list, c.reason)
		}
		list = append(list, doubts(c.Name)...)
	}
	return list
}

// doubts says why a variable of this name is likely to be of no use as a stub.
func doubts(name string) []string {
	why := vault.Unfit(name)
	if why == "" && vault.LooksSetting(name) {
		why = "it looks like a setting, and programs get a stub instead of it"
	}
	if why == "" {
		return nil
	}
	return []string{name + " is likely to be of no use as a credential: " + why + ": list it in env_plain if the agent may see it"}
}

// Advice says of the credentials of an agent where they go, unless their user has said so,
// and which are likely to be of no use.
func (e *Engine) Advice(agent db.Agent) []string {
	var list []string
	for _, c := range e.variables(agent, db.Session{}, nil) {
		if _, its := agent.Env[c.Name]; !its {
			continue
		}
		switch {
		case c.reason != "":
			list = append(list, c.reason)
		case c.anywhere:
			list = append(list, c.Name+" is bound to no host, so it goes to any (LAP_UNBOUND): set env_var_hosts."+c.Name)
		case !c.bound:
			list = append(list, c.Name+" is bound to no host, so it goes to "+strings.Join(c.hosts, ", ")+": set env_var_hosts."+c.Name+" for others")
		}
		list = append(list, doubts(c.Name)...)
	}
	_, required := e.requirements(agent, "")
	for _, c := range required {
		if c.reason != "" {
			list = append(list, c.reason)
		}
	}
	return list
}
