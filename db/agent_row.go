package db

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// agentColumns are the columns of agents, in the order of scanAgent and columns.
const agentColumns = `id, name, model, prompt, harness_id, harness_image, repo_url, branch, pfp_url,
	tools, mcp_servers, allow_out, deny_out, env_vars, env_plain, env_var_hosts, requirements, projects,
	preload_memory_limit, created_by, created_at, budget, egress_default_deny`

// scanAgent reads agentColumns, then what further columns the caller selected.
func (s *Store) scanAgent(r scanner, further ...any) (Agent, error) {
	var (
		a                                              Agent
		tools, mcp, allow, deny, env, plain, hosts, pr string
		created                                        int64
		budget                                         sql.NullString
	)
	err := r.Scan(append([]any{
		&a.ID, &a.Name, &a.Model, &a.Prompt, &a.HarnessID, &a.HarnessImage, &a.RepoURL, &a.Branch, &a.PfpURL,
		&tools, &mcp, &allow, &deny, &env, &plain, &hosts, &a.sealedRequirements, &pr,
		&a.PreloadMemoryLimit, &a.CreatedBy, &created, &budget, &a.DefaultDeny,
	}, further...)...)
	if err != nil {
		return Agent{}, err
	}
	a.Tools, a.Projects, a.CreatedAt = json.RawMessage(tools), json.RawMessage(pr), moment(created)
	err = errors.Join(
		fromJSON(mcp, &a.MCPServers), fromJSON(allow, &a.AllowOut), fromJSON(deny, &a.DenyOut),
		fromJSON(env, &a.sealedEnv), fromJSON(plain, &a.EnvPlain), fromJSON(hosts, &a.EnvVarHosts),
		fromNullJSON(budget, &a.Budget))
	if err != nil {
		return Agent{}, fmt.Errorf("agent %s: %w", a.ID, err)
	}
	s.unseal(&a)
	return a, nil
}

// columns are the values of agentColumns. It seals what is new in a.
func (s *Store) columns(a *Agent) []any {
	s.seal(a)
	return []any{
		a.ID, a.Name, a.Model, a.Prompt, a.HarnessID, a.HarnessImage, a.RepoURL, a.Branch, a.PfpURL,
		jsonArray(a.Tools), jsonList(a.MCPServers), jsonList(a.AllowOut), jsonList(a.DenyOut),
		jsonMap(a.sealedEnv), jsonList(a.EnvPlain), jsonMap(a.EnvVarHosts), a.sealedRequirements, jsonArray(a.Projects),
		a.PreloadMemoryLimit, a.CreatedBy, millis(a.CreatedAt), a.Budget.column(), a.DefaultDeny,
	}
}

// fromJSON decodes a JSON column. Most are empty, and one agent is read very often.
func fromJSON(text string, v any) error {
	if text == `[]` || text == `{}` {
		return nil
	}
	return json.Unmarshal([]byte(text), v)
}

// fromNullJSON is fromJSON of a column that may be NULL, which changes nothing.
func fromNullJSON(text sql.NullString, v any) error {
	if !text.Valid {
		return nil
	}
	return json.Unmarshal([]byte(text.String), v)
}

func jsonArray(raw json.RawMessage) string {
	if len(raw) == 0 {
		return `[]`
	}
	return string(raw)
}

func jsonMap[V any](m map[string]V) string {
	if len(m) == 0 {
		return `{}`
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // maps of strings always encode
	}
	return string(b)
}
