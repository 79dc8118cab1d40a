package api

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"lap/db"
	"lap/sandbox/vault/rule"
	"lap/server/mirror"
)

// inlineHarness is the harness whose agents must have a project.
const inlineHarness = "claude-code-brain-inline"

// editAgent applies what create and PATCH have in common.
func editAgent(in *object, agent *db.Agent) {
	changeText(&agent.Name, in.Text("name"))
	change(&agent.Model, in.NonEmpty("model"))
	changeText(&agent.Prompt, in.Text("prompt"))
	change(&agent.Branch, branch(in))
	changeText(&agent.PfpURL, in.Text("pfp_url"))
	harnessImage(in).set(&agent.HarnessImage)
	if servers := in.Texts("mcp_servers"); servers != nil {
		agent.MCPServers = servers
	}
	if deny := hosts(in, "deny_out"); deny != nil {
		agent.DenyOut = deny
	}
	if given := projects(in); given != nil {
		agent.Projects = given
	}
	budget(in).set(&agent.Budget)
	in.NullableBool("egress_default_deny").set(&agent.DefaultDeny)
	if agent.HarnessID == inlineHarness && isEmpty(agent.Projects) {
		in.fail("projects", "must not be empty with harness %s", inlineHarness)
	}
	editEnv(in, agent)
}

// editEnv applies env_vars, env_plain, env_var_hosts and allow_out, which depend on
// each other. The state after the merge counts.
func editEnv(in *object, agent *db.Agent) {
	if env := envVars(in); env != nil {
		agent.SetEnv(env)
	}
	names := agent.EnvNames()
	if plain := envPlain(in, names); plain != nil {
		agent.EnvPlain = plain
	}
	allow := hosts(in, "allow_out")
	if allow != nil {
		agent.AllowOut = allow
	}
	if bindings := envHosts(in, names, coveredBy(agent.AllowOut)); bindings != nil {
		agent.EnvVarHosts = bindings
		return
	}
	for name := range agent.EnvVarHosts {
		if !slices.Contains(names, name) {
			delete(agent.EnvVarHosts, name)
		}
	}
	if allow != nil { // a narrowed list never frees a credential from its hosts
		agent.AllowOut = withHosts(allow, agent.EnvVarHosts)
	}
}

// withHosts returns allow with the bound hosts it does not cover.
func withHosts(allow []string, bindings map[string][]string) []string {
	var names []string
	for name := range bindings {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, host := range bindings[name] {
			if !rule.Covers(allow, host) {
				allow = append(allow, host)
			}
		}
	}
	return allow
}

func branch(in *object) *string {
	name := in.NonEmpty("branch")
	if name != nil && strings.HasPrefix(*name, "-") {
		in.fail("branch", "must not start with -")
	}
	return name
}

// repoURL checks the member repo_url. A credential has no place in it: it would be stored and
// shown as it is.
func repoURL(in *object, text *string) *string {
	if text == nil {
		return nil
	}
	u, err := url.Parse(*text)
	if err != nil || u.Host == "" || !slices.Contains([]string{"https", "http", "ssh", "git"}, u.Scheme) {
		in.fail("repo_url", "must be an absolute URL with scheme https, http, ssh or git")
	} else if _, has := u.User.Password(); has {
		in.fail("repo_url", "must not contain a password: put the token into env_vars as GITHUB_TOKEN")
	} else if mirror.HasToken(u) {
		in.fail("repo_url", "must not contain a token as its user: put it into env_vars as GITHUB_TOKEN")
	}
	return text
}

// harnessImage reads the member harness_image; null means the harness's own image.
func harnessImage(in *object) optional[string] {
	image := in.Nullable("harness_image")
	if image.value == nil {
		return image
	}
	if _, err := reference.ParseAnyReference(*image.value); err != nil {
		in.fail("harness_image", "is not an image reference like registry.example.com/name:tag")
	}
	return image
}

// skillIDs reads the member skill_ids: each id once, in the order given.
func skillIDs(in *object) []string {
	ids := []string{}
	for _, v := range in.Array("skill_ids") {
		id, ok := v.text()
		switch {
		case ok && id == "":
			v.fail("must not be empty")
		case ok && !slices.Contains(ids, id):
			ids = append(ids, id)
		}
	}
	return ids
}

// A project is an entry of the member projects, which is stored in this form.
type project struct {
	ID          string  `json:"id"`
	Name        string  `json:"name"`
	Description string  `json:"description"`
	RepoURL     *string `json:"repo_url,omitempty"`
	Branch      string  `json:"branch"`
	SetupCmd    *string `json:"setup_cmd,omitempty"`
}

// projects reads the member projects, nil when absent.
func projects(in *object) json.RawMessage {
	if !in.has("projects") {
		return nil
	}
	list := []project{}
	for _, v := range in.Array("projects") {
		o := v.object()
		if o == nil {
			continue
		}
		p := project{ID: requiredText(o, "id"), Name: requiredText(o, "name"), Branch: "main"}
		change(&p.Description, o.Text("description"))
		change(&p.Branch, o.Text("branch"))
		p.RepoURL, p.SetupCmd = o.Text("repo_url"), o.Text("setup_cmd")
		repoURL(o, orNone(p.RepoURL)) // "" is kept as it is, and means none
		list = append(list, p)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(list); err != nil {
		panic(err) // strings always encode
	}
	return bytes.TrimSpace(b.Bytes())
}

// requiredText reads a string that must be there and may be empty.
func requiredText(o *object, name string) string {
	if !o.has(name) {
		o.missing(name)
	}
	return text(o.Text(name))
}

// array reads an optional array of anything, in compact form.
func array(in *object, name string) json.RawMessage {
	var b bytes.Buffer
	if v, ok := in.members[name]; ok {
		v.array() // for the check
		if err := json.Compact(&b, v.raw); err != nil {
			panic(err) // the body is valid JSON
		}
	}
	return b.Bytes()
}

func isEmpty(array json.RawMessage) bool { return len(array) == 0 || string(array) == "[]" }

// orNone makes an empty text none.
func orNone(text *string) *string {
	if text != nil && *text == "" {
		return nil
	}
	return text
}

// text is *s, or "" for nil.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
