package db

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Every transition below is one conditional UPDATE that names the state, and where a
// bring-up writes, the generation it expects. A writer that comes too late gets
// ErrStale and has changed nothing.

// SetPhase notes how far a bring-up has come, and until when it must come further.
// detail is cut at 500 characters.
func (s *Store) SetPhase(ctx context.Context, id string, generation int64, phase, detail string, deadline time.Time) error {
	var text *string
	if detail != "" {
		cut := clip(detail, 500)
		text = &cut
	}
	return s.step(ctx, `UPDATE sessions SET phase = ?3, phase_detail = ?4, deadline_at = ?5
		WHERE id = ?1 AND generation = ?2 AND status = 'creating'`, id, generation, phase, text, millis(deadline))
}

// SetProgressToken notes the hex SHA-256 of the token that phase reports come with.
func (s *Store) SetProgressToken(ctx context.Context, id string, generation int64, hash string) error {
	return s.step(ctx, `UPDATE sessions SET progress_token = ?3
		WHERE id = ?1 AND generation = ?2 AND status = 'creating'`, id, generation, hash)
}

// A Readiness is what a bring-up that succeeded leads to.
type Readiness struct {
	HarnessSessionID string
	GuestID          string
	Timings          json.RawMessage
	Warnings         []string // in place of those of the session; nil: they stay
}

// MarkReady ends a bring-up with success.
func (s *Store) MarkReady(ctx context.Context, id string, generation int64, r Readiness) error {
	return s.step(ctx, `UPDATE sessions
		SET status = 'ready', revivable = 0, phase = 'ready', phase_detail = NULL, deadline_at = NULL, harness_session_id = ?3, last_seen_at = ?4,
		guest_id = ?5, journal = 0, primed = 0, timings = ?6, warnings = coalesce(?7, warnings)
		WHERE id = ?1 AND generation = ?2 AND status = 'creating'`,
		id, generation, r.HarnessSessionID, s.nowMillis(), r.GuestID, textOrNull(r.Timings), listOrNull(r.Warnings))
}

// MarkFailed ends a bring-up with a reason a person can act on. The phase stays where
// it was; turns that wait fail for the same reason.
func (s *Store) MarkFailed(ctx context.Context, id string, generation int64, reason string) error {
	return s.tx(ctx, func(t tx) error {
		now := s.nowMillis()
		err := t.mustChange(ctx, ErrStale, `UPDATE sessions
			SET status = 'failed', revivable = 0, failure_reason = ?3, stopped_at = ?4, container_id = NULL, deadline_at = NULL
			WHERE id = ?1 AND generation = ?2 AND status = 'creating'`, id, generation, reason, now)
		if err != nil {
			return err
		}
		return t.endTurns(ctx, id, "the session failed: "+reason, now)
	})
}

// MarkDead ends a ready session without its user's wish. When it is revivable, its turns
// that wait go on waiting; one that runs is interrupted.
func (s *Store) MarkDead(ctx context.Context, id string, generation int64, reason string, revivable bool) error {
	return s.tx(ctx, func(t tx) error {
		now := s.nowMillis()
		err := t.mustChange(ctx, ErrStale, `UPDATE sessions SET status = 'dead', failure_reason = ?3, stopped_at = ?4, revivable = ?5
			WHERE id = ?1 AND generation = ?2 AND status = 'ready'`, id, generation, reason, now, revivable)
		if err != nil {
			return err
		}
		if !revivable {
			return t.endTurns(ctx, id, "the session ended: "+reason, now)
		}
		_, err = t.exec(ctx, `UPDATE turns SET status = 'interrupted', error = ?2, completed_at = ?3
			WHERE session_id = ?1 AND status = 'running'`, id, "the sandbox was lost while the agent was working ("+reason+"); the next message goes on from here", now)
		return err
	})
}

// MarkIdle ends a ready session that was last seen before the given time and has no
// turn open.
func (s *Store) MarkIdle(ctx context.Context, id string, generation int64, before time.Time) error {
	return s.step(ctx, `UPDATE sessions SET status = 'dead', failure_reason = 'idle timeout', stopped_at = ?4
		WHERE id = ?1 AND generation = ?2 AND status = 'ready' AND coalesce(last_seen_at, created_at) < ?3
		AND NOT EXISTS (SELECT 1 FROM turns WHERE session_id = ?1 AND status IN ('queued', 'running'))`,
		id, generation, millis(before), s.nowMillis())
}

// GiveUp makes a dead session one that only a restart brings back.
func (s *Store) GiveUp(ctx context.Context, id string, generation int64) error {
	return s.tx(ctx, func(t tx) error {
		err := t.mustChange(ctx, ErrStale, `UPDATE sessions SET revivable = 0
			WHERE id = ?1 AND generation = ?2 AND status = 'dead' AND revivable = 1`, id, generation)
		if err != nil {
			return err
		}
		return t.endTurns(ctx, id, "the session ended", s.nowMillis())
	})
}

// MarkUnreachable ends a session whose sandbox was lost and could not be brought back or
// replaced, with the generation of the attempt and the turns that wait. left is the
// engine's id of what is left of the sandbox, for the next message to try again: the
// session is revivable; nil: it is not.
func (s *Store) MarkUnreachable(ctx context.Context, id string, generation int64, reason string, left *string) error {
	return s.tx(ctx, func(t tx) error {
		now := s.nowMillis()
		err := t.mustChange(ctx, ErrStale, `UPDATE sessions
			SET status = 'dead', failure_reason = ?3, stopped_at = ?4, container_id = ?5, revivable = ?5 IS NOT NULL, deadline_at = NULL
			WHERE id = ?1 AND generation = ?2 AND status = 'creating'`, id, generation, reason, now, left)
		if err != nil {
			return err
		}
		return t.endTurns(ctx, id, reason, now)
	})
}

// A Claim says what a new bring-up of a session begins from.
type Claim struct {
	From     []string            // states it may be in
	Lost     bool                // it must be revivable, and stays so, with its sandbox, until that is replaced
	EnvNames []string            // of per-session variables; nil: they stay
	EnvHosts map[string][]string // hosts that those are bound to; nil: they stay
	Deadline time.Time           // when the bring-up fails unless it makes progress
}

// ClaimSession brings a session back to creating, in a new generation, and returns it. A
// turn that runs is interrupted. Exactly one of several callers succeeds; the error of the
// others is ErrStale, or ErrNotFound when there is no such session.
func (s *Store) ClaimSession(ctx context.Context, id string, c Claim) (claimed Session, err error) {
	err = s.tx(ctx, func(t tx) error {
		now := s.nowMillis()
		err := t.mustChange(ctx, ErrStale, `UPDATE sessions SET status = 'creating', generation = generation + 1, revivable = ?3,
			phase = NULL, phase_detail = NULL, timings = NULL, container_id = CASE ?3 WHEN 1 THEN container_id END, guest_id = NULL, journal = 0,
			harness_session_id = NULL, primed = 0, progress_token = NULL, failure_reason = NULL,
			env_names = coalesce(?6, env_names), env_hosts = coalesce(?7, env_hosts),
			creating_since = ?4, deadline_at = ?5, last_seen_at = ?4, stopped_at = NULL
			WHERE id = ?1 AND status IN (SELECT value FROM json_each(?2)) AND (?3 = 0 OR revivable = 1)`,
			id, jsonList(c.From), c.Lost, now, millis(c.Deadline), listOrNull(c.EnvNames), mapOrNull(c.EnvHosts))
		if errors.Is(err, ErrStale) {
			return t.staleOrGone(ctx, id)
		} else if err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE turns SET status = 'interrupted', error = 'the sandbox was replaced while the agent was working', completed_at = ?2
			WHERE session_id = ?1 AND status = 'running'`, id, now)
		if err != nil {
			return err
		}
		claimed, err = t.session(ctx, id)
		return err
	})
	return claimed, err
}

// staleOrGone says why a step of a session came to nothing.
func (t tx) staleOrGone(ctx context.Context, id string) error {
	var one int
	if err := t.row(ctx, `SELECT 1 FROM sessions WHERE id = ?`, id).Scan(&one); err != nil {
		return err
	}
	return ErrStale
}

// EndSession ends a session at its user's wish, with its open turns, and returns it as
// it is then. A session that is dead already stays as it is, but is no longer revivable;
// an earlier failure reason stays. The error is ErrNotFound when there is no such session.
func (s *Store) EndSession(ctx context.Context, id string) (Session, error) {
	var out Session
	err := s.tx(ctx, func(t tx) error {
		now := s.nowMillis()
		_, err := t.exec(ctx, `UPDATE sessions
			SET status = 'dead', stopped_at = CASE status WHEN 'dead' THEN stopped_at ELSE ?2 END, revivable = 0, deadline_at = NULL
			WHERE id = ?1 AND (status <> 'dead' OR revivable = 1)`, id, now)
		if err != nil {
			return err
		}
		if err := t.endTurns(ctx, id, "the session was stopped", now); err != nil {
			return err
		}
		out, err = t.session(ctx, id)
		return err
	})
	return out, err
}

// NoteFailure records on a ready session something that went wrong without ending it.
func (s *Store) NoteFailure(ctx context.Context, id, reason string) error {
	return s.step(ctx, `UPDATE sessions SET failure_reason = ?2 WHERE id = ?1 AND status = 'ready'`, id, reason)
}

// Touch notes activity on a ready session.
func (s *Store) Touch(ctx context.Context, id string) error {
	return s.step(ctx, `UPDATE sessions SET last_seen_at = ?2 WHERE id = ?1 AND status = 'ready'`, id, s.nowMillis())
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
