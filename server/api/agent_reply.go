package api

import (
	"context"
	"encoding/json"

	"lap/db"
	"lap/sandbox"
	"lap/server/prompt"
)

// An agentReply is an agent on the wire.
type agentReply struct {
	ID                    string              `json:"id"`
	Name                  *string             `json:"name"`
	Model                 string              `json:"model"`
	Prompt                *string             `json:"prompt"`
	HarnessID             string              `json:"harness_id"`
	HarnessImage          *string             `json:"harness_image"`
	SupportsTUI           bool                `json:"supports_tui"`
	RepoURL               *string             `json:"repo_url"`
	Branch                string              `json:"branch"`
	PfpURL                *string             `json:"pfp_url"`
	MCPServers            []string            `json:"mcp_servers"`
	EnvVars               map[string]string   `json:"env_vars"`
	EnvPlain              []string            `json:"env_plain"`
	EnvVarHosts           map[string][]string `json:"env_var_hosts"`
	Requirements          *string             `json:"requirements"`
	AttachedSkillIDs      []string            `json:"attached_skill_ids"`
	AllowOut              []string            `json:"allow_out"`
	DenyOut               []string            `json:"deny_out"`
	EgressDefaultDeny     *bool               `json:"egress_default_deny"`
	Budget                *db.Budget          `json:"budget"`
	Usage                 usageReply          `json:"usage"`
	Projects              json.RawMessage     `json:"projects"`
	PreloadMemoryLimit    int                 `json:"preload_memory_limit"`
	TemplateID            *string             `json:"template_id"`
	TemplateVersion       *int                `json:"template_version"`
	TemplateLatestVersion *int                `json:"template_latest_version"`
	TemplateInSync        bool                `json:"template_in_sync"`
	TemplatePrompt        *string             `json:"template_prompt"`
	TemplateLatestPrompt  *string             `json:"template_latest_prompt"`
	CreatedAt             stamp               `json:"created_at"`
	Warnings              []string            `json:"warnings,omitempty"`
}

// An agentRow is an agent in a list.
type agentRow struct {
	agentReply
	SessionCount     int  `json:"session_count"`
	HasActiveSession bool `json:"has_active_session"`
}

// agentNow is agentReply with what the agent has used so far.
func (a *API) agentNow(ctx context.Context, agent db.Agent) (agentReply, error) {
	spent, err := a.cfg.Store.AgentSpent(ctx, agent.ID)
	return a.advised(agent, a.agentReply(ctx, agent, spent)), err
}

// advised adds to the reply for one agent what its user should know of its credentials.
func (a *API) advised(agent db.Agent, out agentReply) agentReply {
	out.Warnings = a.cfg.Engine.Advice(agent)
	return out
}

// agentReply returns an agent as clients see it. It logs env vars that cannot be
// decrypted, since they are not shown.
func (a *API) agentReply(ctx context.Context, agent db.Agent, spent db.Spent) agentReply {
	if len(agent.EnvBroken) > 0 {
		a.cfg.Log.ErrorContext(ctx, "env vars cannot be decrypted: was ENCRYPTION_KEY changed?",
			"agent", agent.ID, "names", agent.EnvBroken)
	}
	harness, _ := sandbox.LookupHarness(agent.HarnessID)
	out := agentReply{
		ID: agent.ID, Name: agent.Name, Model: agent.Model, Prompt: agent.Prompt,
		HarnessID: agent.HarnessID, HarnessImage: agent.HarnessImage, SupportsTUI: harness.Kind == sandbox.KindTUI,
		RepoURL: agent.RepoURL, Branch: agent.Branch, PfpURL: agent.PfpURL,
		MCPServers: filled(agent.MCPServers), EnvVars: agent.Env, EnvPlain: filled(agent.EnvPlain),
		EnvVarHosts: agent.EnvVarHosts, Requirements: agent.Requirements,
		AttachedSkillIDs: prompt.SkillIDs(text(agent.Prompt)),
		AllowOut:         filled(agent.AllowOut), DenyOut: filled(agent.DenyOut), Projects: agent.Projects,
		EgressDefaultDeny: agent.DefaultDeny, Budget: agent.Budget, Usage: newUsageReply(spent),
		PreloadMemoryLimit: agent.PreloadMemoryLimit, TemplateInSync: true, CreatedAt: stamp(agent.CreatedAt),
	}
	if out.EnvVars == nil {
		out.EnvVars = map[string]string{}
	}
	if out.EnvVarHosts == nil {
		out.EnvVarHosts = map[string][]string{}
	}
	if len(out.Projects) == 0 {
		out.Projects = json.RawMessage(`[]`)
	}
	return out
}
