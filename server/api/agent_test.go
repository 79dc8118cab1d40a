package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/server/api"
)

// agentFaults are bodies that neither create nor PATCH of an agent takes, and what the
// answer contains.
var agentFaults = []struct {
	name, member string
	phrases      []string
}{
	{"name is a number", `"name": 1`, []string{"name: must be a string"}},
	{"name is null", `"name": null`, []string{"name: "}},
	{"model is empty", `"model": ""`, []string{"model: must not be empty"}},
	{"model is null", `"model": null`, []string{"model: "}},
	{"prompt is null", `"prompt": null`, []string{"prompt: "}},
	{"prompt is an object", `"prompt": {}`, []string{"prompt: "}},
	{"branch is null", `"branch": null`, []string{"branch: "}},
	{"branch is empty", `"branch": ""`, []string{"branch: "}},
	{"branch is an option", `"branch": "--upload-pack=x"`, []string{"branch: must not start with -"}},
	{"pfp_url is null", `"pfp_url": null`, []string{"pfp_url: "}},
	{"repo_url is no URL", `"repo_url": "x"`, []string{"repo_url: "}},
	{"repo_url is empty", `"repo_url": ""`, []string{"repo_url: "}},
	{"repo_url is relative", `"repo_url": "/x"`, []string{"repo_url: "}},
	{"repo_url has no host", `"repo_url": "https:///x"`, []string{"repo_url: "}},
	{"repo_url in scp form", `"repo_url": "git@github.com:o/r.git"`, []string{"repo_url: ", "https, http, ssh or git"}},
	{"repo_url is a file", `"repo_url": "file:///etc/passwd"`, []string{"repo_url: "}},
	{"repo_url is a script", `"repo_url": "javascript:alert(1)"`, []string{"repo_url: "}},
	{"repo_url with a password", `"repo_url": "https://u:p4ss@github.com/o/r"`, []string{"repo_url: must not contain a password", "GITHUB_TOKEN"}},
	{"repo_url with a token as its user", `"repo_url": "https://ghp_x@github.com/o/r"`, []string{"repo_url: must not contain a token as its user", "GITHUB_TOKEN"}},
	{"repo_url with a long user", `"repo_url": "http://0123456789abcdef0123@git.example/o/r"`, []string{"repo_url: must not contain a token as its user"}},
	{"repo_url of ssh with a password", `"repo_url": "ssh://git:p4ss@github.com/o/r"`, []string{"repo_url: must not contain a password"}},
	{"project repo_url is no URL", `"projects": [{"id": "i", "name": "n", "repo_url": "u"}]`, []string{"projects.0.repo_url: must be an absolute URL"}},
	{"project repo_url with a password", `"projects": [{"id": "i", "name": "n"}, {"id": "j", "name": "n", "repo_url": "https://u:p4ss@github.com/o/r"}]`, []string{"projects.1.repo_url: must not contain a password"}},
	{"project repo_url with a token", `"projects": [{"id": "i", "name": "n", "repo_url": "https://glpat-u@git.example/o/r"}]`, []string{"projects.0.repo_url: must not contain a token as its user"}},
	{"repo_url is a number", `"repo_url": 1`, []string{"repo_url: "}},
	{"harness_image is empty", `"harness_image": ""`, []string{"harness_image: "}},
	{"harness_image has upper case", `"harness_image": "Debian"`, []string{"harness_image: "}},
	{"harness_image has blanks", `"harness_image": "a b"`, []string{"harness_image: "}},
	{"harness_image is an option", `"harness_image": "--privileged"`, []string{"harness_image: "}},
	{"harness_image is a number", `"harness_image": 1`, []string{"harness_image: "}},
	{"requirements is a list", `"requirements": []`, []string{"requirements: "}},
	{"mcp_servers is null", `"mcp_servers": null`, []string{"mcp_servers: must be an array"}},
	{"mcp_servers has a number", `"mcp_servers": ["a", 1]`, []string{"mcp_servers.1: must be a string"}},
	{"allow_out is text", `"allow_out": "x.com"`, []string{"allow_out: "}},
	{"allow_out has a URL", `"allow_out": ["https://x.com"]`, []string{"allow_out.0: "}},
	{"deny_out has null", `"deny_out": [null]`, []string{"deny_out.0: "}},
	{"deny_out has a port", `"deny_out": ["a.com", "x.com:443"]`, []string{"deny_out.1: "}},
	{"projects is an object", `"projects": {}`, []string{"projects: must be an array"}},
	{"project is text", `"projects": ["p"]`, []string{"projects.0: must be an object"}},
	{"project without id", `"projects": [{"name": "n"}]`, []string{"projects.0.id: is required"}},
	{"project name is a number", `"projects": [{"id": "i", "name": 1}]`, []string{"projects.0.name: must be a string"}},
	{"project branch is null", `"projects": [{"id": "i", "name": "n", "branch": null}]`, []string{"projects.0.branch: "}},
	{"project setup_cmd is a list", `"projects": [{"id": "i", "name": "n", "setup_cmd": []}]`, []string{"projects.0.setup_cmd: "}},
	{"env_var_hosts is a list", `"env_var_hosts": []`, []string{"env_var_hosts: must be an object"}},
	{"env_var_hosts names no variable", `"env_var_hosts": {"NOPE": ["x.com"]}`, []string{"env_var_hosts.NOPE: is not in env_vars"}},
	{"env_var_hosts has a bad name", `"env_var_hosts": {"a-b": []}`, []string{"env_var_hosts.a-b: invalid env var name"}},
	{"env_var_hosts has no list", `"env_vars": {"A": ""}, "env_var_hosts": {"A": "x.com"}`, []string{"env_var_hosts.A: must be an array"}},
	{"env_var_hosts has a bad host", `"env_vars": {"A": ""}, "env_var_hosts": {"A": ["x:1"]}`, []string{"env_var_hosts.A.0: "}},
	{"env_var_hosts is not covered", `"env_vars": {"A": ""}, "allow_out": ["a.com"], "env_var_hosts": {"A": ["b.com"]}`, []string{"env_var_hosts.A.0: ", "b.com", "allow_out"}},
	{"env_var_hosts without allow_out", `"env_vars": {"A": ""}, "allow_out": [], "env_var_hosts": {"A": ["b.com"]}`, []string{"env_var_hosts.A.0: ", "allow_out"}},
	{"egress_default_deny is a number", `"egress_default_deny": 1`, []string{"egress_default_deny: must be true or false"}},
	{"egress_default_deny is text", `"egress_default_deny": "true"`, []string{"egress_default_deny: "}},
	{"env_plain is text", `"env_plain": "A"`, []string{"env_plain: must be an array"}},
	{"env_plain has a number", `"env_plain": [1]`, []string{"env_plain.0: must be a string"}},
	{"env_plain names no variable", `"env_vars": {"A": ""}, "env_plain": ["A", "B"]`, []string{`env_plain.1: "B" is not in env_vars`}},
}

func TestAgentFaults(t *testing.T) {
	w := newWorld(t)
	id := w.newAgent(t, `"name": "unchanged"`)
	before := w.do(t, "GET", agents+"/"+id, nil).body
	for _, tt := range slices.Concat(agentFaults, envFaults(), budgetFaults) {
		t.Run(tt.name, func(t *testing.T) {
			body := "{" + tt.member + "}"
			if !strings.Contains(body, `"model":`) {
				body = `{"model": "m", ` + tt.member + "}"
			}
			w.do(t, "POST", agents, body).wantError(t, http.StatusBadRequest, tt.phrases...)
			w.do(t, "PATCH", agents+"/"+id, "{"+tt.member+"}").wantError(t, http.StatusBadRequest, tt.phrases...)
		})
	}
	if total := w.do(t, "GET", agents, nil).get("total").Int(); total != 1 {
		t.Errorf("%d agents, want the one from before", total)
	}
	if diff := cmp.Diff(before, w.do(t, "GET", agents+"/"+id, nil).body); diff != "" {
		t.Error(diff)
	}
}

func TestCreateAgentFaults(t *testing.T) {
	w := newWorld(t)
	tests := []struct {
		name, body string
		phrases    []string
	}{
		{"model missing", `{}`, []string{"model: is required"}},
		{"harness unknown", `{"model": "m", "harness_id": "vim"}`, []string{"harness_id: ", `"vim"`, "opencode, claude-agent-sdk, claude-code, codex, hermes, gemini, claude-code-brain-inline, opencode-brain-inline, lap"}},
		{"harness is null", `{"model": "m", "harness_id": null}`, []string{"harness_id: must be a string"}},
		{"repo_url is null", `{"model": "m", "repo_url": null}`, []string{"repo_url: "}},
		{"requirements is null", `{"model": "m", "requirements": null}`, []string{"requirements: "}},
		{"tools is an object", `{"model": "m", "tools": {}}`, []string{"tools: must be an array"}},
		{"tools is null", `{"model": "m", "tools": null}`, []string{"tools: "}},
		{"skill_ids is text", `{"model": "m", "skill_ids": "x"}`, []string{"skill_ids: must be an array"}},
		{"skill_ids has nothing", `{"model": "m", "skill_ids": ["a", ""]}`, []string{"skill_ids.1: must not be empty"}},
		{"skill_ids has a number", `{"model": "m", "skill_ids": [1]}`, []string{"skill_ids.0: must be a string"}},
		{"template", `{"model": "m", "template_id": "slack-bot"}`, []string{"template_id: ", "slack-bot", "valid ids: none"}},
		{"inline harness without projects", `{"model": "m", "harness_id": "claude-code-brain-inline"}`, []string{"projects: must not be empty"}},
		{"inline harness with no projects", `{"model": "m", "harness_id": "claude-code-brain-inline", "projects": []}`, []string{"projects: must not be empty"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.do(t, "POST", agents, tt.body).wantError(t, http.StatusBadRequest, tt.phrases...)
		})
	}
	if total := w.do(t, "GET", agents, nil).get("total").Int(); total != 0 {
		t.Errorf("%d agents were stored all the same", total)
	}
}

func TestHarnesses(t *testing.T) {
	w := newWorld(t)
	for id, tui := range map[string]bool{
		"opencode": false, "claude-agent-sdk": false, "claude-code": true, "codex": true, "hermes": true, "gemini": true,
		"claude-code-brain-inline": false, "opencode-brain-inline": false, "lap": false,
	} {
		r := w.do(t, "POST", agents, fmt.Sprintf(`{"model": "m", "harness_id": %q, "projects": [{"id": "p", "name": ""}]}`, id)).want(t, 201)
		if r.get("harness_id").String() != id || r.get("supports_tui").Bool() != tui {
			t.Errorf("%s: %s", id, r.body)
		}
	}
}

func TestDefaultModel(t *testing.T) {
	w := newWorld(t, func(cfg *api.Config) { cfg.DefaultModel = "a/b" })
	if r := w.do(t, "POST", agents, `{}`).want(t, 201); r.get("model").String() != "a/b" {
		t.Error(r.body)
	}
	w.do(t, "POST", agents, `{"model": ""}`).want(t, 400)
}

var (
	uuidV4    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
)

func TestCreateAgentValues(t *testing.T) {
	w := newWorld(t)
	r := w.do(t, "POST", agents, `{
		"model": "a/b", "name": "", "prompt": "<b> \u2028 & ü", "harness_id": "codex", "requirements": "", "branch": "dev",
		"repo_url": "ssh://git@github.com/o/r.git", "pfp_url": "data:image/png;base64,xx", "tools": [1, {"a": null}],
		"mcp_servers": ["m1"], "allow_out": [" api.x.com ", "*.y.com", "10.0.0.0/8"], "deny_out": ["1.2.3.4"],
		"env_vars": {"A": "", "_b2": "x"}, "env_plain": ["A", "A"], "env_var_hosts": {"A": ["z.y.com", "y.com"], "_b2": []},
		"projects": [{"id": "p", "name": "n", "extra": 1, "repo_url": ""}, {"id": "q", "name": "m", "description": "d", "repo_url": "ssh://git@x.com/u", "branch": "b", "setup_cmd": "c"}],
		"harness_image": "registry.example.com:5000/team/img:1.2", "unknown": {"x": 1}, "preload_memory_limit": 3,
		"egress_default_deny": false, "budget": {"tokens": 1e6, "cost_usd": 0.5, "wall_seconds": 3600, "turns": 10, "unknown": null}
	}`).want(t, 201)
	for path, want := range map[string]string{
		"name": `""`, "prompt": `"<b> \u2028 & ü"`, "requirements": `null`, "branch": `"dev"`, "repo_url": `"ssh://git@github.com/o/r.git"`,
		"allow_out": `["api.x.com","*.y.com","10.0.0.0/8"]`, "deny_out": `["1.2.3.4"]`, "env_vars": `{"A":"","_b2":"x"}`, "env_plain": `["A"]`,
		"env_var_hosts": `{"A":["z.y.com","y.com"]}`, "mcp_servers": `["m1"]`, "harness_image": `"registry.example.com:5000/team/img:1.2"`,
		"projects":            `[{"id":"p","name":"n","description":"","repo_url":"","branch":"main"},{"id":"q","name":"m","description":"d","repo_url":"ssh://git@x.com/u","branch":"b","setup_cmd":"c"}]`,
		"egress_default_deny": `false`, "budget": `{"tokens":1000000,"cost_usd":0.5,"wall_seconds":3600,"turns":10}`,
		"preload_memory_limit": `10`, "supports_tui": `true`, "attached_skill_ids": `[]`,
	} {
		if got := r.get(path).Raw; got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	for _, hidden := range []string{"tools", "created_by", "unknown", "session_count"} {
		if r.get(hidden).Exists() {
			t.Errorf("%s is shown", hidden)
		}
	}
	if !timestamp.MatchString(r.get("created_at").String()) || !uuidV4.MatchString(r.get("id").String()) {
		t.Errorf("id or created_at in %s", r.body)
	}
	if got := w.do(t, "GET", agents+"/"+r.get("id").String(), nil).want(t, 200); got.body != r.body {
		t.Errorf("read = %s, want what create answered: %s", got.body, r.body)
	}
}

func TestPatchAgent(t *testing.T) {
	tests := []struct {
		name, body string
		want       map[string]string // what differs afterwards, by path
	}{
		{"nothing", `{}`, nil},
		{"unknown members", `{"id": "x", "harness_id": "codex", "created_at": 1, "tools": 1}`, nil},
		{"texts", `{"name": "n", "model": "x/y", "branch": "dev", "pfp_url": "u"}`, map[string]string{"name": `"n"`, "model": `"x/y"`, "branch": `"dev"`, "pfp_url": `"u"`}},
		{"prompt with its blocks", `{"prompt": "new"}`, map[string]string{"prompt": `"new"`}},
		{"prompt with a block", `{"prompt": "<!-- skill:a -->\nA"}`, map[string]string{"prompt": `"<!-- skill:a -->\nA"`, "attached_skill_ids": `["a"]`}},
		{"empty name", `{"name": ""}`, map[string]string{"name": `""`}},
		{"lists", `{"mcp_servers": [], "deny_out": ["x.com"]}`, map[string]string{"mcp_servers": `[]`, "deny_out": `["x.com"]`}},
		{"repo_url", `{"repo_url": "https://github.com/o/r"}`, map[string]string{"repo_url": `"https://github.com/o/r"`}},
		{"no repo_url", `{"repo_url": null}`, map[string]string{"repo_url": `null`}},
		{"no requirements", `{"requirements": null}`, map[string]string{"requirements": `null`}},
		{"empty requirements", `{"requirements": ""}`, map[string]string{"requirements": `null`}},
		{"requirements", `{"requirements": "flask"}`, map[string]string{"requirements": `"flask"`}},
		{"image", `{"harness_image": "debian@sha256:` + strings.Repeat("a", 64) + `"}`, map[string]string{"harness_image": `"debian@sha256:` + strings.Repeat("a", 64) + `"`}},
		{"no image", `{"harness_image": null}`, map[string]string{"harness_image": `null`}},
		{"limit 0", `{"preload_memory_limit": 0}`, map[string]string{"preload_memory_limit": `0`}},
		{"limit 50.0", `{"preload_memory_limit": 50.0}`, map[string]string{"preload_memory_limit": `50`}},
		{"limit 5e1", `{"preload_memory_limit": 5e1}`, map[string]string{"preload_memory_limit": `50`}},
		{"projects", `{"projects": [{"id": "i", "name": "n"}]}`, map[string]string{"projects": `[{"id":"i","name":"n","description":"","branch":"main"}]`}},
		{"budget replaces all", `{"budget": {"turns": 1}}`, map[string]string{"budget": `{"turns":1}`}},
		{"no budget", `{"budget": null}`, map[string]string{"budget": `null`}},
		{"budget without limits", `{"budget": {}}`, map[string]string{"budget": `null`}},
		{"egress_default_deny off", `{"egress_default_deny": false}`, map[string]string{"egress_default_deny": `false`}},
		{"egress_default_deny as the server has it", `{"egress_default_deny": null}`, map[string]string{"egress_default_deny": `null`}},
		{"env_vars replace all, bindings and plain names go with them", `{"env_vars": {"B": "b2", "C": "c"}}`, map[string]string{"env_vars": `{"B":"b2","C":"c"}`, "env_plain": `[]`, "env_var_hosts": `{"B":["b.com"]}`}},
		{"no env_vars", `{"env_vars": {}}`, map[string]string{"env_vars": `{}`, "env_plain": `[]`, "env_var_hosts": `{}`}},
		{"env_plain of stored variables", `{"env_plain": ["B"]}`, map[string]string{"env_plain": `["B"]`}},
		{"env_plain of new variables", `{"env_plain": ["C"], "env_vars": {"C": "c", "B": "b"}}`, map[string]string{"env_vars": `{"B":"b","C":"c"}`, "env_plain": `["C"]`, "env_var_hosts": `{"B":["b.com"]}`}},
		{"no env_plain", `{"env_plain": []}`, map[string]string{"env_plain": `[]`}},
		{"narrowed allow_out keeps bound hosts", `{"allow_out": ["x.com"]}`, map[string]string{"allow_out": `["x.com","a.com","b.com"]`}},
		{"allow_out that covers bound hosts", `{"allow_out": ["*.com", "b.com", "*.b.com", "A.COM"]}`, map[string]string{"allow_out": `["*.com","b.com","*.b.com","A.COM"]`}},
		{"empty allow_out keeps bound hosts", `{"allow_out": []}`, nil},
		{"narrowed allow_out without bindings", `{"allow_out": ["x.com"], "env_var_hosts": {}}`, map[string]string{"allow_out": `["x.com"]`, "env_var_hosts": `{}`}},
		{"narrowed allow_out, variables gone", `{"allow_out": ["x.com"], "env_vars": {"B": "b"}}`, map[string]string{"allow_out": `["x.com","b.com"]`, "env_vars": `{"B":"b"}`, "env_plain": `[]`, "env_var_hosts": `{"B":["b.com"]}`}},
		{"bindings replace all", `{"env_var_hosts": {"A": ["b.com"], "B": []}}`, map[string]string{"env_var_hosts": `{"A":["b.com"]}`}},
		{"bindings with a wider allow_out", `{"allow_out": ["*.x.com"], "env_var_hosts": {"A": ["y.x.com", "*.x.com", "x.com"]}}`, map[string]string{"allow_out": `["*.x.com"]`, "env_var_hosts": `{"A":["y.x.com","*.x.com","x.com"]}`}},
	}
	w := newWorld(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := w.newAgent(t, `"egress_default_deny": true, "budget": {"tokens": 1, "cost_usd": 2}, "name": "old", "prompt": "old", "requirements": "old", "repo_url": "http://old", "harness_image": "old", "mcp_servers": ["old"],
				"allow_out": ["a.com", "b.com"], "env_vars": {"A": "a", "B": "b"}, "env_plain": ["A"], "env_var_hosts": {"A": ["a.com"], "B": ["b.com"]}`)
			before := members(t, w.do(t, "GET", agents+"/"+id, nil))
			answer := w.do(t, "PATCH", agents+"/"+id, tt.body).want(t, 200)
			maps.Copy(before, tt.want)
			if diff := cmp.Diff(before, members(t, answer)); diff != "" {
				t.Errorf("answer: %s", diff)
			}
			if stored := w.do(t, "GET", agents+"/"+id, nil); stored.body != answer.body {
				t.Errorf("stored = %s, want %s", stored.body, answer.body)
			}
		})
	}
}

// members are the members of an answer as JSON.
func members(t *testing.T, r response) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, v := range r.get("@this").Map() {
		out[name] = v.Raw
	}
	return out
}

func TestPatchAgentFaults(t *testing.T) {
	w := newWorld(t)
	id := w.newAgent(t, `"env_vars": {"A": "a"}, "allow_out": ["a.com"]`)
	inline := w.newAgent(t, `"harness_id": "claude-code-brain-inline", "projects": [{"id": "p", "name": "n"}]`)
	tests := []struct{ name, id, body, phrase string }{
		{"limit is negative", id, `{"preload_memory_limit": -1}`, "preload_memory_limit: must be an integer from 0 to 50"},
		{"limit is too high", id, `{"preload_memory_limit": 51}`, "preload_memory_limit: "},
		{"limit is text", id, `{"preload_memory_limit": "1"}`, "preload_memory_limit: must be an integer"},
		{"limit is a fraction", id, `{"preload_memory_limit": 1.5}`, "preload_memory_limit: "},
		{"limit is null", id, `{"preload_memory_limit": null}`, "preload_memory_limit: "},
		{"limit is true", id, `{"preload_memory_limit": true}`, "preload_memory_limit: "},
		{"limit is huge", id, `{"preload_memory_limit": 1e400}`, "preload_memory_limit: "},
		{"requirements is a number", id, `{"requirements": 1}`, "requirements: "},
		{"bound variable goes", id, `{"env_vars": {"B": ""}, "env_var_hosts": {"A": ["a.com"]}}`, "env_var_hosts.A: is not in env_vars"},
		{"plain variable goes", id, `{"env_vars": {"B": ""}, "env_plain": ["A"]}`, "env_plain.0: "},
		{"host not covered by the stored allow_out", id, `{"env_var_hosts": {"A": ["b.com"]}}`, "env_var_hosts.A.0: "},
		{"inline harness loses its projects", inline, `{"projects": []}`, "projects: must not be empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.do(t, "PATCH", agents+"/"+tt.id, tt.body).wantError(t, http.StatusBadRequest, tt.phrase)
		})
	}
	w.do(t, "PATCH", agents+"/"+inline, `{}`).want(t, 200)
}

func TestReadThenPatch(t *testing.T) {
	w := newWorld(t)
	id := w.newAgent(t, `"env_vars": {"A": "a\n\"<ü>"}, "requirements": "flask"`)
	read := w.do(t, "GET", agents+"/"+id, nil)
	patched := w.do(t, "PATCH", agents+"/"+id, `{"env_vars": `+read.get("env_vars").Raw+`}`).want(t, 200)
	if patched.body != read.body {
		t.Errorf("patched = %s, want %s", patched.body, read.body)
	}
}

func TestUndecryptableValuesSurviveOtherChanges(t *testing.T) {
	w := newWorld(t)
	id := w.newAgent(t, `"env_vars": {"A": "secret"}, "requirements": "flask"`)
	other := openStore(t, w.path, w.clock, make([]byte, 32))
	wrong := w.serve(t, api.New(api.Config{Store: other, Engine: w.engine, MasterKey: masterKey, Listen: "127.0.0.1:1", Log: w.logger()}).Handler())
	r := wrong.do(t, "PATCH", agents+"/"+id, `{"model": "new"}`).want(t, 200)
	if r.get("env_vars").Raw != "{}" || r.get("requirements").Raw != "null" {
		t.Errorf("opened with another key: %s", r.body)
	}
	if !strings.Contains(w.log.String(), "cannot be decrypted") {
		t.Error("nothing in the log")
	}
	r = w.do(t, "GET", agents+"/"+id, nil)
	if r.get("env_vars.A").String() != "secret" || r.get("requirements").String() != "flask" || r.get("model").String() != "new" {
		t.Errorf("after the change: %s", r.body)
	}
	r = wrong.do(t, "PATCH", agents+"/"+id, `{"env_vars": {"B": "b"}, "requirements": "django"}`).want(t, 200)
	if r.get("env_vars").Raw != `{"B":"b"}` || r.get("requirements").String() != "django" {
		t.Errorf("replaced: %s", r.body)
	}
}

func TestListAgents(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for _, body := range []string{`"name": "Beta"`, `"prompt": ""`, `"name": "alpha 100%"`} {
		ids = append(ids, w.newAgent(t, body))
	}
	w.newSession(t, ids[1])
	ended := w.newSession(t, ids[1])
	w.do(t, "DELETE", sessions+"/"+ended, nil).want(t, 204)
	tests := []struct {
		name, query string
		want        []int
	}{
		{"newest first", "", []int{2, 1, 0}},
		{"oldest first", "?order=asc", []int{0, 1, 2}},
		{"unknown order", "?order=up&sort=color", []int{2, 1, 0}},
		{"by name", "?sort=name&order=asc", []int{0, 2, 1}},
		{"by name, backwards", "?sort=name", []int{1, 2, 0}},
		{"by sessions", "?sort=sessions", []int{1, 0, 2}},
		{"by harness, ties by id", "?sort=harness_id", []int{0, 1, 2}},
		{"search", "?search=%20BETA%20", []int{0}},
		{"search is literal", "?search=%25", []int{2}},
		{"search finds ids", "?search=" + ids[1], []int{1}},
		{"search finds harnesses", "?search=LAP", []int{2, 1, 0}},
		{"blank search", "?search=%20", []int{2, 1, 0}},
		{"search finds nothing", "?search=_", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := w.do(t, "GET", agents+tt.query, nil).want(t, 200)
			want := []string{}
			for _, n := range tt.want {
				want = append(want, ids[n])
			}
			got := []string{}
			for _, id := range r.get("data.#.id").Array() {
				got = append(got, id.String())
			}
			if diff := cmp.Diff(want, got); diff != "" || r.get("total").Int() != int64(len(want)) {
				t.Errorf("%s total %s", diff, r.get("total"))
			}
		})
	}
	row := w.do(t, "GET", agents+"?search="+ids[1], nil).get("data.0")
	if row.Get("session_count").Raw != "2" || row.Get("has_active_session").Raw != "true" {
		t.Errorf("row = %s", row)
	}
	if row = w.do(t, "GET", agents+"?search="+ids[0], nil).get("data.0"); row.Get("session_count").Raw != "0" || row.Get("has_active_session").Raw != "false" {
		t.Errorf("row = %s", row)
	}
}

func TestDeleteAgent(t *testing.T) {
	w := newWorld(t)
	id := w.newAgent(t)
	session := w.newSession(t, id)
	if r := w.do(t, "DELETE", agents+"/"+id, nil).want(t, 204); r.body != "" || r.header.Get("Content-Type") != "" {
		t.Errorf("204 with %q, %v", r.body, r.header)
	}
	if diff := cmp.Diff([]string{session}, w.engine.ended); diff != "" {
		t.Errorf("sessions ended before the row went: %s", diff)
	}
	w.do(t, "DELETE", agents+"/"+id, nil).wantError(t, 404, "agent '"+id+"' not found")
	w.do(t, "GET", sessions+"/"+session, nil).want(t, 404)
}

func TestManyCreatesAtOnce(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	ids := make([]string, 16*4)
	for client := range 16 {
		wg.Go(func() {
			for n := range 4 {
				r := w.do(t, "POST", agents, fmt.Sprintf(`{"model": "m", "name": "%d-%d", "env_vars": {"A": "%d"}}`, client, n, n))
				if r.status != http.StatusCreated {
					t.Errorf("status = %d: %s", r.status, r.body)
				}
				ids[client*4+n] = r.get("id").String()
			}
		})
	}
	wg.Wait()
	if total := w.do(t, "GET", agents, nil).get("total").Int(); total != 64 {
		t.Errorf("%d agents, want 64", total)
	}
	for _, id := range ids {
		w.do(t, "GET", agents+"/"+id, nil).want(t, 200)
	}
}
