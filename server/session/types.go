package session

import (
	"encoding/json"
	"errors"
)

// What a caller of the engine can tell apart. A session that does not exist is
// db.ErrNotFound.
var (
	// ErrNotReady says that a session takes no messages in its present state.
	ErrNotReady = errors.New("the session is not ready")
	// ErrTerminal says that a session is a terminal and takes no messages.
	ErrTerminal = errors.New("the session is a terminal")
	// ErrHarness says that the harness could not be reached, or refused the turn.
	ErrHarness = errors.New("harness request failed")
	// ErrStopping says that lap is shutting down; the turn goes on in its sandbox.
	ErrStopping = errors.New("lap is shutting down")
)

// NewSession says what session to create.
type NewSession struct {
	Title        *string
	InitialParts []json.RawMessage // the first user turn, sent when the session is ready; empty: none
	Env          map[string]string // per-session variables; they win over the agent's and are never stored
	EnvPlain     []string          // names in Env that are no secret
	SkillIDs     []string          // extra skills, which exist
}
