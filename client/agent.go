package client

import (
	"context"
	"net/http"
	"time"
)

// An Agent is an agent as the server shows it.
type Agent struct {
	ID           string            `json:"id"`
	Name         *string           `json:"name"`
	Model        string            `json:"model"`
	Prompt       *string           `json:"prompt"`
	HarnessID    string            `json:"harness_id"`
	HarnessImage *string           `json:"harness_image"`
	EnvVars      map[string]string `json:"env_vars"`
	EnvPlain     []string          `json:"env_plain"`
	CreatedAt    time.Time         `json:"created_at"`
}

// NewAgent says what agent to create. Empty members are left to the server.
type NewAgent struct {
	Name         string   `json:"name,omitempty"`
	Model        string   `json:"model,omitempty"`
	Prompt       string   `json:"prompt,omitempty"`
	HarnessID    string   `json:"harness_id,omitempty"`
	HarnessImage string   `json:"harness_image,omitempty"`
	RepoURL      string   `json:"repo_url,omitempty"`
	Branch       string   `json:"branch,omitempty"`
	SkillIDs     []string `json:"skill_ids,omitempty"`

	EnvVars     map[string]string   `json:"env_vars,omitempty"`
	EnvPlain    []string            `json:"env_plain,omitempty"`     // names in EnvVars that are no secret
	EnvVarHosts map[string][]string `json:"env_var_hosts,omitempty"` // where a secret may go
	AllowOut    []string            `json:"allow_out,omitempty"`
	DenyOut     []string            `json:"deny_out,omitempty"`
}

// CreateAgent creates an agent.
func (c *Client) CreateAgent(ctx context.Context, in NewAgent) (Agent, error) {
	var out Agent
	err := c.do(ctx, http.MethodPost, managed+"/agents", in, &out)
	return out, err
}

// DeleteAgent deletes an agent with its sessions and their sandboxes.
func (c *Client) DeleteAgent(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, agentPath(id), nil, nil)
}
