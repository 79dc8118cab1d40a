package db

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// The states of a sandbox's row.
const (
	SandboxMaking   = "making"   // the engine is, or is about to be, asked to make it
	SandboxWarm     = "warm"     // it waits for a session
	SandboxOwned    = "owned"    // it is its session's
	SandboxRemoving = "removing" // the engine is, or is about to be, asked to remove it
)

// A Sandbox is one row of sandboxes: a container that there is, or may be.
type Sandbox struct {
	Name        string
	SessionID   string // of a warm one: the id that the session which takes it will have
	AgentID     string
	Generation  int64
	State       string
	ContainerID *string
	WarmKey     *string
	Frozen      bool
	CreatedAt   time.Time
	ReadyAt     *time.Time
}

const (
	sandboxColumns = `name, session_id, agent_id, generation, state, container_id, warm_key, frozen, created_at, ready_at`
	selectSandbox  = `SELECT ` + sandboxColumns + ` FROM sandboxes`
)

func scanSandbox(r scanner) (Sandbox, error) {
	var b Sandbox
	var created int64
	var ready sql.NullInt64
	err := r.Scan(&b.Name, &b.SessionID, &b.AgentID, &b.Generation, &b.State, &b.ContainerID, &b.WarmKey, &b.Frozen, &created, &ready)
	b.CreatedAt, b.ReadyAt = moment(created), nullMoment(ready)
	return b, err
}

// PlanSandbox notes, in state making, that the engine is about to be asked for a
// sandbox. For a session (no warm key) the error is ErrStale when it is not creating in
// that generation; for a warm one ErrNotFound when its agent is gone.
func (s *Store) PlanSandbox(ctx context.Context, b Sandbox) error {
	return s.tx(ctx, func(t tx) error {
		none, guard := ErrStale, `EXISTS (SELECT 1 FROM sessions WHERE id = ?2 AND generation = ?4 AND status = 'creating')`
		if b.WarmKey != nil {
			none, guard = ErrNotFound, `EXISTS (SELECT 1 FROM agents WHERE id = ?3)`
		}
		return t.mustChange(ctx, none, `INSERT INTO sandboxes (name, session_id, agent_id, generation, state, warm_key, frozen, created_at)
			SELECT ?1, ?2, ?3, ?4, 'making', ?5, 0, ?6 WHERE `+guard,
			b.Name, b.SessionID, b.AgentID, b.Generation, b.WarmKey, s.nowMillis())
	})
}

// SandboxMade notes the engine's id of a sandbox that was made. One made for a session
// becomes its own, in place of one that was lost; the error is ErrStale when that has moved
// on, or when the row is to be removed. A warm one stays in state making.
func (s *Store) SandboxMade(ctx context.Context, name, containerID string) error {
	return s.tx(ctx, func(t tx) error {
		b, err := scanSandbox(t.row(ctx, `UPDATE sandboxes
			SET container_id = ?2, state = CASE WHEN warm_key IS NULL THEN 'owned' ELSE state END
			WHERE name = ?1 AND state = 'making' RETURNING `+sandboxColumns, name, containerID))
		if errors.Is(err, ErrNotFound) {
			return ErrStale
		} else if err != nil || b.WarmKey != nil {
			return err
		}
		return t.mustChange(ctx, ErrStale, `UPDATE sessions SET container_id = ?3, revivable = 0
			WHERE id = ?1 AND generation = ?2 AND status = 'creating'`, b.SessionID, b.Generation, containerID)
	})
}

// AdoptSandbox makes a sandbox that a session had before its own again, in the
// generation that brings it back.
func (s *Store) AdoptSandbox(ctx context.Context, sessionID string, generation int64, containerID string) error {
	return s.tx(ctx, func(t tx) error {
		err := t.mustChange(ctx, ErrStale, `UPDATE sandboxes SET frozen = 0 WHERE session_id = ? AND container_id = ? AND state = 'owned'`, sessionID, containerID)
		if err != nil {
			return err
		}
		return t.mustChange(ctx, ErrStale, `UPDATE sessions SET container_id = ?3
			WHERE id = ?1 AND generation = ?2 AND status = 'creating'`, sessionID, generation, containerID)
	})
}

// SandboxReady puts a warm sandbox that was made into the pool. The error is ErrStale
// when it is to be removed.
func (s *Store) SandboxReady(ctx context.Context, name string) error {
	return s.step(ctx, `UPDATE sandboxes SET state = 'warm', ready_at = ?2 WHERE name = ?1 AND state = 'making' AND warm_key IS NOT NULL`,
		name, s.nowMillis())
}

// claimWarm takes the oldest warm sandbox with the key, the agent's own first, for a
// session in its generation. It returns nil when there is none.
func (t tx) claimWarm(ctx context.Context, key, agentID string) (*Sandbox, error) {
	if key == "" {
		return nil, nil
	}
	b, err := scanSandbox(t.row(ctx, `UPDATE sandboxes SET state = 'owned', agent_id = ?2 WHERE name = (
		SELECT name FROM sandboxes WHERE state = 'warm' AND warm_key = ?1 ORDER BY agent_id <> ?2, ready_at, name LIMIT 1)
		RETURNING `+sandboxColumns, key, agentID))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return &b, nil
}

// CondemnSandbox notes that the engine is about to be asked to remove a sandbox. That a
// sandbox is not known, or condemned already, is no error.
func (s *Store) CondemnSandbox(ctx context.Context, name string) error {
	return s.tx(ctx, func(t tx) error {
		_, err := t.exec(ctx, `UPDATE sandboxes SET state = 'removing' WHERE name = ?`, name)
		return err
	})
}

// CondemnWarm condemns the sandboxes of the pool, made and in the making, that were
// meant for the agent, or with an empty id for any, and returns them.
func (s *Store) CondemnWarm(ctx context.Context, agentID string) ([]Sandbox, error) {
	var list []Sandbox
	err := s.tx(ctx, func(t tx) error {
		rows, err := t.query(ctx, `UPDATE sandboxes SET state = 'removing'
			WHERE warm_key IS NOT NULL AND state IN ('making', 'warm') AND (?1 = '' OR agent_id = ?1) RETURNING `+sandboxColumns, agentID)
		list, err = collect(rows, err, scanSandbox)
		return err
	})
	return list, err
}

// CondemnWarmOne condemns a sandbox of the pool, unless it has left the pool meanwhile.
func (s *Store) CondemnWarmOne(ctx context.Context, name string) (condemned bool, err error) {
	err = s.tx(ctx, func(t tx) error {
		n, err := t.changed(ctx, `UPDATE sandboxes SET state = 'removing' WHERE name = ? AND warm_key IS NOT NULL AND state IN ('making', 'warm')`, name)
		condemned = n > 0
		return err
	})
	return condemned, err
}

// ForgetSandbox deletes the row of a sandbox that the engine has removed.
func (s *Store) ForgetSandbox(ctx context.Context, name string) error {
	return s.tx(ctx, func(t tx) error {
		_, err := t.exec(ctx, `DELETE FROM sandboxes WHERE name = ? AND state = 'removing'`, name)
		return err
	})
}

// Freeze notes that a session's sandbox is about to be paused. The error is ErrStale
// unless the session is ready, in that sandbox, was last seen before the given time, and
// has no turn open.
func (s *Store) Freeze(ctx context.Context, sessionID, containerID string, before time.Time) error {
	return s.step(ctx, `UPDATE sandboxes SET frozen = 1 WHERE session_id = ?1 AND container_id = ?2 AND state = 'owned'
		AND EXISTS (SELECT 1 FROM sessions WHERE id = ?1 AND status = 'ready' AND container_id = ?2 AND coalesce(last_seen_at, created_at) < ?3)
		AND NOT EXISTS (SELECT 1 FROM turns WHERE session_id = ?1 AND status IN ('queued', 'running'))`, sessionID, containerID, millis(before))
}

// Thaw notes that a session's sandbox goes on.
func (s *Store) Thaw(ctx context.Context, sessionID, containerID string) error {
	return s.step(ctx, `UPDATE sandboxes SET frozen = 0 WHERE session_id = ?1 AND container_id = ?2 AND state = 'owned'`, sessionID, containerID)
}

// Sandboxes returns every row.
func (s *Store) Sandboxes(ctx context.Context) ([]Sandbox, error) {
	rows, err := s.r.query(ctx, selectSandbox)
	return collect(rows, err, scanSandbox)
}

// SessionSandboxes returns the rows of one session.
func (s *Store) SessionSandboxes(ctx context.Context, sessionID string) ([]Sandbox, error) {
	rows, err := s.r.query(ctx, selectSandbox+` WHERE session_id = ?`, sessionID)
	return collect(rows, err, scanSandbox)
}

// RecentAgents returns the ids of agents with a session made since the given time, the
// one with the newest first.
func (s *Store) RecentAgents(ctx context.Context, since time.Time, limit int) ([]string, error) {
	rows, err := s.r.query(ctx, `SELECT agent_id FROM sessions WHERE created_at >= ? GROUP BY +agent_id ORDER BY max(created_at) DESC LIMIT ?`,
		millis(since), limit)
	return collect(rows, err, func(r scanner) (id string, err error) { return id, r.Scan(&id) })
}
