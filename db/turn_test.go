package db_test

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/db"
)

func TestTurnRoundTrip(t *testing.T) {
	s := openStore(t, config(t))
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	in := db.NewTurn{Parts: json.RawMessage(`[{"type":"text"}]`), Request: json.RawMessage(`{"agent":"plan"}`), Lossy: true, Preview: "p", Deadline: later}
	got, again, err := s.AddTurn(t.Context(), session.ID, in)
	want := db.Turn{
		SessionID: session.ID, Status: db.TurnQueued, Parts: in.Parts, Request: in.Request, Lossy: true,
		CreatedAt: got.CreatedAt, DeadlineAt: later,
	}
	if diff := cmp.Diff(want, got); err != nil || again || diff != "" {
		t.Fatal(diff, again, err)
	}
	read, err := s.Turn(t.Context(), session.ID, 0)
	if diff := cmp.Diff(want, read); err != nil || diff != "" {
		t.Error(diff, err)
	}
	if after := readSession(t, s, session.ID); *after.TitlePreview != "p" || !after.LastSeenAt.After(*session.LastSeenAt) {
		t.Errorf("session = %+v", after)
	}
	if _, err := s.Turn(t.Context(), session.ID, 1); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("the next one: err = %v, want ErrNotFound", err)
	}
	if _, _, err := s.AddTurn(t.Context(), "nobody", in); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("of nobody: err = %v, want ErrNotFound", err)
	}
}

func TestTurnsAreNumberedInOrder(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	session, other := newReadySession(t, s, agent.ID), newReadySession(t, s, agent.ID)
	var mu sync.Mutex
	var seqs []int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			turn, _, err := s.AddTurn(t.Context(), session.ID, db.NewTurn{Parts: json.RawMessage(`[]`), Preview: "first", Deadline: later})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seqs = append(seqs, turn.Seq)
		})
	}
	wg.Wait()
	slices.Sort(seqs)
	for i, seq := range seqs {
		if seq != int64(i) {
			t.Fatalf("seqs = %v", seqs)
		}
	}
	if turn := addTurn(t, s, other.ID); turn.Seq != 0 {
		t.Errorf("the first of another session = %d", turn.Seq)
	}
	all, err := s.Turns(t.Context(), session.ID)
	if err != nil || len(all) != 50 {
		t.Fatalf("%d turns, %v", len(all), err)
	}
	for i, turn := range all {
		if turn.Seq != int64(i) {
			t.Errorf("turn %d has number %d", i, turn.Seq)
		}
	}
}

func TestSendingTurns(t *testing.T) {
	s, ctx := openStore(t, config(t)), t.Context()
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	id := session.ID
	appendTo(t, s, session, events("a", "b")...)
	addTurn(t, s, id)
	addTurn(t, s, id)
	send := func(name string, gen, seq int64, want error) db.Sending {
		t.Helper()
		out, err := s.SendTurn(ctx, id, gen, seq)
		if !errors.Is(err, want) {
			t.Errorf("%s: err = %v, want %v", name, err, want)
		}
		return out
	}
	next := func(want int64, status string) db.Turn {
		t.Helper()
		turn, err := s.NextTurn(ctx, id)
		if err != nil || turn.Seq != want || turn.Status != status {
			t.Errorf("next turn = %+v, %v, want %d, %s", turn, err, want, status)
		}
		return turn
	}
	next(0, db.TurnQueued)
	send("the second first", 1, 1, db.ErrStale)
	send("another generation", 2, 0, db.ErrStale)
	if got := send("the first", 1, 0, nil); got != (db.Sending{Primed: false, FirstEvent: 2}) {
		t.Errorf("sending = %+v", got)
	}
	if turn := next(0, db.TurnRunning); *turn.FirstEvent != 2 || *turn.HarnessSessionID != "harness" || turn.SentAt == nil {
		t.Errorf("turn = %+v", turn)
	}
	send("the first again", 1, 0, db.ErrStale)
	send("the second beside it", 1, 1, db.ErrStale)
	if err := s.UnsendTurn(ctx, id, 0); err != nil {
		t.Fatal(err)
	}
	if turn := next(0, db.TurnQueued); turn.FirstEvent != nil || turn.HarnessSessionID != nil || turn.SentAt != nil {
		t.Errorf("turn = %+v", turn)
	}
	if err := s.UnsendTurn(ctx, id, 0); !errors.Is(err, db.ErrStale) {
		t.Errorf("unsent again: err = %v, want ErrStale", err)
	}
	send("the first once more", 1, 0, nil)
	if err := s.EndTurn(ctx, id, 0, db.TurnFailed, "aborted"); err != nil {
		t.Fatal(err)
	}
	if err := s.EndTurn(ctx, id, 0, db.TurnFailed, "aborted twice"); !errors.Is(err, db.ErrStale) {
		t.Errorf("ended again: err = %v, want ErrStale", err)
	}
	if turn, err := s.Turn(ctx, id, 0); err != nil || turn.Status != db.TurnFailed || *turn.Error != "aborted" || turn.CompletedAt == nil || turn.Open() {
		t.Errorf("turn = %+v, %v", turn, err)
	}
	next(1, db.TurnQueued)
	busy, err := s.BusySessions(ctx)
	if diff := cmp.Diff([]string{id}, busy); err != nil || diff != "" {
		t.Error(diff, err)
	}
	if err := s.EndTurn(ctx, id, 1, db.TurnInterrupted, "never sent"); err != nil {
		t.Fatal(err)
	}
	if busy, err := s.BusySessions(ctx); err != nil || len(busy) != 0 {
		t.Errorf("busy = %v, %v", busy, err)
	}
	if _, err := s.NextTurn(ctx, id); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("no more: err = %v, want ErrNotFound", err)
	}
}

func TestTurnsOfACreatingSessionWait(t *testing.T) {
	s := openStore(t, config(t))
	first := db.NewTurn{Parts: json.RawMessage(`[]`), Preview: "first", Deadline: later}
	session := createSession(t, s, db.NewSession{AgentID: newAgent(t, s, db.Agent{}).ID, First: &first}).Session
	if _, _, err := s.AddTurn(t.Context(), session.ID, first); !errors.Is(err, db.ErrStale) {
		t.Errorf("in its first bring-up: err = %v, want ErrStale", err)
	}
	if _, err := s.SendTurn(t.Context(), session.ID, 1, 0); !errors.Is(err, db.ErrStale) {
		t.Errorf("sent: err = %v, want ErrStale", err)
	}
	markReady(t, s, session)
	if _, err := s.SendTurn(t.Context(), session.ID, 1, 0); err != nil {
		t.Error(err)
	}
}

func TestQueueOfTurnsIsBounded(t *testing.T) {
	s := openStore(t, config(t))
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	for range db.MaxOpenTurns {
		addTurn(t, s, session.ID)
	}
	if _, _, err := s.AddTurn(t.Context(), session.ID, db.NewTurn{Parts: json.RawMessage(`[]`)}); !errors.Is(err, db.ErrQueueFull) {
		t.Errorf("err = %v, want ErrQueueFull", err)
	}
	if err := s.CancelTurn(t.Context(), session.ID, 3, "reason"); err != nil {
		t.Fatal(err)
	}
	addTurn(t, s, session.ID)
}

func TestOnlyTurnsThatWaitAreCancelled(t *testing.T) {
	s, ctx := openStore(t, config(t)), t.Context()
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	running, waiting := runTurn(t, s, session), addTurn(t, s, session.ID)
	before, err := s.Turn(ctx, session.ID, running.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CancelTurn(ctx, session.ID, running.Seq, "too late"); !errors.Is(err, db.ErrStale) {
		t.Errorf("one that runs: err = %v, want ErrStale", err)
	}
	after, err := s.Turn(ctx, session.ID, running.Seq)
	if diff := cmp.Diff(before, after); err != nil || diff != "" {
		t.Error(diff, err)
	}
	if err := s.CancelTurn(ctx, session.ID, waiting.Seq, "not wanted"); err != nil {
		t.Fatal(err)
	}
	if err := s.CancelTurn(ctx, session.ID, waiting.Seq, "twice"); !errors.Is(err, db.ErrStale) {
		t.Errorf("twice: err = %v, want ErrStale", err)
	}
	got, err := s.Turn(ctx, session.ID, waiting.Seq)
	if err != nil || got.Status != db.TurnFailed || *got.Error != "not wanted" || got.CompletedAt == nil || got.SentAt != nil {
		t.Errorf("turn = %+v, %v", got, err)
	}
}

func TestLastSentTurn(t *testing.T) {
	s, ctx := openStore(t, config(t)), t.Context()
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	none := func(name string) {
		t.Helper()
		if _, err := s.LastSentTurn(ctx, session.ID); !errors.Is(err, db.ErrNotFound) {
			t.Errorf("%s: err = %v, want ErrNotFound", name, err)
		}
	}
	none("no turns")
	first := runTurn(t, s, session)
	if err := s.UnsendTurn(ctx, session.ID, first.Seq); err != nil {
		t.Fatal(err)
	}
	none("sent, and taken back")
	if _, err := s.SendTurn(ctx, session.ID, 1, first.Seq); err != nil {
		t.Fatal(err)
	}
	addTurn(t, s, session.ID)
	for _, step := range []func() error{
		func() error { return nil },
		func() error { return s.EndTurn(ctx, session.ID, 0, db.TurnFailed, "over, and still the last one") },
		func() error { return s.CancelTurn(ctx, session.ID, 1, "never sent") },
	} {
		err := step()
		got, rerr := s.LastSentTurn(ctx, session.ID)
		if err != nil || rerr != nil || got.Seq != first.Seq {
			t.Errorf("turn = %+v, %v, %v", got, err, rerr)
		}
	}
}
