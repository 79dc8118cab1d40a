package db

import "context"

// Every transition below is one conditional UPDATE that names the state, and where a
// bring-up writes, the generation it expects. A writer that comes too late gets
// ErrStale and has changed nothing.

// SetPhase notes how far a bring-up has come. detail is cut at 500 characters.
func (s *Store) SetPhase(ctx context.Context, id string, generation int64, phase, detail string) error {
	var text *string
	if detail != "" {
		cut := clip(detail, 500)
		text = &cut
	}
	return s.step(ctx, `UPDATE sessions SET phase = ?3, phase_detail = ?4
		WHERE id = ?1 AND generation = ?2 AND status = 'creating'`, id, generation, phase, text)
}

// SetContainer notes the sandbox that a bring-up made.
func (s *Store) SetContainer(ctx context.Context, id string, generation int64, containerID string) error {
	return s.step(ctx, `UPDATE sessions SET container_id = ?3
		WHERE id = ?1 AND generation = ?2 AND status = 'creating'`, id, generation, containerID)
}

// MarkReady ends a bring-up with success.
func (s *Store) MarkReady(ctx context.Context, id string, generation int64, harnessSessionID string) error {
	return s.step(ctx, `UPDATE sessions
		SET status = 'ready', phase = 'ready', phase_detail = NULL, harness_session_id = ?3, last_seen_at = ?4
		WHERE id = ?1 AND generation = ?2 AND status = 'creating'`, id, generation, harnessSessionID, s.nowMillis())
}

// MarkFailed ends a bring-up with a reason a person can act on. The phase stays where
// it was.
func (s *Store) MarkFailed(ctx context.Context, id string, generation int64, reason string) error {
	return s.step(ctx, `UPDATE sessions SET status = 'failed', failure_reason = ?3, stopped_at = ?4, container_id = NULL
		WHERE id = ?1 AND generation = ?2 AND status = 'creating'`, id, generation, reason, s.nowMillis())
}

// MarkLost ends a ready session whose sandbox cannot be used any more.
func (s *Store) MarkLost(ctx context.Context, id string, generation int64, reason string) error {
	return s.step(ctx, `UPDATE sessions SET status = 'dead', failure_reason = ?3, stopped_at = ?4
		WHERE id = ?1 AND generation = ?2 AND status = 'ready'`, id, generation, reason, s.nowMillis())
}

// EndSession ends a session at its user's wish and returns it as it is then. A session
// that is dead already is left as it is; an earlier failure reason stays. The error
// is ErrNotFound when there is no such session.
func (s *Store) EndSession(ctx context.Context, id string) (Session, error) {
	var out Session
	err := s.tx(ctx, func(t tx) error {
		_, err := t.exec(ctx, `UPDATE sessions SET status = 'dead', stopped_at = ?2 WHERE id = ?1 AND status <> 'dead'`,
			id, s.nowMillis())
		if err != nil {
			return err
		}
		out, err = scanSession(t.row(ctx, selectSession(wholeResponse)+` WHERE s.id = ?`, id))
		return err
	})
	return out, err
}

// NoteFailure records on a ready session something that went wrong without ending it.
func (s *Store) NoteFailure(ctx context.Context, id, reason string) error {
	return s.step(ctx, `UPDATE sessions SET failure_reason = ?2 WHERE id = ?1 AND status = 'ready'`, id, reason)
}

// step runs one conditional UPDATE.
func (s *Store) step(ctx context.Context, query string, args ...any) error {
	return s.tx(ctx, func(t tx) error { return t.mustChange(ctx, ErrStale, query, args...) })
}

// clip cuts text to at most n characters.
func clip(text string, n int) string {
	for i := range text {
		if n == 0 {
			return text[:i]
		}
		n--
	}
	return text
}
