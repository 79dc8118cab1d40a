package db

import (
	"context"
	"encoding/json"
)

// BeginTurn stores a user turn as pending and returns its place in the session's log,
// from 0, and whether it is the first, which it is until a user turn has been completed.
// parts is a JSON array. preview becomes the session's title_preview when it has none yet
// and preview is not empty. The error is ErrStale when the session is not ready.
func (s *Store) BeginTurn(ctx context.Context, sessionID string, parts json.RawMessage, preview string) (seq int64, first bool, err error) {
	err = s.tx(ctx, func(t tx) error {
		now := s.nowMillis()
		n, err := t.changed(ctx, `UPDATE sessions
			SET last_seen_at = ?2, title_preview = coalesce(title_preview, nullif(?3, '')) WHERE id = ?1 AND status = 'ready'`,
			sessionID, now, preview)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrStale
		}
		err = t.row(ctx, `SELECT NOT EXISTS (SELECT 1 FROM turns WHERE session_id = ? AND role = 'user' AND status = 'complete')`,
			sessionID).Scan(&first)
		if err != nil {
			return err
		}
		return t.row(ctx, `INSERT INTO turns (session_id, seq, role, status, parts, harness_session_id, created_at)
			SELECT id, `+nextSeq+`, 'user', 'pending', ?2, harness_session_id, ?3 FROM sessions WHERE id = ?1 RETURNING seq`,
			sessionID, string(parts), now).Scan(&seq)
	})
	return seq, first, err
}

const nextSeq = `(SELECT coalesce(max(seq) + 1, 0) FROM turns WHERE session_id = ?1)`

// CompleteTurn stores the reply to a pending user turn: parts, a JSON array, become
// the assistant's turn, and response, a JSON object, the session's latest response.
// Exactly one caller completes a turn; the others get ErrStale.
func (s *Store) CompleteTurn(ctx context.Context, sessionID string, seq int64, parts, response json.RawMessage) error {
	return s.tx(ctx, func(t tx) error {
		now := s.nowMillis()
		n, err := t.changed(ctx, `UPDATE turns SET status = 'complete', completed_at = ?3
			WHERE session_id = ?1 AND seq = ?2 AND status = 'pending'`, sessionID, seq, now)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrStale
		}
		_, err = t.exec(ctx, `INSERT INTO turns (session_id, seq, role, status, parts, harness_session_id, created_at, completed_at)
			SELECT id, `+nextSeq+`, 'assistant', 'complete', ?2, harness_session_id, ?3, ?3 FROM sessions WHERE id = ?1`,
			sessionID, string(parts), now)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE sessions SET response = ?2, response_short = ?4, last_seen_at = ?3,
			failure_reason = CASE status WHEN 'ready' THEN NULL ELSE failure_reason END WHERE id = ?1`,
			sessionID, string(response), now, shortResponse(response))
		return err
	})
}

// FailTurn marks a pending user turn as failed: it is never sent again.
func (s *Store) FailTurn(ctx context.Context, sessionID string, seq int64) error {
	return s.step(ctx, `UPDATE turns SET status = 'failed', completed_at = ?3
		WHERE session_id = ?1 AND seq = ?2 AND status = 'pending'`, sessionID, seq, s.nowMillis())
}
