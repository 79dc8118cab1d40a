package db

import (
	"context"
	"encoding/json"
	"errors"
)

// A Message is one entry of a session's thread, as the harness shows it.
type Message struct {
	ID   string
	Body json.RawMessage // {"info": ..., "parts": [...]}
}

// saveMessages adds messages to the end of a session's stored thread, in their order. A
// message that is stored already keeps its place and gets the new body.
func (t tx) saveMessages(ctx context.Context, sessionID string, messages []Message, removed []string) error {
	for _, id := range removed {
		if _, err := t.exec(ctx, `DELETE FROM messages WHERE session_id = ? AND id = ?`, sessionID, id); err != nil {
			return err
		}
	}
	for _, m := range messages {
		_, err := t.exec(ctx, `INSERT INTO messages (session_id, seq, id, body)
			SELECT id, (SELECT coalesce(max(seq) + 1, 0) FROM messages WHERE session_id = ?1), ?2, ?3
			FROM sessions WHERE id = ?1
			ON CONFLICT (session_id, id) DO UPDATE SET body = excluded.body WHERE body <> excluded.body`,
			sessionID, m.ID, string(m.Body))
		if err != nil {
			return err
		}
	}
	return nil
}

// SaveThread stores what is left of a session's thread when nobody appends to its log any
// more. The error is ErrStale when somebody does, as it is ready.
func (s *Store) SaveThread(ctx context.Context, sessionID string, messages []Message, removed []string) error {
	return s.tx(ctx, func(t tx) error {
		var one int
		err := t.row(ctx, `SELECT 1 FROM sessions WHERE id = ? AND status <> 'ready'`, sessionID).Scan(&one)
		if errors.Is(err, ErrNotFound) {
			return ErrStale
		} else if err != nil {
			return err
		}
		return t.saveMessages(ctx, sessionID, messages, removed)
	})
}

// Message returns the body of one stored message, or ErrNotFound.
func (s *Store) Message(ctx context.Context, sessionID, id string) (json.RawMessage, error) {
	var body string
	err := s.r.row(ctx, `SELECT body FROM messages WHERE session_id = ? AND id = ?`, sessionID, id).Scan(&body)
	return json.RawMessage(body), err
}

// Messages returns the stored thread of a session, oldest first.
func (s *Store) Messages(ctx context.Context, sessionID string) ([]Message, error) {
	rows, err := s.r.query(ctx, `SELECT id, body FROM messages WHERE session_id = ? ORDER BY seq`, sessionID)
	return collect(rows, err, func(r scanner) (Message, error) {
		var m Message
		var body string
		err := r.Scan(&m.ID, &body)
		m.Body = json.RawMessage(body)
		return m, err
	})
}
