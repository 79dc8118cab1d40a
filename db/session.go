package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The states of a session.
const (
	StatusCreating = "creating" // a sandbox is being brought up
	StatusReady    = "ready"    // messages are taken
	StatusFailed   = "failed"   // bring-up failed, see FailureReason
	StatusDead     = "dead"     // ended; the history stays readable
)

// ErrStale says that a session is no longer in the state, or the generation, that the
// caller's step belongs to. Whoever gets it must undo what it made for that step.
var ErrStale = errors.New("the session has moved on")

// A Session is one row of sessions, with its agent's harness. Lists hold its response as
// they say.
type Session struct {
	ID               string
	AgentID          string
	HarnessID        string // of the agent
	Model            string // the agent's when the session was made
	Title            *string
	TitlePreview     *string
	Status           string
	Generation       int64
	Phase            *string
	PhaseDetail      *string
	ContainerID      *string
	HarnessSessionID *string
	Response         json.RawMessage // nil: no reply yet
	FailureReason    *string
	SkillIDs         []string
	EnvNames         []string // names of per-session env_vars; their values are never stored
	EnvPlain         []string
	Warnings         []string
	CreatedAt        time.Time
	CreatingSince    time.Time
	LastSeenAt       *time.Time
	StoppedAt        *time.Time
}

// NewSession is what is stored of a session when it is asked for.
type NewSession struct {
	AgentID  string
	Title    *string
	SkillIDs []string
	EnvNames []string
	EnvPlain []string
	Warnings []string
}

// CreateSession stores a session in state creating, generation 1. The error is
// ErrNotFound when the agent is gone.
func (s *Store) CreateSession(ctx context.Context, in NewSession) (Session, error) {
	id, now := s.newID(), s.nowMillis()
	var out Session
	err := s.tx(ctx, func(t tx) error {
		n, err := t.changed(ctx, `INSERT INTO sessions
			(id, agent_id, model, title, status, generation, skill_ids, env_names, env_plain, warnings, created_at, creating_since)
			SELECT ?1, id, model, ?3, 'creating', 1, ?4, ?5, ?6, ?7, ?8, ?8 FROM agents WHERE id = ?2`,
			id, in.AgentID, in.Title, jsonList(in.SkillIDs), jsonList(in.EnvNames), jsonList(in.EnvPlain), jsonList(in.Warnings), now)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrNotFound
		}
		out, err = scanSession(t.row(ctx, selectSession(wholeResponse)+` WHERE s.id = ?`, id))
		return err
	})
	return out, err
}

// What a query reads of a response, which may be large.
const (
	wholeResponse = `s.response`
	listResponse  = `coalesce(s.response_short, s.response)`
	noResponse    = `NULL`
)

// selectSession is the start of a query for scanSession.
func selectSession(response string) string {
	return `SELECT s.id, s.agent_id, a.harness_id, s.model, s.title, s.title_preview, s.status, s.generation,
	s.phase, s.phase_detail, s.container_id, s.harness_session_id, ` + response + `, s.failure_reason,
	s.skill_ids, s.env_names, s.env_plain, s.warnings, s.created_at, s.creating_since, s.last_seen_at, s.stopped_at
	FROM sessions s JOIN agents a ON a.id = s.agent_id`
}

func scanSession(r scanner) (Session, error) {
	var (
		s                              Session
		response                       sql.NullString
		skills, names, plain, warnings string
		created, creating              int64
		lastSeen, stopped              sql.NullInt64
	)
	err := r.Scan(&s.ID, &s.AgentID, &s.HarnessID, &s.Model, &s.Title, &s.TitlePreview, &s.Status, &s.Generation,
		&s.Phase, &s.PhaseDetail, &s.ContainerID, &s.HarnessSessionID, &response, &s.FailureReason,
		&skills, &names, &plain, &warnings, &created, &creating, &lastSeen, &stopped)
	if err != nil {
		return Session{}, err
	}
	if response.Valid {
		s.Response = json.RawMessage(response.String)
	}
	s.CreatedAt, s.CreatingSince = moment(created), moment(creating)
	s.LastSeenAt, s.StoppedAt = nullMoment(lastSeen), nullMoment(stopped)
	err = errors.Join(
		json.Unmarshal([]byte(skills), &s.SkillIDs), json.Unmarshal([]byte(names), &s.EnvNames),
		json.Unmarshal([]byte(plain), &s.EnvPlain), json.Unmarshal([]byte(warnings), &s.Warnings))
	if err != nil {
		return Session{}, fmt.Errorf("session %s: %w", s.ID, err)
	}
	return s, nil
}

func nullMoment(ms sql.NullInt64) *time.Time {
	if !ms.Valid {
		return nil
	}
	t := moment(ms.Int64)
	return &t
}

// jsonList is list as a JSON column keeps it; nil is the empty list.
func jsonList(list []string) string {
	if len(list) == 0 {
		return `[]`
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(b)
}

// Session returns one session, or ErrNotFound.
func (s *Store) Session(ctx context.Context, id string) (Session, error) {
	return scanSession(s.r.row(ctx, selectSession(wholeResponse)+` WHERE s.id = ?`, id))
}

// SessionQuery says which sessions to list.
type SessionQuery struct {
	AgentID  *string  // nil: of all agents
	Statuses []string // empty: in any state
	Limit    int
	Offset   int
}

// Sessions returns a page of sessions, newest first, and how many there are in all. Their
// responses are cut at 64 KiB of parts.
func (s *Store) Sessions(ctx context.Context, q SessionQuery) ([]Session, int, error) {
	where, args := ` WHERE true`, []any{}
	if q.AgentID != nil {
		where, args = ` WHERE s.agent_id = ?`, append(args, *q.AgentID)
	}
	if len(q.Statuses) > 0 {
		where, args = where+` AND s.status IN (SELECT value FROM json_each(?))`, append(args, jsonList(q.Statuses))
	}
	var total int
	if err := s.r.row(ctx, `SELECT count(*) FROM sessions s`+where, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	rows, err := s.r.query(ctx, selectSession(listResponse)+where+` ORDER BY s.created_at DESC, s.id LIMIT ? OFFSET ?`,
		append(args, q.Limit, q.Offset)...)
	list, err := collect(rows, err, scanSession)
	return list, total, err
}

// LiveSessions returns every session in state creating or ready, of one agent or,
// with an empty id, of all. It leaves out their responses.
func (s *Store) LiveSessions(ctx context.Context, agentID string) ([]Session, error) {
	live := selectSession(noResponse) + ` WHERE s.status IN ('creating', 'ready')`
	if agentID == "" {
		rows, err := s.r.query(ctx, live)
		return collect(rows, err, scanSession)
	}
	rows, err := s.r.query(ctx, live+` AND s.agent_id = ?`, agentID)
	return collect(rows, err, scanSession)
}
