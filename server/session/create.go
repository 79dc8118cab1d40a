package session

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"lap/db"
)

// Create stores a session and begins to bring it up, in a warm sandbox when there is one.
// It returns at once, with the session in state creating. again is the first answer to
// a request whose idempotency key was used before; then nothing is created. The error is
// db.ErrNotFound when the agent is gone, or db.ErrKeyReused.
func (e *Engine) Create(ctx context.Context, agent db.Agent, in NewSession) (s db.Session, again json.RawMessage, err error) {
	warmKey := e.pool.keyFor(ctx, agent) // before, since it asks the engine
	e.births.RLock()
	defer e.births.RUnlock()
	if e.ending[agent.ID] > 0 {
		return db.Session{}, nil, db.ErrNotFound
	}
	asked := db.Session{EnvPlain: in.EnvPlain, EnvHosts: in.EnvHosts}
	row := db.NewSession{
		AgentID: agent.ID, Title: in.Title, SkillIDs: in.SkillIDs,
		EnvNames: slices.Sorted(maps.Keys(in.Env)), EnvPlain: in.EnvPlain, EnvHosts: in.EnvHosts,
		Budget: in.Budget, Warnings: e.warnings(agent, asked, in.Env),
		Deadline: e.cfg.Clock.Now().Add(e.cfg.StartTimeout), WarmKey: warmKey, Once: in.Once,
	}
	if len(in.InitialParts) > 0 {
		first, err := newTurn(in.InitialParts, e.cfg.Clock.Now().Add(e.cfg.StartTimeout+e.cfg.TurnTimeout))
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
	if in.Env != nil {
		l.setEnv(in.Env)
	}
	if row.First != nil && row.First.Lossy {
		l.keepWhole(0, in.InitialParts)
	}
	b := e.newBringUp(l, made.Session)
	b.warm = e.pool.take(made.Warm)
	if row.WarmKey != "" {
		e.pool.count(made.Warm != nil)
	}
	if err := e.begin(b); err != nil { // the next start goes on with it
		if b.warm != nil {
			b.warm.conn.close()
		}
		return db.Session{}, nil, err
	}
	e.pool.wake()
	return made.Session, nil, nil
}

// interrupted is why a session failed whose bring-up ended with lap's process, and whose
// variables went with it.
const interrupted = "platform restarted during bring-up, and the session's own env_vars are not stored: create the session again"

// noteFirst notes on a session why its initial prompt got no answer, if seq is that. The
// session stays ready; a turn that only took too long is no failure.
func (e *Engine) noteFirst(ctx context.Context, l *live, seq int64) error {
	if seq != 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	s, err := e.cfg.Store.SessionState(ctx, l.id)
	if err != nil {
		return ignoreNotFound(err)
	}
	if s.FailureReason != nil { // noted already
		return nil
	}
	t, err := e.cfg.Store.Turn(ctx, l.id, seq)
	if err != nil {
		return ignoreNotFound(err)
	}
	initial := t.CreatedAt.Equal(s.CreatedAt) // they were stored together
	if !initial || t.CompletedAt == nil || !t.CompletedAt.Before(t.DeadlineAt) {
		return nil
	}
	cause := modelError(t.Reply)
	if t.Reply == nil {
		cause = outcome(t)
	}
	if cause == nil {
		return nil
	}
	e.cfg.Log.WarnContext(ctx, "initial prompt failed", "session", l.id, "err", cause)
	return ignoreStale(e.cfg.Store.NoteFailure(ctx, l.id, "initial_prompt failed: "+oneLine(cause.Error())))
}

func ignoreNotFound(err error) error {
	if errors.Is(err, db.ErrNotFound) {
		return nil
	}
	return err
}
