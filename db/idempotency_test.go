package db_test

import (
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/db"
)

func once(key, hash string) *db.Once {
	return &db.Once{Scope: "scope", Key: key, Hash: hash, Answer: func(s db.Session) ([]byte, error) { return []byte(`"` + s.ID + `"`), nil }}
}

func TestOneSessionAKey(t *testing.T) {
	cfg := config(t)
	s, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	agent := newAgent(t, s, db.Agent{})
	in := db.NewSession{AgentID: agent.ID, Deadline: later, Once: once("k", "h"), First: &db.NewTurn{Parts: json.RawMessage(`[]`)}}
	var firsts atomic.Int64
	var id sync.Map
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			created, err := s.CreateSession(t.Context(), in)
			if err != nil {
				t.Error(err)
				return
			}
			if created.Again == nil {
				firsts.Add(1)
			} else if string(created.Again) != `"`+created.Session.ID+`"` {
				t.Errorf("answer = %s", created.Again)
			}
			id.Store(created.Session.ID, true)
		})
	}
	wg.Wait()
	ids := 0
	id.Range(func(any, any) bool { ids++; return true })
	if firsts.Load() != 1 || ids != 1 {
		t.Errorf("%d sessions, %d were told to be the first, want 1", ids, firsts.Load())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, cfg)
	if again, err := s.CreateSession(t.Context(), in); err != nil || again.Again == nil {
		t.Errorf("after the file was opened again: %+v, %v", again, err)
	}
	if _, total, err := s.Sessions(t.Context(), db.SessionQuery{Limit: 1}); err != nil || total != 1 {
		t.Errorf("%d sessions, %v, want 1", total, err)
	}
	in.Once = once("k", "other")
	if _, err := s.CreateSession(t.Context(), in); !errors.Is(err, db.ErrKeyReused) {
		t.Errorf("another request: err = %v, want ErrKeyReused", err)
	}
	in.Once = &db.Once{Scope: "another scope", Key: "k", Hash: "other", Answer: once("", "").Answer}
	if again, err := s.CreateSession(t.Context(), in); err != nil || again.Again != nil {
		t.Errorf("in another scope: %+v, %v", again, err)
	}
}

func TestAFailedRequestLeavesItsKey(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	refused := errors.New("refused")
	bad := once("k", "h")
	bad.Answer = func(db.Session) ([]byte, error) { return nil, refused }
	if _, err := s.CreateSession(t.Context(), db.NewSession{AgentID: agent.ID, Once: bad}); !errors.Is(err, refused) {
		t.Fatalf("err = %v, want refused", err)
	}
	if _, err := s.CreateSession(t.Context(), db.NewSession{AgentID: "nobody", Once: once("k", "h")}); !errors.Is(err, db.ErrNotFound) {
		t.Fatalf("err = %v, want ErrNotFound", err)
	}
	if _, total, err := s.Sessions(t.Context(), db.SessionQuery{Limit: 1}); err != nil || total != 0 {
		t.Errorf("%d sessions, %v, want none", total, err)
	}
	if created := createSession(t, s, db.NewSession{AgentID: agent.ID, Once: once("k", "h")}); created.Again != nil {
		t.Errorf("again = %s, want nil", created.Again)
	}
}

func TestOneTurnAKey(t *testing.T) {
	cfg := config(t)
	s, err := db.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	addTurn(t, s, session.ID)
	in := db.NewTurn{Parts: json.RawMessage(`[1]`), Deadline: later, Once: once("k", "h")}
	var firsts atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			turn, again, err := s.AddTurn(t.Context(), session.ID, in)
			if err != nil || turn.Seq != 1 {
				t.Errorf("turn = %+v, %v, want 1", turn, err)
			}
			if !again {
				firsts.Add(1)
			}
		})
	}
	wg.Wait()
	if n := firsts.Load(); n != 1 {
		t.Errorf("%d were told to be the first, want 1", n)
	}
	if _, err := s.EndSession(t.Context(), session.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, cfg)
	want, err := s.Turn(t.Context(), session.ID, 1)
	if err != nil || want.Status != db.TurnFailed {
		t.Fatal(want, err)
	}
	got, again, err := s.AddTurn(t.Context(), session.ID, in) // though it takes no turns any more
	if diff := cmp.Diff(want, got); err != nil || !again || diff != "" {
		t.Error(diff, again, err)
	}
	if turns, err := s.Turns(t.Context(), session.ID); err != nil || len(turns) != 2 {
		t.Errorf("%d turns, %v, want 2", len(turns), err)
	}
	in.Once = once("k", "other")
	if _, _, err := s.AddTurn(t.Context(), session.ID, in); !errors.Is(err, db.ErrKeyReused) {
		t.Errorf("another request: err = %v, want ErrKeyReused", err)
	}
	in.Once = once("k2", "h")
	if _, _, err := s.AddTurn(t.Context(), session.ID, in); !errors.Is(err, db.ErrStale) {
		t.Errorf("a new key: err = %v, want ErrStale", err)
	}
}
