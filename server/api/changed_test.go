package api_test

import (
	"testing"
)

// TestChanged says when sandboxes that wait for an agent are out of date.
func TestChanged(t *testing.T) {
	w := newWorld(t)
	agent, skill := w.newAgent(t, `"env_vars": {"A": "1"}`, `"name": "n"`), w.newSkill(t, "s", "c")
	session := w.newSession(t, agent)
	memory := w.do(t, "POST", agents+"/"+agent+"/memory", `{"text": "x", "tags": ["a"]}`).want(t, 201).get("id").String()
	tests := []struct {
		method, path, body string
		changed            bool
	}{
		{"PATCH", "", `{}`, false},
		{"PATCH", "", `{"name": "other", "pfp_url": "x", "projects": [{"id": "i", "name": "n"}]}`, false},
		{"PATCH", "", `{"model": "gpt"}`, false}, // as it is
		{"PATCH", "", `{"env_vars": {"A": "1"}}`, false},
		{"PATCH", "", `{"model": "other"}`, true},
		{"PATCH", "", `{"prompt": "p"}`, true},
		{"PATCH", "", `{"branch": "b"}`, true},
		{"PATCH", "", `{"repo_url": "https://x.com/a"}`, true},
		{"PATCH", "", `{"requirements": "x"}`, true},
		{"PATCH", "", `{"env_vars": {"A": "2"}}`, true},
		{"PATCH", "", `{"env_plain": ["A"]}`, true},
		{"PATCH", "", `{"mcp_servers": ["m"]}`, true},
		{"PATCH", "", `{"allow_out": ["x.com"]}`, true},
		{"PATCH", "", `{"deny_out": ["y.com"]}`, true},
		{"PATCH", "", `{"env_var_hosts": {"A": ["x.com"]}}`, true},
		{"PATCH", "", `{"egress_default_deny": true}`, true},
		{"PATCH", "", `{"egress_default_deny": true}`, false},
		{"PATCH", "", `{"egress_default_deny": null}`, true},
		{"PATCH", "", `{"budget": {"turns": 1}}`, false},
		{"PATCH", "", `{"harness_image": "debian"}`, true},
		{"PATCH", "", `{"preload_memory_limit": 3}`, true},
		{"PATCH", "", `{"branch": "-x"}`, false},
		{"POST", "/skill", `{"skill_id": "` + skill + `"}`, true},
		{"DELETE", "/skill?skill_id=" + skill, ``, true},
		{"GET", "/memory?q=x", ``, false},
		{"PATCH", "/memory/" + memory, `{}`, false},
		{"PATCH", "/memory/" + memory, `{"text": "x", "tags": ["a"]}`, false},
		{"PATCH", "/memory/" + memory, `{"pinned": true}`, true},
		{"DELETE", "/memory/" + memory, ``, true},
		{"DELETE", "/memory/" + memory, ``, false},
		{"POST", "/memory", `{}`, false},
		{"POST", "/memory", `{"text": "y"}`, true},
	}
	noted := func() (n int) {
		w.engine.set(func() { n = len(w.engine.changed); w.engine.changed = nil })
		return n
	}
	noted()
	for _, tt := range tests {
		r := w.do(t, tt.method, agents+"/"+agent+tt.path, tt.body)
		if got := noted() > 0; got != tt.changed {
			t.Errorf("%s %s %s: changed = %t, want %t: %d %s", tt.method, tt.path, tt.body, got, tt.changed, r.status, r.body)
		}
	}
	w.do(t, "POST", sessions+"/"+session+"/memory", `{"text": "z"}`).want(t, 201)
	if noted() != 1 {
		t.Error("a memory of a session changes nothing")
	}
}
