package db

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// An Event is one entry of a session's event log.
type Event struct {
	Seq  int64 // from 1, without gaps
	Type string
	Body json.RawMessage // {"type": ..., "properties": ...}, one line
	At   time.Time
}

// A NewEvent is an Event that has no place in the log yet. When Delta is not empty, the
// event says only that Delta goes to the end of a field, and can be packed together with
// those before and after it whose Body differs in nothing else.
type NewEvent struct {
	Type string
	Body json.RawMessage
}

// A Batch is what was read of the journal of a session's sandbox. It is stored whole or
// not at all.
type Batch struct {
	SessionID  string
	Generation int64
	Journal    int64 // the last journal entry in it
	Events     []NewEvent
	Messages   []Message // of the thread, new or changed
	Removed    []string  // ids of messages that are no more
	Ends       []TurnEnd
}

// A TurnEnd is the outcome of a running turn.
type TurnEnd struct {
	Seq    int64
	Status string          // complete or failed
	Reply  json.RawMessage // nil: none
	Error  string          // why it failed
	Primed bool            // the harness took the turn in, and with it what came before
}

// Append stores a batch and returns the seq of its last event; the seqs of a batch
// follow each other. Outcomes of turns that do not run are dropped. The error is
// ErrStale when the session has another generation, or no sandbox.
func (s *Store) Append(ctx context.Context, b Batch) (last int64, err error) {
	err = s.tx(ctx, func(t tx) error {
		now := s.nowMillis()
		err := t.row(ctx, `UPDATE sessions SET journal = ?3, last_event = last_event + ?4
			WHERE id = ?1 AND generation = ?2 AND status = 'ready' RETURNING last_event`,
			b.SessionID, b.Generation, b.Journal, len(b.Events)).Scan(&last)
		if errors.Is(err, ErrNotFound) {
			return ErrStale
		} else if err != nil {
			return err
		}
		first := last - int64(len(b.Events)) + 1
		for i, e := range b.Events {
			_, err := t.exec(ctx, `INSERT INTO events (session_id, seq, length, type, body, created_at) VALUES (?, ?, 1, ?, ?, ?)`,
				b.SessionID, first+int64(i), e.Type, string(e.Body), now)
			if err != nil {
				return err
			}
		}
		if err := t.saveMessages(ctx, b.SessionID, b.Messages, b.Removed); err != nil {
			return err
		}
		for _, end := range b.Ends {
			if err := t.completeTurn(ctx, b.SessionID, end, now); err != nil {
				return err
			}
		}
		return nil
	})
	return last, err
}

// completeTurn stores the outcome of a turn. A reply becomes the session's response.
func (t tx) completeTurn(ctx context.Context, sessionID string, end TurnEnd, now int64) error {
	var reason *string
	if end.Error != "" {
		reason = &end.Error
	}
	n, err := t.changed(ctx, `UPDATE turns SET status = ?3, reply = ?4, error = ?5, completed_at = ?6
		WHERE session_id = ?1 AND seq = ?2 AND status = 'running'`, sessionID, end.Seq, end.Status, textOrNull(end.Reply), reason, now)
	if err != nil || n == 0 {
		return err
	}
	if end.Status != TurnComplete {
		_, err = t.exec(ctx, `UPDATE sessions SET last_seen_at = ?2, primed = max(primed, ?3) WHERE id = ?1`, sessionID, now, end.Primed)
		return err
	}
	_, err = t.exec(ctx, `UPDATE sessions SET response = ?2, response_short = ?4, last_seen_at = ?3, primed = 1,
		failure_reason = CASE status WHEN 'ready' THEN NULL ELSE failure_reason END WHERE id = ?1`,
		sessionID, string(end.Reply), now, shortResponse(end.Reply))
	return err
}
