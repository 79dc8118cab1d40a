package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"
)

// The states of a turn.
const (
	TurnQueued      = "queued"      // its harness has surely not seen it
	TurnRunning     = "running"     // sent, or about to be
	TurnComplete    = "complete"    // answered
	TurnFailed      = "failed"      // over without an answer that counts
	TurnInterrupted = "interrupted" // its sandbox was lost; it is part of the history, and not sent again
)

// A Turn is one row of turns: what a user said, and what was answered.
type Turn struct {
	SessionID        string
	Seq              int64
	Status           string
	Parts            json.RawMessage // without image bytes
	Request          json.RawMessage // what else is sent to the harness, nil: nothing
	Lossy            bool            // image bytes were left out
	Reply            json.RawMessage // nil: none
	Error            *string
	HarnessSessionID *string
	FirstEvent       *int64 // the newest event before it was sent
	CreatedAt        time.Time
	DeadlineAt       time.Time
	SentAt           *time.Time
	CompletedAt      *time.Time
}

// Open reports whether the turn is not over.
func (t Turn) Open() bool { return t.Status == TurnQueued || t.Status == TurnRunning }

// A NewTurn is what is stored of a turn when it is accepted.
type NewTurn struct {
	Parts    json.RawMessage // a JSON array without image bytes
	Request  json.RawMessage // a JSON object, nil: nothing
	Lossy    bool
	Preview  string // becomes the session's title_preview when it has none yet
	Deadline time.Time
	Once     *Once // nil: the request has no key
}

// MaxOpenTurns bounds the turns of one session that wait or run.
const MaxOpenTurns = 1000

// ErrQueueFull says that a session has MaxOpenTurns open turns.
var ErrQueueFull = errors.New("too many messages are waiting")

// AddTurn queues a turn of a session that is ready, or that the next message brings
// back. again says that the key was used before: the turn is then the one it began. The
// error is ErrNotFound, ErrStale when the session takes no turns, ErrQueueFull, or
// ErrKeyReused.
func (s *Store) AddTurn(ctx context.Context, sessionID string, in NewTurn) (turn Turn, again bool, err error) {
	err = s.tx(ctx, func(t tx) error {
		now := s.nowMillis()
		before, err := t.seen(ctx, in.Once)
		if err != nil {
			return err
		}
		if again = before != nil; again {
			turn, err = scanTurn(t.row(ctx, selectTurn+` WHERE session_id = ? AND seq = ?`, before.sessionID, before.turn))
			return err
		}
		if err := t.admitTurn(ctx, sessionID, in.Preview, now); err != nil {
			return err
		}
		if turn, err = t.insertTurn(ctx, sessionID, in, now); err != nil {
			return err
		}
		return t.remember(ctx, in.Once, sessionID, &turn.Seq, nil, now)
	})
	return turn, again, err
}

// admitTurn notes on a session that it was sent a turn, if it takes one: it is ready, or
// about to be again.
func (t tx) admitTurn(ctx context.Context, sessionID, preview string, now int64) error {
	var open int
	err := t.row(ctx, `SELECT count(*) FROM turns WHERE session_id = ? AND status IN ('queued', 'running')`, sessionID).Scan(&open)
	if err != nil {
		return err
	}
	if open >= MaxOpenTurns {
		return ErrQueueFull
	}
	n, err := t.changed(ctx, `UPDATE sessions
		SET last_seen_at = ?2, title_preview = coalesce(title_preview, nullif(?3, ''))
		WHERE id = ?1 AND (status = 'ready' OR revivable = 1 OR status = 'creating' AND generation > 1)`,
		sessionID, now, preview)
	if err != nil || n > 0 {
		return err
	}
	return t.staleOrGone(ctx, sessionID)
}

func (t tx) insertTurn(ctx context.Context, sessionID string, in NewTurn, now int64) (Turn, error) {
	return scanTurn(t.row(ctx, `INSERT INTO turns (session_id, seq, status, parts, request, lossy, created_at, deadline_at)
		VALUES (?1, (SELECT coalesce(max(seq) + 1, 0) FROM turns WHERE session_id = ?1), 'queued', ?2, ?3, ?4, ?5, ?6)
		RETURNING `+turnColumns,
		sessionID, string(in.Parts), textOrNull(in.Request), in.Lossy, now, millis(in.Deadline)))
}

const (
	turnColumns = `session_id, seq, status, parts, request, lossy, reply, error, harness_session_id, first_event,
		created_at, deadline_at, sent_at, completed_at`
	selectTurn = `SELECT ` + turnColumns + ` FROM turns`
)

func scanTurn(r scanner) (Turn, error) {
	var (
		t                     Turn
		parts                 string
		request, reply        sql.NullString
		created, deadline     int64
		sent, completed, from sql.NullInt64
	)
	err := r.Scan(&t.SessionID, &t.Seq, &t.Status, &parts, &request, &t.Lossy, &reply, &t.Error, &t.HarnessSessionID, &from,
		&created, &deadline, &sent, &completed)
	if err != nil {
		return Turn{}, err
	}
	t.Parts, t.Request, t.Reply = json.RawMessage(parts), nullJSON(request), nullJSON(reply)
	if from.Valid {
		t.FirstEvent = &from.Int64
	}
	t.CreatedAt, t.DeadlineAt = moment(created), moment(deadline)
	t.SentAt, t.CompletedAt = nullMoment(sent), nullMoment(completed)
	return t, nil
}

// A Sending is a turn that may be sent now.
type Sending struct {
	Primed     bool  // the harness session knows what came before
	FirstEvent int64 // the newest event before the turn
}

// SendTurn makes the first open turn of a session, which is queued, the running one. The
// session must be ready and of the given generation. Else the error is ErrStale. It comes
// before the harness sees the turn.
func (s *Store) SendTurn(ctx context.Context, sessionID string, generation, seq int64) (Sending, error) {
	var out Sending
	err := s.tx(ctx, func(t tx) error {
		now := s.nowMillis()
		err := t.row(ctx, `UPDATE sessions SET last_seen_at = ?3 WHERE id = ?1 AND generation = ?2 AND status = 'ready'
			RETURNING primed, last_event`, sessionID, generation, now).Scan(&out.Primed, &out.FirstEvent)
		if errors.Is(err, ErrNotFound) {
			return ErrStale
		} else if err != nil {
			return err
		}
		return t.mustChange(ctx, ErrStale, `UPDATE turns SET status = 'running', sent_at = ?3, first_event = ?4,
			harness_session_id = (SELECT harness_session_id FROM sessions WHERE id = ?1)
			WHERE session_id = ?1 AND status = 'queued' AND seq = ?2
			AND seq = (SELECT min(seq) FROM turns WHERE session_id = ?1 AND status IN ('queued', 'running'))`,
			sessionID, seq, now, out.FirstEvent)
	})
	return out, err
}

// UnsendTurn puts a running turn that its harness has surely not seen back in the queue.
func (s *Store) UnsendTurn(ctx context.Context, sessionID string, seq int64) error {
	return s.step(ctx, `UPDATE turns SET status = 'queued', sent_at = NULL, first_event = NULL, harness_session_id = NULL
		WHERE session_id = ?1 AND seq = ?2 AND status = 'running'`, sessionID, seq)
}

// CancelTurn fails a turn that its harness has surely not seen. The error is ErrStale when
// it has, or may have.
func (s *Store) CancelTurn(ctx context.Context, sessionID string, seq int64, reason string) error {
	return s.step(ctx, `UPDATE turns SET status = 'failed', error = ?3, completed_at = ?4
		WHERE session_id = ?1 AND seq = ?2 AND status = 'queued'`, sessionID, seq, reason, s.nowMillis())
}

// EndTurn ends an open turn without a reply, as failed or interrupted.
func (s *Store) EndTurn(ctx context.Context, sessionID string, seq int64, status, reason string) error {
	return s.step(ctx, `UPDATE turns SET status = ?3, error = ?4, completed_at = ?5
		WHERE session_id = ?1 AND seq = ?2 AND status IN ('queued', 'running')`, sessionID, seq, status, reason, s.nowMillis())
}

// endTurns ends all open turns of a session without replies.
func (t tx) endTurns(ctx context.Context, sessionID, reason string, now int64) error {
	_, err := t.exec(ctx, `UPDATE turns SET status = 'failed', error = ?2, completed_at = ?3
		WHERE session_id = ?1 AND status IN ('queued', 'running')`, sessionID, reason, now)
	return err
}

// Turn returns one turn, or ErrNotFound.
func (s *Store) Turn(ctx context.Context, sessionID string, seq int64) (Turn, error) {
	return scanTurn(s.r.row(ctx, selectTurn+` WHERE session_id = ? AND seq = ?`, sessionID, seq))
}

// NextTurn returns the first open turn of a session, or ErrNotFound.
func (s *Store) NextTurn(ctx context.Context, sessionID string) (Turn, error) {
	return scanTurn(s.r.row(ctx, selectTurn+` WHERE session_id = ? AND status IN ('queued', 'running') ORDER BY seq LIMIT 1`, sessionID))
}

// LastSentTurn returns the newest turn of a session that was sent, or ErrNotFound.
func (s *Store) LastSentTurn(ctx context.Context, sessionID string) (Turn, error) {
	return scanTurn(s.r.row(ctx, selectTurn+` WHERE session_id = ? AND first_event IS NOT NULL ORDER BY seq DESC LIMIT 1`, sessionID))
}

// Turns returns all turns of a session in their order.
func (s *Store) Turns(ctx context.Context, sessionID string) ([]Turn, error) {
	rows, err := s.r.query(ctx, selectTurn+` WHERE session_id = ? ORDER BY seq`, sessionID)
	return collect(rows, err, scanTurn)
}

// BusySessions returns the ids of sessions with open turns.
func (s *Store) BusySessions(ctx context.Context) ([]string, error) {
	rows, err := s.r.query(ctx, `SELECT DISTINCT session_id FROM turns WHERE status IN ('queued', 'running')`)
	return collect(rows, err, func(r scanner) (id string, err error) { return id, r.Scan(&id) })
}
