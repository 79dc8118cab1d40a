package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// An Agent is one row of agents, with its secrets opened.
type Agent struct {
	ID                 string
	Name               *string
	Model              string
	Prompt             *string // with its skill blocks
	HarnessID          string
	HarnessImage       *string // nil: the harness's own
	RepoURL            *string
	Branch             string
	PfpURL             *string
	Tools              json.RawMessage // array, as given
	MCPServers         []string
	AllowOut           []string
	DenyOut            []string
	Env                map[string]string // replace with SetEnv
	EnvBroken          []string          // names whose values cannot be decrypted, RequirementsName among them
	EnvPlain           []string          // names in Env that are no secret
	EnvVarHosts        map[string][]string
	Requirements       *string         // replace with SetRequirements
	Projects           json.RawMessage // array of objects
	PreloadMemoryLimit int
	Budget             *Budget // of all its sessions together; nil: none
	DefaultDeny        *bool   // hosts that no list names are refused; nil: the server's setting
	CreatedBy          string
	CreatedAt          time.Time

	sealedEnv          map[string]string // as stored
	sealedRequirements *string           // as stored
}

// CreateAgent stores a under a new id and returns it as stored.
func (s *Store) CreateAgent(ctx context.Context, a Agent) (Agent, error) {
	a.ID, a.CreatedAt = s.newID(), moment(s.nowMillis())
	columns := s.columns(&a)
	err := s.tx(ctx, func(t tx) error {
		_, err := t.exec(ctx, `INSERT INTO agents (`+agentColumns+`)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, columns...)
		return err
	})
	return a, err
}

// Agent returns one agent, or ErrNotFound. What its members refer to is shared with other
// callers: it must not be changed.
func (s *Store) Agent(ctx context.Context, id string) (Agent, error) {
	a, ok, ticket := s.agents.get(id)
	if ok {
		return a, nil
	}
	a, err := s.scanAgent(s.r.row(ctx, selectAgent, id))
	if err == nil {
		s.agents.put(a, ticket)
	}
	return a, err
}

const selectAgent = `SELECT ` + agentColumns + ` FROM agents WHERE id = ?`

// UpdateAgent changes an agent with edit and returns it as stored then. Env values that
// edit leaves alone keep their sealed text, those that cannot be decrypted included. An
// error of edit is returned and nothing is stored. The error is ErrNotFound when there
// is no such agent.
func (s *Store) UpdateAgent(ctx context.Context, id string, edit func(*Agent) error) (Agent, error) {
	defer s.agents.drop(id)
	var out Agent
	err := s.tx(ctx, func(t tx) error {
		a, err := s.scanAgent(t.row(ctx, selectAgent, id))
		if err != nil {
			return err
		}
		if err := edit(&a); err != nil {
			return err
		}
		out = a
		_, err = t.exec(ctx, `UPDATE agents SET name = ?2, model = ?3, prompt = ?4, harness_id = ?5, harness_image = ?6,
			repo_url = ?7, branch = ?8, pfp_url = ?9, tools = ?10, mcp_servers = ?11, allow_out = ?12, deny_out = ?13,
			env_vars = ?14, env_plain = ?15, env_var_hosts = ?16, requirements = ?17, projects = ?18,
			preload_memory_limit = ?19, created_by = ?20, created_at = ?21,
			budget = ?22, egress_default_deny = ?23 WHERE id = ?1`, s.columns(&out)...)
		return err
	})
	return out, err
}

// ErrLive says that an agent has sessions that are creating or ready.
var ErrLive = errors.New("the agent has live sessions")

// DeleteAgent deletes an agent with its sessions and memories. The error is ErrLive, and
// nothing is changed, when a session of it is creating or ready, and ErrNotFound when
// there is no such agent.
func (s *Store) DeleteAgent(ctx context.Context, id string) error {
	defer s.agents.drop(id)
	return s.tx(ctx, func(t tx) error {
		var live bool
		err := t.row(ctx, `SELECT EXISTS (SELECT 1 FROM sessions WHERE agent_id = ? AND status IN ('creating', 'ready'))`,
			id).Scan(&live)
		if err != nil {
			return err
		}
		if live {
			return fmt.Errorf("agent %s: %w", id, ErrLive)
		}
		return t.mustChange(ctx, ErrNotFound, `DELETE FROM agents WHERE id = ?`, id)
	})
}
