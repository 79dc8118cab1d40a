package session

import (
	"encoding/json"
	"errors"

	"lap/db"
	"lap/sandbox"
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
	// ErrEnded says that a session's log is read to its end and no more will come, as the
	// session is over.
	ErrEnded = errors.New("the session is over")
	// ErrCreating says that a session is being brought up already.
	ErrCreating = errors.New("the session is creating")
	// ErrRestart says that a session could not be brought up again.
	ErrRestart = errors.New("session restart failed")
)

// NewSession says what session to create.
type NewSession struct {
	Title        *string
	InitialParts []json.RawMessage   // the first user turn, sent when the session is ready; empty: none
	Env          map[string]string   // per-session variables; they win over the agent's and are never stored
	EnvPlain     []string            // names in Env that are no secret
	EnvHosts     map[string][]string // hosts that names in Env are bound to
	Budget       *db.Budget          // nil: none of its own
	SkillIDs     []string            // extra skills, which exist
	Once         *db.Once            // nil: the request has no idempotency key
}

// A Turn is one user message to a session.
type Turn struct {
	Parts   []json.RawMessage
	Request json.RawMessage // a JSON object: further members for the harness, such as its model; nil: none
	Once    *db.Once        // nil: the request has no idempotency key
}

// ErrToken says that a phase report came without the session's own token.
var ErrToken = errors.New("invalid harness progress token")

// A Diagnosis is what can be seen of a session's sandbox from outside. A part that could
// not be looked at has its error, for a person to read.
type Diagnosis struct {
	EngineVersion string
	EngineError   string
	Container     *sandbox.Detail // nil: none
	ContainerErr  string
	ImageRef      string
	Image         *sandbox.Image // nil: not on the engine
	ImageErr      string
	Frozen        bool           // paused by lap
	Connected     bool           // lap has a pipe to it
	Harness       *HarnessProbe  // nil: not asked
	Warm          map[string]int // sandboxes of the agent in the warm pool: provisioning, warm, claimed, dead
	PoolSize      int            // configured
	Notes         map[string]string
}

// A HarnessProbe is how a harness answered.
type HarnessProbe struct {
	Status int // 0: not at all
	Error  string
}
