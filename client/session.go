package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A Session is a session as the server shows it.
type Session struct {
	ID            string          `json:"id"`
	AgentID       string          `json:"agent_id"`
	Title         *string         `json:"title"`
	TitlePreview  *string         `json:"title_preview"`
	Status        string          `json:"status"` // creating, ready, failed or dead
	Phase         *string         `json:"phase"`
	PhaseDetail   *string         `json:"phase_detail"`
	TaskARN       *string         `json:"task_arn"` // the container's id
	Response      json.RawMessage `json:"response"`
	FailureReason *string         `json:"failure_reason"`
	Warnings      []string        `json:"warnings"`
	CreatedAt     time.Time       `json:"created_at"`
}

// NewSession says what session to create.
type NewSession struct {
	Title         string `json:"title,omitempty"`
	InitialPrompt string `json:"initial_prompt,omitempty"`

	EnvVars     map[string]string   `json:"env_vars,omitempty"`
	EnvPlain    []string            `json:"env_plain,omitempty"`     // names in EnvVars that are no secret
	EnvVarHosts map[string][]string `json:"env_var_hosts,omitempty"` // where a secret may go
}

// A Message is one message of a conversation.
type Message struct {
	Info  MessageInfo `json:"info"`
	Parts []Part      `json:"parts"`
}

// MessageInfo is what a message says of itself.
type MessageInfo struct {
	ID       string          `json:"id"`
	ParentID string          `json:"parentID"`
	Role     string          `json:"role"` // user or assistant
	Finish   string          `json:"finish"`
	Error    json.RawMessage `json:"error"` // nil: none
}

// A Part is a piece of a message.
type Part struct {
	Type  string    `json:"type"` // text, reasoning, tool, step-start, step-finish, ...
	Text  string    `json:"text"`
	Tool  string    `json:"tool"`
	State ToolState `json:"state"`
}

// ToolState is how far a tool call has come.
type ToolState struct {
	Status string          `json:"status"` // pending, running, completed or error
	Input  json.RawMessage `json:"input"`
	Output string          `json:"output"`
}

// Text is the text parts of the message.
func (m Message) Text() string {
	var b strings.Builder
	for _, p := range m.Parts {
		if p.Type == "text" {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

// CreateSession asks for a session, which is then in state creating.
func (c *Client) CreateSession(ctx context.Context, agentID string, in NewSession) (Session, error) {
	var out Session
	err := c.do(ctx, http.MethodPost, agentPath(agentID)+"/session", in, &out)
	return out, err
}

// Session returns a session.
func (c *Client) Session(ctx context.Context, id string) (Session, error) {
	var out Session
	err := c.do(ctx, http.MethodGet, sessionPath(id), nil, &out)
	return out, err
}

// pollInterval is how often a session that is coming up is looked at.
const pollInterval = 20 * time.Millisecond

// AwaitReady waits until a session is ready and returns it. seen is called with every
// state on the way. A session that ends instead is an error that says why.
func (c *Client) AwaitReady(ctx context.Context, id string, seen func(Session)) (Session, error) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		s, err := c.Session(ctx, id)
		if err != nil {
			return Session{}, err
		}
		seen(s)
		switch s.Status {
		case "ready":
			return s, nil
		case "failed", "dead":
			why := "it was stopped"
			if s.FailureReason != nil {
				why = *s.FailureReason
			}
			return s, fmt.Errorf("session %s is %s: %s", s.ID, s.Status, why)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Session{}, ctx.Err()
		}
	}
}

// Send sends a user's text and waits for the end of the turn.
func (c *Client) Send(ctx context.Context, sessionID, text string) (Message, error) {
	var out Message
	err := c.do(ctx, http.MethodPost, sessionPath(sessionID)+"/message", map[string]string{"text": text}, &out)
	return out, err
}

// Messages returns the newest page of a conversation, oldest message first.
func (c *Client) Messages(ctx context.Context, sessionID string) (Page[Message], error) {
	var out Page[Message]
	err := c.do(ctx, http.MethodGet, sessionPath(sessionID)+"/messages?limit=200", nil, &out)
	return out, err
}

// Abort ends the turn that a session carries out, if there is one.
func (c *Client) Abort(ctx context.Context, sessionID string) error {
	return c.do(ctx, http.MethodPost, sessionPath(sessionID)+"/abort", nil, nil)
}

// Restart replaces a session's sandbox and returns when it is ready. env are per-session
// variables; nil: those that it had, where they can be had.
func (c *Client) Restart(ctx context.Context, sessionID string, env map[string]string) (Session, error) {
	in := map[string]map[string]string{}
	if env != nil {
		in["env_vars"] = env
	}
	var out Session
	err := c.do(ctx, http.MethodPost, sessionPath(sessionID)+"/restart", in, &out)
	return out, err
}

// A LogEvent is one line of what happened to a session.
type LogEvent struct {
	ID     string    `json:"id"`
	Kind   string    `json:"kind"`
	At     time.Time `json:"at"`
	Title  string    `json:"title"`
	Detail string    `json:"detail"`
	Meta   string    `json:"meta"`
	Status string    `json:"status"`
}

// Log returns the first page of what happened to a session, oldest first.
func (c *Client) Log(ctx context.Context, sessionID string) (Page[LogEvent], error) {
	var out Page[LogEvent]
	err := c.do(ctx, http.MethodGet, sessionPath(sessionID)+"/log?limit=200", nil, &out)
	return out, err
}

// A Diagnosis is what can be seen of a session's sandbox from outside.
type Diagnosis struct {
	WarmPool struct { // sandboxes that wait for a session of the agent
		Provisioning int `json:"provisioning"`
		Warm         int `json:"warm"`
	} `json:"warm_pool"`
	DetectedIssues []struct {
		Code     string `json:"code"`
		Severity string `json:"severity"` // high, med or info
		Message  string `json:"message"`
		Advice   string `json:"recommended_action"`
	} `json:"detected_issues"`
	Logs struct {
		Text  string `json:"text"`
		Error string `json:"error"`
	} `json:"pod_logs_tail"`
}

// Diagnose looks at a session's sandbox.
func (c *Client) Diagnose(ctx context.Context, sessionID string) (Diagnosis, error) {
	var out Diagnosis
	err := c.do(ctx, http.MethodGet, sessionPath(sessionID)+"/diagnose", nil, &out)
	return out, err
}

// DeleteSession ends a session and removes its sandbox; the history stays readable.
func (c *Client) DeleteSession(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, sessionPath(id), nil, nil)
}
