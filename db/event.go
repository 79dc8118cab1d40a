package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// An Event is one entry of a session's event log.
type Event struct {
	Seq  int64 // from 1, without gaps
	Type string
	Body json.RawMessage // {"type": ..., "properties": ...}, one line
	At   time.Time       // when it was stored; of events packed together, the last of them
}

// A NewEvent is an Event that has no place in the log yet.
type NewEvent struct {
	Type string
	Body json.RawMessage
}

// Events returns at most limit events of a session after the one with the given number,
// in order.
func (s *Store) Events(ctx context.Context, sessionID string, after int64, limit int) ([]Event, error) {
	list, quotes, err := s.events(ctx, sessionID, after, limit)
	if err == nil {
		err = s.fillQuotes(ctx, sessionID, list, quotes)
	}
	if err != nil {
		return nil, fmt.Errorf("events of session %s: %w", sessionID, err)
	}
	return list, nil
}

// events is Events without the outputs that events quote from others. quotes says which
// in the list do.
func (s *Store) events(ctx context.Context, sessionID string, after int64, limit int) (list []Event, quotes map[int]quote, err error) {
	rows, err := s.r.query(ctx, `SELECT seq, length, type, body, pieces, created_at FROM events
		WHERE session_id = ? AND seq > ? ORDER BY seq LIMIT ?`, sessionID, after, max(0, limit))
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	quotes = map[int]quote{}
	for len(list) < limit && rows.Next() {
		more, q, err := scanEvents(rows, after, limit-len(list))
		if err != nil {
			return nil, nil, err
		}
		if q != nil {
			quotes[len(list)] = *q
		}
		list = append(list, more...)
	}
	return list, quotes, rows.Err()
}

// fillQuotes gives the events of a list the outputs that they quote.
func (s *Store) fillQuotes(ctx context.Context, sessionID string, list []Event, quotes map[int]quote) error {
	var of int64
	var source string
	for i := range list {
		q, ok := quotes[i]
		if !ok {
			continue
		}
		if q.Of != of {
			err := s.r.row(ctx, `SELECT body FROM events WHERE session_id = ? AND seq = ?`, sessionID, q.Of).Scan(&source)
			if err != nil {
				return err
			}
			of = q.Of
		}
		body, err := q.fill(string(list[i].Body), source)
		if err != nil {
			return fmt.Errorf("the row of event %d is damaged: %w", list[i].Seq, err)
		}
		list[i].Body = json.RawMessage(body)
	}
	return nil
}

// scanEvents reads one row, and of the events that are packed in it at most limit after
// the given one. With an event that quotes another comes what it quotes.
func scanEvents(r scanner, after int64, limit int) ([]Event, *quote, error) {
	var (
		last, length, created int64
		kind, body            string
		pieces                sql.NullString
	)
	if err := r.Scan(&last, &length, &kind, &body, &pieces, &created); err != nil {
		return nil, nil, err
	}
	before := max(after, last-length) // the newest event that is not asked for
	want := min(int64(limit), last-before)
	bodies := []string{body}
	q, quotes, err := parseQuote(pieces.String)
	if err == nil && pieces.Valid && !quotes {
		bodies = unpack(body, pieces.String, int(before-(last-length)), int(want))
	}
	if err != nil || int64(len(bodies)) != want {
		return nil, nil, fmt.Errorf("the row of event %d is damaged", last)
	}
	list := make([]Event, want)
	for i, body := range bodies {
		list[i] = Event{Seq: before + int64(i) + 1, Type: kind, Body: json.RawMessage(body), At: moment(created)}
	}
	if !quotes {
		return list, nil, nil
	}
	return list, &q, nil
}

// A Batch is what was read of the journal of a session's sandbox. It is stored whole or
// not at all.
type Batch struct {
	SessionID  string
	Generation int64
	After      int64 // the journal entry before its first
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

// ErrOverlap says that a batch does not follow what is stored of its journal.
var ErrOverlap = errors.New("the journal was stored up to another entry")

// Append stores a batch and returns the seq of its last event; the seqs of a batch
// follow each other. Outcomes of turns that do not run are dropped. The error is
// ErrStale when the session has another generation, or no sandbox, and ErrOverlap when
// somebody else has stored some of it.
func (s *Store) Append(ctx context.Context, b Batch) (last int64, err error) {
	err = s.tx(ctx, func(t tx) error {
		now := s.nowMillis()
		err := t.row(ctx, `UPDATE sessions SET journal = ?3, last_event = last_event + ?4
			WHERE id = ?1 AND generation = ?2 AND status = 'ready' AND journal = ?5 RETURNING last_event`,
			b.SessionID, b.Generation, b.Journal, len(b.Events), b.After).Scan(&last)
		if errors.Is(err, ErrNotFound) {
			return t.whyNotAppended(ctx, b)
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

func (t tx) whyNotAppended(ctx context.Context, b Batch) error {
	var one int
	err := t.row(ctx, `SELECT 1 FROM sessions WHERE id = ? AND generation = ? AND status = 'ready'`, b.SessionID, b.Generation).Scan(&one)
	switch {
	case err == nil:
		return ErrOverlap
	case errors.Is(err, ErrNotFound):
		return ErrStale
	}
	return err
}

// completeTurn stores the outcome of a turn. A reply becomes the session's response, and what
// was wrong with the session before is over, unless the reply tells of an error itself.
// Of a turn that was given up before, only that the harness took it in counts.
func (t tx) completeTurn(ctx context.Context, sessionID string, end TurnEnd, now int64) error {
	var reason *string
	if end.Error != "" {
		reason = &end.Error
	}
	n, err := t.changed(ctx, `UPDATE turns SET status = ?3, reply = ?4, error = ?5, completed_at = ?6
		WHERE session_id = ?1 AND seq = ?2 AND status = 'running'`, sessionID, end.Seq, end.Status, textOrNull(end.Reply), reason, now)
	if err != nil {
		return err
	}
	if n == 0 {
		_, err := t.exec(ctx, `UPDATE sessions SET primed = max(primed, ?3) WHERE id = ?1
			AND harness_session_id = (SELECT harness_session_id FROM turns WHERE session_id = ?1 AND seq = ?2)`, sessionID, end.Seq, end.Primed)
		return err
	}
	if end.Status != TurnComplete {
		_, err = t.exec(ctx, `UPDATE sessions SET last_seen_at = ?2, primed = max(primed, ?3) WHERE id = ?1`, sessionID, now, end.Primed)
		return err
	}
	_, err = t.exec(ctx, `UPDATE sessions SET last_seen_at = ?2, primed = 1, failure_reason = CASE
			WHEN failure_reason IS NOT NULL AND json_extract(?3, '$.info.error') IS NOT NULL THEN failure_reason END
		WHERE id = ?1`, sessionID, now, textOrNull(end.Reply))
	if err != nil {
		return err
	}
	if end.Reply == nil {
		return nil
	}
	_, err = t.exec(ctx, `INSERT INTO responses (session_id, short, body) VALUES (?, ?, ?)
		ON CONFLICT (session_id) DO UPDATE SET short = excluded.short, body = excluded.body`,
		sessionID, shortResponse(end.Reply), string(end.Reply))
	return err
}
