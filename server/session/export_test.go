package session

import (
	"encoding/json"

	"lap/db"
)

// Waiting is how many turns of a session wait for the one that runs.
func Waiting(e *Engine, id string) int {
	l := e.find(id)
	if l == nil {
		return 0
	}
	l.turns.mu.Lock()
	defer l.turns.mu.Unlock()
	return len(l.turns.waiting)
}

// Reconcile compares rows and sandboxes once.
var Reconcile = (*Engine).reconcile

// ParseReply is what is made of a harness's answer to a turn: the whole and its parts.
func ParseReply(answer []byte) (whole, parts json.RawMessage, err error) {
	r, err := parseReply(answer)
	return r.whole, r.parts, err
}

// MessageRow is what is stored of a message of a harness's thread.
func MessageRow(raw []byte) (db.Message, error) { return messageRow(raw) }
