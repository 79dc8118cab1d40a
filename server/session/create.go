package session

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"lap/db"
)

// Create stores a session and begins to bring it up, in a warm sandbox when there is one.
// It returns at once, with the session in state creating. again is the first answer to
// a request whose idempotency key was used before; then nothing is created. The error is
// db.ErrNotFound when the agent is gone, or db.ErrKeyReused.
func (e *Engine) Create(ctx context.Context, agent db.Agent, in NewSession) (s db.Session, again json.RawMessage, err error) { //nolint:contextcheck // a bring-up outlives the request that asked for it
	e.births.RLock()
	defer e.births.RUnlock()
	if e.ending[agent.ID] > 0 {
		return db.Session{}, nil, db.ErrNotFound
	}
	row := db.NewSession{
		AgentID: agent.ID, Title: in.Title, SkillIDs: in.SkillIDs,
		EnvNames: slices.Sorted(maps.Keys(in.Env)), EnvPlain: in.EnvPlain, Warnings: warnings(agent),
		Deadline: time.Now().Add(e.cfg.StartTimeout), WarmKey: e.pool.keyFor(ctx, agent), Once: in.Once,
	}
	if len(in.InitialParts) > 0 {
		first, err := newTurn(in.InitialParts, e.cfg.StartTimeout+e.cfg.TurnTimeout)
		if err != nil {
			return db.Session{}, nil, err
		}
		row.First = &first
	}
	made, err := e.cfg.Store.CreateSession(ctx, row)
	if err != nil || made.Again != nil {
		return made.Session, made.Again, err
	}
	l := e.adopt(made.Session)
	l.setEnv(in.Env)
	if row.First != nil && row.First.Lossy {
		l.mu.Lock()
		l.whole[0] = in.InitialParts
		l.mu.Unlock()
	}
	b := e.newBringUp(l, made.Session)
	b.warm, b.first = e.pool.take(made.Warm), row.First != nil
	if row.WarmKey != "" {
		e.pool.count(made.Warm != nil)
	}
	if err := e.begin(b); err != nil { // the next start goes on with it
		return db.Session{}, nil, err
	}
	e.pool.wake()
	return made.Session, nil, nil
}

// interrupted is why a session failed whose bring-up ended with lap's process, and whose
// variables went with it.
const interrupted = "platform restarted during bring-up, and the session's own env_vars are not stored: create the session again"

// warnings names what an agent asks for and this lap does not do.
func warnings(agent db.Agent) []string {
	var list []string
	if agent.Requirements != nil {
		list = append(list, "requirements are not installed: sandboxes have no way to reach a package index yet")
	}
	if len(agent.MCPServers) > 0 {
		list = append(list, "mcp_servers are not available to the built-in agent yet")
	}
	return list
}

// firstPromptFailed notes that the initial prompt of a session got no answer. The session
// stays ready; a turn that only took too long is no failure.
func (e *Engine) firstPromptFailed(ctx context.Context, p *Pending) {
	answer, err := p.Reply(ctx)
	if err == nil {
		err = modelError(answer)
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrStopping) {
		return
	}
	t, failed := e.cfg.Store.Turn(ctx, p.live.id, p.seq)
	if failed != nil || t.CompletedAt != nil && !t.CompletedAt.Before(t.DeadlineAt) {
		return
	}
	e.cfg.Log.WarnContext(ctx, "initial prompt failed", "session", p.live.id, "err", err)
	err = ignoreStale(e.cfg.Store.NoteFailure(ctx, p.live.id, "initial_prompt failed: "+oneLine(err.Error())))
	if err != nil {
		e.cfg.Log.ErrorContext(ctx, "failure of the initial prompt not noted", "session", p.live.id, "err", err)
	}
}
