package api_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/db"
)

// noUsage is what who has done nothing has used.
const noUsage = `{"calls":0,"input_tokens":0,"output_tokens":0,"total_tokens":0,"cache_read_tokens":0,"cache_write_tokens":0,` +
	`"cost_usd":0,"unpriced_calls":0,"estimated_calls":0,"turns":0,"wall_seconds":0}`

// budgetFaults are the faults of budgets, wherever they are taken.
var budgetFaults = []fault{
	{"budget is a number", `"budget": 5`, []string{"budget: must be an object"}},
	{"budget is a list", `"budget": []`, []string{"budget: must be an object"}},
	{"no tokens", `"budget": {"tokens": 0}`, []string{"budget.tokens: must be an integer from 1 to "}},
	{"tokens are null", `"budget": {"tokens": null}`, []string{"budget.tokens: must be an integer"}},
	{"half a token", `"budget": {"tokens": 1.5}`, []string{"budget.tokens: must be an integer"}},
	{"too many tokens", `"budget": {"tokens": 1e300}`, []string{"budget.tokens: "}},
	{"turns as text", `"budget": {"turns": "1"}`, []string{"budget.turns: must be an integer"}},
	{"negative turns", `"budget": {"turns": -1}`, []string{"budget.turns: "}},
	{"centuries", `"budget": {"wall_seconds": 1e10}`, []string{"budget.wall_seconds: must be an integer from 1 to 1000000000"}},
	{"no cost", `"budget": {"cost_usd": 0}`, []string{"budget.cost_usd: must be greater than 0"}},
	{"a cost below what numbers can tell", `"budget": {"cost_usd": 1e-999}`, []string{"budget.cost_usd: "}},
	{"negative cost", `"budget": {"cost_usd": -0.5}`, []string{"budget.cost_usd: must be greater than 0"}},
	{"too high a cost", `"budget": {"cost_usd": 1e999}`, []string{"budget.cost_usd: is too large"}},
	{"cost as text", `"budget": {"cost_usd": "1"}`, []string{"budget.cost_usd: must be a number"}},
	{"cost is null", `"budget": {"cost_usd": null}`, []string{"budget.cost_usd: must be a number"}},
	{"cost is true", `"budget": {"cost_usd": true}`, []string{"budget.cost_usd: must be a number"}},
}

func TestSessionBudget(t *testing.T) {
	w := newWorld(t)
	path := agents + "/" + w.newAgent(t) + "/session"
	for _, tt := range budgetFaults {
		t.Run(tt.name, func(t *testing.T) {
			w.do(t, "POST", path, "{"+tt.member+"}").wantError(t, http.StatusBadRequest, tt.phrases...)
		})
	}
	for given, want := range map[string]string{
		`null`: `null`, `{}`: `null`, `{"steps": 1}`: `null`, `{"turns": 1.0}`: `{"turns":1}`,
		`{"cost_usd": 1e-6, "wall_seconds": 60}`: `{"cost_usd":0.000001,"wall_seconds":60}`,
	} {
		r := w.do(t, "POST", path, `{"budget": `+given+`}`).want(t, 201)
		read := w.do(t, "GET", sessions+"/"+r.get("id").String(), nil).want(t, 200)
		for _, got := range []response{r, read} {
			if raw := got.get("budget").Raw; raw != want {
				t.Errorf("budget %s = %s, want %s", given, raw, want)
			}
		}
	}
}

func TestSessionEnvHosts(t *testing.T) {
	w := newWorld(t)
	// An agent's allow_out need not cover what a session's own variables are bound to.
	path := agents + "/" + w.newAgent(t, `"allow_out": ["a.com"]`) + "/session"
	r := w.do(t, "POST", path, `{"env_vars": {"A": "1", "B": "2"}, "env_var_hosts": {"A": ["x.com", " *.y.com "], "B": []}}`).want(t, 201)
	if got := r.get("env_var_hosts").Raw; got != `{"A":["x.com","*.y.com"]}` {
		t.Errorf("env_var_hosts = %s", got)
	}
	if diff := cmp.Diff(map[string][]string{"A": {"x.com", "*.y.com"}}, w.engine.last().EnvHosts); diff != "" {
		t.Error(diff)
	}
	list := w.do(t, "GET", sessions, nil).want(t, 200)
	if got := list.get("data.0.env_var_hosts").Raw; got != r.get("env_var_hosts").Raw {
		t.Errorf("in the list: %s", got)
	}
}

// TestUsage looks at what was used wherever it is shown.
func TestUsage(t *testing.T) {
	w := newWorld(t)
	agent, idle := w.newAgent(t), w.newAgent(t)
	a, b := w.newSession(t, agent), w.newSession(t, agent)
	w.addTurn(t, a, db.NewTurn{}, db.TurnEnd{Status: db.TurnComplete})
	for range 3 {
		use := db.Usage{Calls: 1, InputTokens: 100, OutputTokens: 20, CacheReadTokens: 30, CacheWriteTokens: 4, Cost: 0.1, UnpricedCalls: 1, EstimatedCalls: 2}
		if err := w.store.AddUsage(t.Context(), a, use); err != nil {
			t.Fatal(err)
		}
	}
	want := func(calls, turns int, cost string) string {
		return fmt.Sprintf(`{"calls":%d,"input_tokens":%d,"output_tokens":%d,"total_tokens":%d,"cache_read_tokens":%d,"cache_write_tokens":%d,`+
			`"cost_usd":%s,"unpriced_calls":%d,"estimated_calls":%d,"turns":%d,"wall_seconds":%d}`,
			calls, 100*calls, 20*calls, 120*calls, 30*calls, 4*calls, cost, calls, 2*calls, turns, turns)
	}
	for path, uses := range map[string]map[string]string{
		agents + "/" + agent:           {"usage": want(3, 1, "0.3")},
		agents + "/" + idle:            {"usage": noUsage},
		agents + "?order=asc":          {"data.0.usage": want(3, 1, "0.3"), "data.1.usage": noUsage},
		sessions + "/" + a:             {"usage": want(3, 1, "0.3")},
		sessions + "/" + b:             {"usage": noUsage},
		sessions + "?agent_id=" + idle: {"data": `[]`},
		sessions:                       {"data.0.usage": noUsage, "data.1.usage": want(3, 1, "0.3")},
	} {
		r := w.do(t, "GET", path, nil).want(t, 200)
		for at, usage := range uses {
			if got := r.get(at).Raw; got != usage {
				t.Errorf("%s of %s = %s, want %s", at, path, got, usage)
			}
		}
	}
	skill := w.newSkill(t, "s", "c")
	for name, r := range map[string]response{
		"PATCH":   w.do(t, "PATCH", agents+"/"+agent, `{}`),
		"attach":  w.do(t, "POST", agents+"/"+agent+"/skill", `{"skill_id": "`+skill+`"}`),
		"detach":  w.do(t, "DELETE", agents+"/"+agent+"/skill", nil),
		"restart": w.do(t, "POST", sessions+"/"+a+"/restart", nil),
	} {
		usage := r.want(t, 200).get("usage").Raw + r.get("agent.usage").Raw
		if usage != want(3, 1, "0.3") {
			t.Errorf("%s: usage = %s", name, usage)
		}
	}
}
