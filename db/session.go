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
	Revivable        bool // dead because its sandbox was lost, and the next message brings it back; creating: it does
	Phase            *string
	PhaseDetail      *string
	Timings          json.RawMessage // of the latest bring-up: phase to milliseconds; nil: none yet
	ContainerID      *string
	GuestID          *string // the guest process whose journal is followed
	Journal          int64   // the last entry of it that is stored
	HarnessSessionID *string
	Primed           bool            // the harness session knows what came before
	ProgressToken    *string         // hex SHA-256 of the token that phase reports come with
	Response         json.RawMessage // nil: no reply yet
	FailureReason    *string
	SkillIDs         []string
	EnvNames         []string // names of per-session env_vars; their values are never stored
	EnvPlain         []string
	EnvHosts         map[string][]string // hosts that those of EnvNames are bound to
	Budget           *Budget             // of its own; nil: none
	Warnings         []string
	LastEvent        int64 // seq of the newest event, 0: none
	CreatedAt        time.Time
	CreatingSince    time.Time
	DeadlineAt       *time.Time // creating: when it fails unless it makes progress
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
	EnvHosts map[string][]string // hosts that those of EnvNames are bound to
	Budget   *Budget             // nil: none
	Warnings []string
	Deadline time.Time // when it fails unless it makes progress
	First    *NewTurn  // queued at once, with the session's own created_at; nil: none
	WarmKey  string    // of the warm sandboxes that will do; empty: none will
	Once     *Once     // nil: the request has no key
}

// A Created is what came of a request for a session.
type Created struct {
	Session Session
	Warm    *Sandbox        // what the session took over; its id and generation are the session's
	Again   json.RawMessage // the first answer, when the key was used before; Session is as it is now
}

// CreateSession stores a session in state creating, generation 1. The error is
// ErrNotFound when the agent is gone, ErrKeyReused when the key belongs to another
// request.
func (s *Store) CreateSession(ctx context.Context, in NewSession) (Created, error) {
	var out Created
	err := s.tx(ctx, func(t tx) (err error) {
		out = Created{}
		before, err := t.seen(ctx, in.Once)
		if err != nil {
			return err
		}
		if before != nil {
			out.Again = before.answer
			out.Session, err = t.session(ctx, before.sessionID)
			return err
		}
		id := s.newID()
		if out.Warm, err = t.claimWarm(ctx, in.WarmKey, in.AgentID); err != nil {
			return err
		}
		if out.Warm != nil {
			id = out.Warm.SessionID
		}
		now := s.nowMillis()
		if err := t.insertSession(ctx, id, in, out.Warm, now); err != nil {
			return err
		}
		if in.First != nil {
			if _, err := t.insertTurn(ctx, id, *in.First, now); err != nil {
				return err
			}
		}
		out.Session, err = scanSession(t.row(ctx, selectSession(noResponse)+` WHERE s.id = ?`, id))
		if err != nil {
			return err
		}
		return t.rememberAnswer(ctx, in.Once, out.Session, now)
	})
	return out, err
}

func (t tx) rememberAnswer(ctx context.Context, o *Once, s Session, now int64) error {
	if o == nil {
		return nil
	}
	answer, err := o.Answer(s)
	if err != nil {
		return err
	}
	return t.remember(ctx, o, s.ID, nil, answer, now)
}

func (t tx) insertSession(ctx context.Context, id string, in NewSession, warm *Sandbox, now int64) error {
	var container *string
	if warm != nil {
		container = warm.ContainerID
	}
	preview := ""
	if in.First != nil {
		preview = in.First.Preview
	}
	return t.mustChange(ctx, ErrNotFound, `INSERT INTO sessions
		(id, agent_id, model, title, title_preview, status, generation, revivable, container_id, journal, primed,
		skill_ids, env_names, env_plain, warnings, last_event, created_at, creating_since, deadline_at, budget, env_hosts)
		SELECT ?1, id, model, ?3, nullif(?4, ''), 'creating', 1, 0, ?5, 0, 0, ?6, ?7, ?8, ?9, 0, ?10, ?10, ?11, ?12, ?13 FROM agents WHERE id = ?2`,
		id, in.AgentID, in.Title, preview, container,
		jsonList(in.SkillIDs), jsonList(in.EnvNames), jsonList(in.EnvPlain), jsonList(in.Warnings), now, millis(in.Deadline),
		in.Budget.column(), jsonMap(in.EnvHosts))
}

func (t tx) session(ctx context.Context, id string) (Session, error) {
	return scanSession(t.row(ctx, selectSession(wholeResponse)+` WHERE s.id = ?`, id))
}

// What a query reads of a response, which may be large.
const (
	wholeResponse = `(SELECT body FROM responses WHERE session_id = s.id)`
	listResponse  = `(SELECT coalesce(short, body) FROM responses WHERE session_id = s.id)`
	noResponse    = `NULL`
)

// selectSession is the start of a query for scanSession.
func selectSession(response string) string {
	return `SELECT s.id, s.agent_id, a.harness_id, s.model, s.title, s.title_preview, s.status, s.generation, s.revivable,
	s.phase, s.phase_detail, s.timings, s.container_id, s.guest_id, s.journal, s.harness_session_id, s.primed, s.progress_token,
	` + response + `, s.failure_reason, s.skill_ids, s.env_names, s.env_plain, s.warnings, s.last_event,
	s.created_at, s.creating_since, s.deadline_at, s.last_seen_at, s.stopped_at, s.budget, s.env_hosts
	FROM sessions s JOIN agents a ON a.id = s.agent_id`
}

func scanSession(r scanner) (Session, error) {
	var (
		s                                     Session
		timings, response, budget             sql.NullString
		skills, names, plain, hosts, warnings string
		created, creating                     int64
		deadline, lastSeen, stopped           sql.NullInt64
	)
	err := r.Scan(&s.ID, &s.AgentID, &s.HarnessID, &s.Model, &s.Title, &s.TitlePreview, &s.Status, &s.Generation, &s.Revivable,
		&s.Phase, &s.PhaseDetail, &timings, &s.ContainerID, &s.GuestID, &s.Journal, &s.HarnessSessionID, &s.Primed, &s.ProgressToken,
		&response, &s.FailureReason, &skills, &names, &plain, &warnings, &s.LastEvent,
		&created, &creating, &deadline, &lastSeen, &stopped, &budget, &hosts)
	if err != nil {
		return Session{}, err
	}
	s.Timings, s.Response = nullJSON(timings), nullJSON(response)
	s.CreatedAt, s.CreatingSince = moment(created), moment(creating)
	s.DeadlineAt, s.LastSeenAt, s.StoppedAt = nullMoment(deadline), nullMoment(lastSeen), nullMoment(stopped)
	err = errors.Join(
		json.Unmarshal([]byte(skills), &s.SkillIDs), json.Unmarshal([]byte(names), &s.EnvNames),
		json.Unmarshal([]byte(plain), &s.EnvPlain), json.Unmarshal([]byte(warnings), &s.Warnings),
		fromNullJSON(budget, &s.Budget), fromJSON(hosts, &s.EnvHosts))
	if err != nil {
		return Session{}, fmt.Errorf("session %s: %w", s.ID, err)
	}
	return s, nil
}

func nullJSON(text sql.NullString) json.RawMessage {
	if !text.Valid {
		return nil
	}
	return json.RawMessage(text.String)
}

// textOrNull is what a column holds of optional JSON.
func textOrNull(b json.RawMessage) *string {
	if b == nil {
		return nil
	}
	text := string(b)
	return &text
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

// listOrNull is jsonList, but NULL for nil.
func listOrNull(list []string) *string {
	if list == nil {
		return nil
	}
	text := jsonList(list)
	return &text
}

// mapOrNull is jsonMap, but NULL for nil.
func mapOrNull[V any](m map[string]V) *string {
	if m == nil {
		return nil
	}
	text := jsonMap(m)
	return &text
}

// Session returns one session, or ErrNotFound.
func (s *Store) Session(ctx context.Context, id string) (Session, error) {
	return scanSession(s.r.row(ctx, selectSession(wholeResponse)+` WHERE s.id = ?`, id))
}

// SessionState is Session without its response, which may be large.
func (s *Store) SessionState(ctx context.Context, id string) (Session, error) {
	return scanSession(s.r.row(ctx, selectSession(noResponse)+` WHERE s.id = ?`, id))
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

// LostSessions returns the sessions that the next message would bring back and that ended
// before the given time, without their responses.
func (s *Store) LostSessions(ctx context.Context, before time.Time) ([]Session, error) {
	rows, err := s.r.query(ctx, selectSession(noResponse)+` WHERE s.revivable = 1 AND s.stopped_at < ?`, millis(before))
	return collect(rows, err, scanSession)
}
