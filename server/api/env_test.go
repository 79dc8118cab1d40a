package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// fault is a row of agentFaults.
type fault = struct {
	name, member string
	phrases      []string
}

// envFaults are the faults of env_vars, wherever they are taken.
func envFaults() []fault {
	reserved := []string{
		"REPO_URL", "BRANCH", "LITELLM_API_KEY", "LITELLM_API_BASE", "LITELLM_DEFAULT_MODEL", "AGENT_PROMPT", "PORT", "GIT_TOKEN", "AGENT_REQUIREMENTS",
	}
	faults := []fault{
		{"env_vars is a list", `"env_vars": []`, []string{"env_vars: must be an object"}},
		{"env_vars is null", `"env_vars": null`, []string{"env_vars: "}},
		{"env value is a number", `"env_vars": {"A": 1}`, []string{"env_vars.A: must be a string"}},
		{"env value is null", `"env_vars": {"A": null}`, []string{"env_vars.A: "}},
		{"env value with NUL", `"env_vars": {"A": "x\u0000y"}`, []string{"env_vars.A: ", "invalid value"}},
		{"51 env vars", `"env_vars": ` + envOf(51, "x"), []string{"env_vars: ", "max 50 keys"}},
		{"env too large", `"env_vars": {"A": "` + strings.Repeat("x", 16384-8+1) + `"}`, []string{"env_vars: ", "16384 bytes"}},
		{"env too large by its umlauts", `"env_vars": {"A": "` + strings.Repeat("ä", 8192-3) + `"}`, []string{"16384 bytes"}},
		{"env too large by its escapes", `"env_vars": {"A": "` + strings.Repeat(`\n`, 8192-3) + `"}`, []string{"16384 bytes"}},
		{"two reserved names", `"env_vars": {"PORT": "", "BRANCH": "", "OK": ""}`, []string{"reserved keys", "BRANCH, PORT"}},
	}
	for _, name := range reserved {
		faults = append(faults, fault{"reserved " + name, fmt.Sprintf(`"env_vars": {%q: ""}`, name), []string{"reserved keys", name}})
	}
	for _, name := range []string{"", "1A", "A-B", "A B", "A.B", "Ä", "A=B", "A\n", strings.Repeat("-", 300)} {
		faults = append(faults, fault{"env name " + name, fmt.Sprintf(`"env_vars": {%s: ""}`, quoted(name)), []string{"env_vars.", "invalid env var name"}})
	}
	return faults
}

// envOf is an object of n variables.
func envOf(n int, value string) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`"V%d": %q`, i, value))
	}
	return "{" + strings.Join(list, ",") + "}"
}

func TestSessionEnvFaults(t *testing.T) {
	w := newWorld(t)
	id := w.newAgent(t, `"env_vars": {"AGENTS": "x"}`)
	for _, tt := range append(envFaults(),
		fault{"env_plain without env_vars", `"env_plain": ["A"]`, []string{"env_plain.0: "}},
		fault{"env_plain of the agent's", `"env_plain": ["AGENTS"]`, []string{"env_plain.0: "}},
		fault{"env_plain is null", `"env_plain": null`, []string{"env_plain: "}},
		fault{"env_var_hosts without env_vars", `"env_var_hosts": {"A": ["x.com"]}`, []string{"env_var_hosts.A: is not in env_vars"}},
		fault{"env_var_hosts of the agent's", `"env_vars": {"A": ""}, "env_var_hosts": {"AGENTS": ["x.com"]}`, []string{"env_var_hosts.AGENTS: is not in env_vars"}},
		fault{"env_var_hosts has a bad host", `"env_vars": {"A": ""}, "env_var_hosts": {"A": ["x.com", "x:1"]}`, []string{"env_var_hosts.A.1: "}},
		fault{"env_var_hosts is null", `"env_var_hosts": null`, []string{"env_var_hosts: must be an object"}},
		fault{"env_var_hosts has text", `"env_vars": {"A": ""}, "env_var_hosts": {"A": "x.com"}`, []string{"env_var_hosts.A: must be an array"}},
	) {
		t.Run(tt.name, func(t *testing.T) {
			w.do(t, "POST", agents+"/"+id+"/session", "{"+tt.member+"}").wantError(t, http.StatusBadRequest, tt.phrases...)
		})
	}
	if total := w.do(t, "GET", sessions, nil).get("total").Int(); total != 0 {
		t.Errorf("%d sessions were stored all the same", total)
	}
}

func TestEnvAccepted(t *testing.T) {
	w := newWorld(t)
	for name, env := range map[string]string{
		"none": `{}`, "50": envOf(50, "x"), "names": `{"a": "", "_": "", "A1_": "", "port": ""}`,
		"just fits": `{"A": "` + strings.Repeat("x", 16384-8) + `"}`, "just fits with umlauts": `{"A": "` + strings.Repeat("ä", 8192-4) + `"}`,
		"line separators": `{"A": "` + strings.Repeat("\u2028", 5000) + `"}`, "blanks around": `{"A":` + strings.Repeat(" ", 20000) + `""}`,
		"platform-owned": `{"LAP_ACCESS_TOKEN": "", "LAP_BASE_URL": "", "SESSION_ID": "", "AGENT_ID": "", "SKILLS_JSON": ""}`,
		"twice":          `{"A": "1", "A": "2"}`, "escapes": `{"\u0041": "\ud83d\ude00 \/"}`,
	} {
		t.Run(name, func(t *testing.T) {
			id := w.newAgent(t, `"env_vars": `+env)
			w.do(t, "POST", agents+"/"+id+"/session", `{"env_vars": `+env+`}`).want(t, http.StatusCreated)
			read := w.do(t, "GET", agents+"/"+id, nil)
			w.do(t, "PATCH", agents+"/"+id, `{"env_vars": `+read.get("env_vars").Raw+`}`).want(t, http.StatusOK)
		})
	}
	if got := w.do(t, "GET", agents+"/"+w.newAgent(t, `"env_vars": {"A": "1", "\u0041": "2"}`), nil).get("env_vars").Raw; got != `{"A":"2"}` {
		t.Errorf("env_vars = %s, want the last of two", got)
	}
}
