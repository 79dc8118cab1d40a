package api

import (
	"encoding/json"
	"strings"

	"lap/db"
	"lap/sandbox"
)

// A sessionReply is a session on the wire.
type sessionReply struct {
	ID               string              `json:"id"`
	AgentID          string              `json:"agent_id"`
	Title            *string             `json:"title"`
	Status           string              `json:"status"`
	Phase            *string             `json:"phase"`
	PhaseDetail      *string             `json:"phase_detail"`
	Timings          json.RawMessage     `json:"timings"` // phase to milliseconds
	SandboxURL       *string             `json:"sandbox_url"`
	HarnessSessionID *string             `json:"harness_session_id"`
	TTYURL           *string             `json:"tty_url"`
	TTYToken         *string             `json:"tty_token"`
	SupportsTUI      bool                `json:"supports_tui"`
	TaskARN          *string             `json:"task_arn"`
	Runtime          *string             `json:"runtime"` // docker or native; null: no sandbox yet
	Response         json.RawMessage     `json:"response"`
	CreatedAt        stamp               `json:"created_at"`
	LastSeenAt       *stamp              `json:"last_seen_at"`
	IdleTimeoutMS    *int64              `json:"idle_timeout_ms"`
	FailureReason    *string             `json:"failure_reason"`
	Origin           *struct{}           `json:"origin"`
	TitlePreview     *string             `json:"title_preview"`
	Sandboxes        map[string]string   `json:"sandboxes"`
	EnvPlain         []string            `json:"env_plain"`
	EnvVarHosts      map[string][]string `json:"env_var_hosts"`
	Budget           *db.Budget          `json:"budget"`
	Usage            usageReply          `json:"usage"`
	Warnings         []string            `json:"warnings,omitempty"`
}

// sessionReply returns a session as clients see it.
func (a *API) sessionReply(s db.Session, spent db.Spent) sessionReply {
	harness, _ := sandbox.LookupHarness(s.HarnessID)
	out := sessionReply{
		ID: s.ID, AgentID: s.AgentID, Title: s.Title, Status: s.Status, Phase: s.Phase, PhaseDetail: s.PhaseDetail, Timings: s.Timings,
		HarnessSessionID: s.HarnessSessionID, SupportsTUI: harness.Kind == sandbox.KindTUI, TaskARN: s.ContainerID,
		Response: s.Response, CreatedAt: stamp(s.CreatedAt), LastSeenAt: nullStamp(s.LastSeenAt),
		FailureReason: s.FailureReason, TitlePreview: s.TitlePreview, EnvPlain: filled(s.EnvPlain), Warnings: s.Warnings,
		EnvVarHosts: s.EnvHosts, Budget: s.Budget, Usage: newUsageReply(spent), SandboxURL: a.sandboxURL(s),
	}
	if s.ContainerID != nil {
		name := sandbox.RuntimeOf(*s.ContainerID)
		out.Runtime = &name
	}
	if out.EnvVarHosts == nil {
		out.EnvVarHosts = map[string][]string{}
	}
	if s.Status == db.StatusReady && harness.Kind == sandbox.KindTUI {
		tty := sessionPath(s) + "/tty"
		out.TTYURL = &tty
	}
	if a.cfg.IdleTimeout > 0 && harness.Kind != sandbox.KindInline {
		ms := a.cfg.IdleTimeout.Milliseconds()
		out.IdleTimeoutMS = &ms
	}
	return out
}

// sandboxURL is where clients reach the harness of a session, nil when they do not.
func (a *API) sandboxURL(s db.Session) *string {
	harness, _ := sandbox.LookupHarness(s.HarnessID)
	if s.Status != db.StatusReady || harness.Kind != sandbox.KindAPI {
		return nil
	}
	url := strings.TrimRight(a.cfg.BaseURL, "/") + sessionPath(s) + "/opencode"
	return &url
}

func sessionPath(s db.Session) string { return "/api/v1/managed_agents/sessions/" + s.ID }
