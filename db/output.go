package db

import (
	"context"
	"errors"
)

// SaveOutput keeps what a session's sandbox printed last, in place of what was kept before.
func (s *Store) SaveOutput(ctx context.Context, sessionID, text string) error {
	return s.tx(ctx, func(t tx) error {
		_, err := t.exec(ctx, `INSERT INTO outputs (session_id, text, saved_at) SELECT id, ?2, ?3 FROM sessions WHERE id = ?1
			ON CONFLICT (session_id) DO UPDATE SET text = excluded.text, saved_at = excluded.saved_at`, sessionID, text, s.nowMillis())
		return err
	})
}

// Output returns what was kept of a session's output, "" when nothing was.
func (s *Store) Output(ctx context.Context, sessionID string) (string, error) {
	var text string
	err := s.r.row(ctx, `SELECT text FROM outputs WHERE session_id = ?`, sessionID).Scan(&text)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return text, err
}
