package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"

	"lap/db"
)

// newToken is a progress token, 32 random bytes in hex.
func newToken() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// tokenHash is what is stored of a progress token.
func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// IsProgressToken reports whether token is the one of the session's sandbox.
func IsProgressToken(s db.Session, token string) bool {
	return s.ProgressToken != nil && subtle.ConstantTimeCompare([]byte(tokenHash(token)), []byte(*s.ProgressToken)) == 1
}

// Phase notes a phase that a session's sandbox reports with its progress token. ok is
// false when the session is not creating. The error is ErrToken, also for a session that
// does not exist.
func (e *Engine) Phase(ctx context.Context, sessionID, token, phase, detail string) (ok bool, err error) {
	s, err := e.cfg.Store.SessionState(ctx, sessionID)
	if errors.Is(err, db.ErrNotFound) {
		return false, ErrToken
	} else if err != nil {
		return false, err
	}
	if !IsProgressToken(s, token) {
		return false, ErrToken
	}
	err = e.cfg.Store.SetPhase(ctx, s.ID, s.Generation, phase, detail, e.cfg.Clock.Now().Add(e.cfg.StartTimeout))
	if errors.Is(err, db.ErrStale) {
		return false, nil
	}
	return err == nil, err
}
