package db_test

import (
	"encoding/json"
	"errors"
	"testing"

	"lap/db"
)

func TestBeginTurn(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	parts := json.RawMessage(`[]`)
	id, other := newReadySession(t, s, agent.ID).ID, newReadySession(t, s, agent.ID).ID
	begin := func(wantSeq int64, wantFirst bool) {
		t.Helper()
		seq, first, err := s.BeginTurn(t.Context(), id, parts, "preview")
		if err != nil || seq != wantSeq || first != wantFirst {
			t.Errorf("turn %d, first = %t, %v, want turn %d, first = %t", seq, first, err, wantSeq, wantFirst)
		}
	}
	reply(t, s, other, `{}`) // of another session: does not count
	begin(0, true)
	begin(1, true)
	if err := s.FailTurn(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	begin(2, true)
	if err := s.CompleteTurn(t.Context(), id, 1, parts, parts); err != nil { // its reply is number 3
		t.Fatal(err)
	}
	begin(4, false)
	if got := readSession(t, s, id).TitlePreview; got == nil || *got != "preview" {
		t.Errorf("preview = %v", got)
	}
	if _, err := s.EndSession(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.BeginTurn(t.Context(), id, parts, ""); !errors.Is(err, db.ErrStale) {
		t.Errorf("after the end: err = %v, want ErrStale", err)
	}
}
