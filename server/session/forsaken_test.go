package session_test

import (
	"encoding/json"
	"testing"
	"time"

	"lap/db"
	"lap/server/session"
)

// What follows is in the store and nobody carries it out, as after a commit that was
// reported as failed although it came to pass.

func TestForsakenTurnIsTakenUp(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	_, _, err := w.store.AddTurn(t.Context(), s.ID, db.NewTurn{
		Parts: json.RawMessage(`[{"type":"text","text":"forsaken"}]`), Deadline: time.Now().Add(time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.reconcile(t)
	w.awaitTurns(t, s.ID, "complete forsaken")
}

func TestForsakenSessionIsTakenUp(t *testing.T) {
	w := newWorld(t, nil)
	made, err := w.store.CreateSession(t.Context(), db.NewSession{AgentID: w.agent.ID, Deadline: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	w.query(t, `UPDATE sessions SET creating_since = creating_since - 10000 RETURNING id`)
	w.reconcile(t)
	w.await(t, made.Session.ID, db.StatusReady)
}

func TestForsakenWarmSandboxIsNotWaitedFor(t *testing.T) {
	w := pooled(t, nil)
	s := w.ready(t)
	w.awaitWarm(t, w.agent.ID)
	key := w.query(t, `SELECT warm_key FROM sandboxes WHERE state = 'warm'`)[0]
	row := db.Sandbox{Name: "lap-forsaken-0", SessionID: "forsaken", AgentID: s.AgentID, WarmKey: &key}
	if err := w.store.PlanSandbox(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	w.query(t, `UPDATE sandboxes SET created_at = created_at - 10000 WHERE state = 'making' RETURNING name`) // it comes first
	session.Warm(w.Engine)
	w.awaitWarm(t, w.agent.ID) // and nothing is being made
}
