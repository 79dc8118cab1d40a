package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/julienschmidt/httprouter"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

// diagnosedLines is how much a diagnosis shows of what a sandbox printed.
const diagnosedLines = 200

// A diagnoseReply is all that can be seen of a session and its sandbox.
type diagnoseReply struct {
	Session        diagnosedSession   `json:"session"`
	Agent          *diagnosedAgent    `json:"agent"`
	Container      diagnosedContainer `json:"container"`
	Image          diagnosedImage     `json:"image"`
	Docker         diagnosedEngine    `json:"docker"`
	PodLogsTail    diagnosedLogs      `json:"pod_logs_tail"`
	WarmPool       map[string]int     `json:"warm_pool"`
	HarnessProbe   *diagnosedProbe    `json:"harness_probe"`
	DetectedIssues []detectedIssue    `json:"detected_issues"`
	Notes          map[string]string  `json:"notes"`
}

type diagnosedSession struct {
	ID            string  `json:"session_id"`
	AgentID       string  `json:"agent_id"`
	Status        string  `json:"status"`
	TaskARN       *string `json:"task_arn"`
	SandboxURL    *string `json:"sandbox_url"`
	FailureReason *string `json:"failure_reason"`
	CreatedAt     stamp   `json:"created_at"`
	LastSeenAt    *stamp  `json:"last_seen_at"`
	StoppedAt     *stamp  `json:"stopped_at"`
	AgeMS         int64   `json:"age_ms"`
}

type diagnosedAgent struct {
	ID        string  `json:"agent_id"`
	Name      *string `json:"agent_name"`
	HarnessID string  `json:"harness_id"`
	Model     string  `json:"model"`
	RepoURL   *string `json:"repo_url"`
	Branch    string  `json:"branch"`
}

type diagnosedContainer struct {
	Exists     bool   `json:"exists"`
	ID         string `json:"id,omitempty"`
	Name       string `json:"name,omitempty"`
	State      string `json:"state,omitempty"`
	Running    *bool  `json:"running,omitempty"`
	ExitCode   *int   `json:"exit_code,omitempty"`
	OOMKilled  *bool  `json:"oom_killed,omitempty"`
	Restarts   *int   `json:"restart_count,omitempty"`
	StartedAt  *stamp `json:"started_at,omitempty"`
	FinishedAt *stamp `json:"finished_at,omitempty"`
	Image      string `json:"image,omitempty"`
	Error      string `json:"error,omitempty"`
}

type diagnosedImage struct {
	Present bool   `json:"present"`
	Ref     string `json:"ref"`
	ID      string `json:"id,omitempty"`
	Size    int64  `json:"size_bytes,omitempty"`
	Error   string `json:"error,omitempty"`
}

type diagnosedEngine struct {
	Reachable bool   `json:"reachable"`
	Version   string `json:"version,omitempty"`
	Error     string `json:"error,omitempty"`
}

type diagnosedLogs struct {
	Available bool   `json:"available"`
	Text      string `json:"text,omitempty"`
	Error     string `json:"error,omitempty"`
}

type diagnosedProbe struct {
	Reachable bool   `json:"reachable"`
	Status    int    `json:"status,omitempty"`
	Error     string `json:"error,omitempty"`
}

// diagnose answers GET /sessions/{session_id}/diagnose. Whatever cannot be looked at is
// an error in its place, not one of the request.
func (a *API) diagnose(w http.ResponseWriter, r *http.Request, p httprouter.Params) error {
	s, err := a.session(r, p)
	if err != nil {
		return err
	}
	scrub, err := a.scrubber(r.Context(), s.AgentID)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.timing.look)
	defer cancel()
	var (
		logs diagnosedLogs
		read sync.WaitGroup
	)
	read.Go(func() { logs = a.diagnoseLogs(ctx, s) })
	d := a.cfg.Engine.Diagnose(ctx, s)
	agent, err := a.diagnoseAgent(ctx, s.AgentID)
	read.Wait()
	if err != nil {
		return err
	}
	now := a.cfg.Now()
	out := diagnoseReply{
		Session: a.diagnoseSession(s, now, scrub), Agent: agent, Container: diagnoseContainer(d, scrub),
		Image:       diagnosedImage{Ref: d.ImageRef, Error: scrub.Replace(d.ImageErr)},
		Docker:      diagnosedEngine{Reachable: d.EngineError == "", Version: d.EngineVersion, Error: scrub.Replace(d.EngineError)},
		PodLogsTail: logs, WarmPool: warmPool(d), DetectedIssues: filled(detect(s, d, now)), Notes: map[string]string{},
	}
	if d.Image != nil {
		out.Image.Present, out.Image.ID, out.Image.Size = true, d.Image.ID, d.Image.Size
	}
	if h := d.Harness; h != nil {
		out.HarnessProbe = &diagnosedProbe{Reachable: h.Status != 0, Status: h.Status, Error: scrub.Replace(h.Error)}
	}
	for name, note := range d.Notes {
		out.Notes[name] = scrub.Replace(note)
	}
	return reply(w, http.StatusOK, out)
}

func (a *API) diagnoseSession(s db.Session, now time.Time, scrub *strings.Replacer) diagnosedSession {
	out := diagnosedSession{
		ID: s.ID, AgentID: s.AgentID, Status: s.Status, TaskARN: s.ContainerID, SandboxURL: a.sandboxURL(s),
		CreatedAt: stamp(s.CreatedAt), LastSeenAt: nullStamp(s.LastSeenAt), StoppedAt: nullStamp(s.StoppedAt),
		AgeMS: now.Sub(s.CreatedAt).Milliseconds(),
	}
	if s.FailureReason != nil {
		out.FailureReason = new(scrub.Replace(*s.FailureReason))
	}
	return out
}

// diagnoseAgent returns nil for an agent that has gone meanwhile.
func (a *API) diagnoseAgent(ctx context.Context, id string) (*diagnosedAgent, error) {
	agent, err := a.cfg.Store.Agent(ctx, id)
	if errors.Is(err, db.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return &diagnosedAgent{
		ID: agent.ID, Name: agent.Name, HarnessID: agent.HarnessID, Model: agent.Model, RepoURL: agent.RepoURL, Branch: agent.Branch,
	}, nil
}

func (a *API) diagnoseLogs(ctx context.Context, s db.Session) diagnosedLogs {
	text, err := a.output(ctx, s)
	if err != nil {
		return diagnosedLogs{Error: oneLine(err.Error())}
	}
	return diagnosedLogs{Available: true, Text: lastLines(text, diagnosedLines)}
}

func diagnoseContainer(d session.Diagnosis, scrub *strings.Replacer) diagnosedContainer {
	c := d.Container
	if c == nil {
		return diagnosedContainer{Error: scrub.Replace(d.ContainerErr)}
	}
	out := diagnosedContainer{
		Exists: true, ID: c.ID, Name: c.Name, State: string(c.State), Running: new(c.Running()), Restarts: &c.Restarts,
		OOMKilled: &c.OOMKilled, StartedAt: pastStamp(c.StartedAt), FinishedAt: pastStamp(c.FinishedAt), Image: c.Image,
		Error: scrub.Replace(d.ContainerErr),
	}
	if c.State == sandbox.StateExited {
		out.ExitCode = &c.ExitCode
	}
	return out
}

// pastStamp is t on the wire, left out when it is zero.
func pastStamp(t time.Time) *stamp {
	if t.IsZero() {
		return nil
	}
	return nullStamp(&t)
}

func warmPool(d session.Diagnosis) map[string]int {
	counts := map[string]int{}
	for _, state := range []string{"provisioning", "warm", "claimed", "dead"} {
		counts[state] = d.Warm[state]
	}
	return counts
}
