package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
)

// ErrKeyReused says that an idempotency key came with another request before.
var ErrKeyReused = errors.New("the Idempotency-Key was used for another request")

// A Once is the idempotency key of a request: the same request with the same key has its
// effect once.
type Once struct {
	Scope  string // what the key is used on
	Key    string
	Hash   string                        // of the request
	Answer func(Session) ([]byte, error) // makes the answer that is kept; for sessions, since a turn tells itself
}

// An earlier is a request that came before with the same key.
type earlier struct {
	sessionID string
	turn      int64
	answer    json.RawMessage
}

// seen finds the request that used a key first, nil when there is none.
func (t tx) seen(ctx context.Context, o *Once) (*earlier, error) {
	if o == nil {
		return nil, nil
	}
	var e earlier
	var hash string
	var turn sql.NullInt64
	var answer sql.NullString
	err := t.row(ctx, `SELECT hash, session_id, turn_seq, answer FROM idempotency WHERE scope = ? AND key = ?`, o.Scope, o.Key).
		Scan(&hash, &e.sessionID, &turn, &answer)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case hash != o.Hash:
		return nil, ErrKeyReused
	}
	e.turn, e.answer = turn.Int64, nullJSON(answer)
	return &e, nil
}

// remember keeps a key with what came of its request.
func (t tx) remember(ctx context.Context, o *Once, sessionID string, turn *int64, answer json.RawMessage, now int64) error {
	if o == nil {
		return nil
	}
	_, err := t.exec(ctx, `INSERT INTO idempotency (scope, key, hash, session_id, turn_seq, answer, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		o.Scope, o.Key, o.Hash, sessionID, turn, textOrNull(answer), now)
	return err
}
