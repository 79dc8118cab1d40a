package db_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"lap/db"
)

// events makes a frame of each text.
func events(texts ...string) []db.NewEvent {
	list := make([]db.NewEvent, len(texts))
	for i, text := range texts {
		list[i] = db.NewEvent{Type: "test", Body: json.RawMessage(fmt.Sprintf(`{"type":"test","properties":{"text":%q}}`, text))}
	}
	return list
}

func appendTo(tb testing.TB, s *db.Store, session db.Session, list ...db.NewEvent) int64 {
	tb.Helper()
	last, err := s.Append(tb.Context(), db.Batch{SessionID: session.ID, Generation: session.Generation, Events: list})
	if err != nil {
		tb.Fatal(err)
	}
	return last
}

func allEvents(tb testing.TB, s *db.Store, id string) []db.Event {
	tb.Helper()
	list, err := s.Events(tb.Context(), id, 0, math.MaxInt)
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

func TestAppendAndRead(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	session, other := newReadySession(t, s, agent.ID), newReadySession(t, s, agent.ID)
	all := events("a", "b", "c", "d", "e")
	for i, want := range []int64{2, 5} {
		if got := appendTo(t, s, session, [][]db.NewEvent{all[:2], all[2:]}[i]...); got != want {
			t.Errorf("last = %d, want %d", got, want)
		}
	}
	appendTo(t, s, other, events("x")...)
	if got := appendTo(t, s, session); got != 5 {
		t.Errorf("last of an empty batch = %d, want 5", got)
	}
	for _, tt := range []struct {
		after       int64
		limit       int
		first, last int
	}{{0, 10, 1, 5}, {0, 2, 1, 2}, {2, 2, 3, 4}, {4, 9, 5, 5}, {5, 9, 1, 0}, {0, 0, 1, 0}, {0, -1, 1, 0}, {-7, 1, 1, 1}} {
		got, err := s.Events(t.Context(), session.ID, tt.after, tt.limit)
		if err != nil {
			t.Fatal(err)
		}
		var want []db.Event
		for n := tt.first; n <= tt.last; n++ {
			want = append(want, db.Event{Seq: int64(n), Type: "test", Body: all[n-1].Body})
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(db.Event{}, "At")); diff != "" {
			t.Errorf("after %d, at most %d: %s", tt.after, tt.limit, diff)
		}
	}
}

func TestAJournalIsStoredOnce(t *testing.T) {
	s := openStore(t, config(t))
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	for _, tt := range []struct {
		name           string
		gen            int64
		after, journal int64
		want           error
		stored         int64 // journal entry
		events         int
	}{
		{"first", 1, 0, 7, nil, 7, 1},
		{"again", 1, 0, 7, db.ErrOverlap, 7, 1},
		{"in part", 1, 3, 9, db.ErrOverlap, 7, 1},
		{"with a gap", 1, 8, 9, db.ErrOverlap, 7, 1},
		{"next", 1, 7, 8, nil, 8, 2},
		{"of nothing but events", 1, 8, 8, nil, 8, 3},
		{"another generation", 2, 8, 9, db.ErrStale, 8, 3},
	} {
		_, err := s.Append(t.Context(), db.Batch{SessionID: session.ID, Generation: tt.gen, After: tt.after, Journal: tt.journal, Events: events("x")})
		got := readSession(t, s, session.ID)
		if !errors.Is(err, tt.want) || got.Journal != tt.stored {
			t.Errorf("%s: err = %v, want %v; journal = %d, want %d", tt.name, err, tt.want, got.Journal, tt.stored)
		}
		checkSeqs(t, allEvents(t, s, session.ID), tt.events)
	}
	if err := s.MarkDead(t.Context(), session.ID, 1, "r", true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), db.Batch{SessionID: session.ID, Generation: 1, After: 8, Journal: 9}); !errors.Is(err, db.ErrStale) {
		t.Errorf("of a dead session: err = %v, want ErrStale", err)
	}
	revived := claim(t, s, session.ID, lostClaim)
	markReady(t, s, revived)
	if _, err := s.Append(t.Context(), db.Batch{SessionID: session.ID, Generation: 2, Journal: 3}); err != nil {
		t.Errorf("the journal of the next sandbox begins anew: %v", err)
	}
}

// TestATurnThatWasGivenUpStillPrimes: its harness has taken in what came before, though
// its outcome does not count any more.
func TestATurnThatWasGivenUpStillPrimes(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	for name, again := range map[string]bool{"by the same harness session": false, "by one that is no more": true} {
		session := newReadySession(t, s, agent.ID)
		turn := runTurn(t, s, session)
		if again {
			session = claim(t, s, session.ID, readyClaim)
			if err := s.MarkReady(t.Context(), session.ID, 2, db.Readiness{HarnessSessionID: "other"}); err != nil {
				t.Fatal(err)
			}
		} else if err := s.EndTurn(t.Context(), session.ID, turn.Seq, db.TurnFailed, "aborted"); err != nil {
			t.Fatal(err)
		}
		before := wholeSession(t, s, session.ID)
		before.Session.Primed = !again
		for _, primed := range []bool{true, false} { // what is known stays
			_, err := s.Append(t.Context(), db.Batch{
				SessionID: session.ID, Generation: session.Generation,
				Ends: []db.TurnEnd{{Seq: turn.Seq, Status: db.TurnComplete, Reply: json.RawMessage(`{}`), Primed: primed}},
			})
			if diff := cmp.Diff(before, wholeSession(t, s, session.ID)); err != nil || diff != "" {
				t.Errorf("%s: %s %v", name, diff, err)
			}
		}
	}
}

func TestAppendEndsTurns(t *testing.T) {
	const response = `{"info":{"id":"m"},"parts":[]}`
	tests := []struct {
		name   string
		end    db.TurnEnd
		want   db.Turn
		primed bool
		reply  string // response of the session after
	}{
		{"reply", db.TurnEnd{Status: db.TurnComplete, Reply: json.RawMessage(response)}, db.Turn{Status: db.TurnComplete, Reply: json.RawMessage(response)}, true, response},
		{"complete without a reply", db.TurnEnd{Status: db.TurnComplete}, db.Turn{Status: db.TurnComplete}, true, `{"before":1}`},
		{"refused", db.TurnEnd{Status: db.TurnFailed, Error: "no"}, db.Turn{Status: db.TurnFailed, Error: new("no")}, false, `{"before":1}`},
		{"failed on the way", db.TurnEnd{Status: db.TurnFailed, Error: "no", Primed: true, Reply: json.RawMessage(`{}`)}, db.Turn{Status: db.TurnFailed, Error: new("no"), Reply: json.RawMessage(`{}`)}, true, `{"before":1}`},
	}
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			session := newReadySession(t, s, agent.ID)
			reply(t, s, session, `{"before":1}`)
			claimed := claim(t, s, session.ID, readyClaim)
			markReady(t, s, claimed)
			if err := s.NoteFailure(t.Context(), session.ID, "noted"); err != nil {
				t.Fatal(err)
			}
			turn := runTurn(t, s, claimed)
			tt.end.Seq = turn.Seq
			batch := db.Batch{
				SessionID: session.ID, Generation: 2, Events: events("x"), Messages: []db.Message{{ID: "m", Body: json.RawMessage(`{}`)}},
				Ends: []db.TurnEnd{{Seq: 0, Status: db.TurnFailed, Error: "over long ago"}, {Seq: 99, Status: db.TurnFailed}, tt.end},
			}
			if _, err := s.Append(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			got, err := s.Turn(t.Context(), session.ID, turn.Seq)
			ignore := cmpopts.IgnoreFields(db.Turn{}, "SessionID", "Seq", "Parts", "HarnessSessionID", "FirstEvent", "CreatedAt", "DeadlineAt", "SentAt", "CompletedAt")
			if diff := cmp.Diff(tt.want, got, ignore); err != nil || diff != "" || got.CompletedAt == nil {
				t.Error(diff, err)
			}
			after := readSession(t, s, session.ID)
			if string(after.Response) != tt.reply || after.Primed != tt.primed || (after.FailureReason == nil) != (tt.end.Status == db.TurnComplete) {
				t.Errorf("session = %+v, response %s", after, after.Response)
			}
			if first, err := s.Turn(t.Context(), session.ID, 0); err != nil || first.Status != db.TurnComplete {
				t.Errorf("the turn before = %+v, %v", first, err)
			}
		})
	}
}

func TestBatchIsStoredWholeOrNotAtAll(t *testing.T) {
	s := openStore(t, config(t))
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	turn := runTurn(t, s, session)
	appendTo(t, s, session, events("a")...)
	before := wholeSession(t, s, session.ID)
	_, err := s.Append(t.Context(), db.Batch{
		SessionID: session.ID, Generation: 1, Journal: 9, Events: events("b", "c"),
		Messages: []db.Message{{ID: "m", Body: json.RawMessage(`{}`)}}, Removed: []string{"x"},
		Ends: []db.TurnEnd{{Seq: turn.Seq, Status: "no such status"}}, // the last thing that is written
	})
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(before, wholeSession(t, s, session.ID)); diff != "" {
		t.Error(diff)
	}
	if thread, err := s.Messages(t.Context(), session.ID); err != nil || len(thread) != 0 {
		t.Errorf("thread = %s, %v", thread, err)
	}
}

func TestThreadFollowsBatches(t *testing.T) {
	s := openStore(t, config(t))
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	message := func(id, text string) db.Message {
		return db.Message{ID: id, Body: json.RawMessage(fmt.Sprintf(`{"id":%q,"text":%q}`, id, text))}
	}
	for _, step := range []struct {
		name    string
		set     []db.Message
		removed []string
		want    string
	}{
		{"two", []db.Message{message("z", "1"), message("a", "1")}, nil, `z1 a1`},
		{"changed in place", []db.Message{message("z", "2"), message("m", "1")}, nil, `z2 a1 m1`},
		{"removed", nil, []string{"a", "unknown"}, `z2 m1`},
		{"removed and set again", []db.Message{message("z", "3")}, []string{"z"}, `m1 z3`},
		{"nothing", nil, nil, `m1 z3`},
	} {
		_, err := s.Append(t.Context(), db.Batch{SessionID: session.ID, Generation: 1, Messages: step.set, Removed: step.removed})
		if err != nil {
			t.Fatal(err)
		}
		thread, err := s.Messages(t.Context(), session.ID)
		var got []string
		for _, stored := range thread {
			var m struct{ ID, Text string }
			if err := json.Unmarshal(stored.Body, &m); err != nil {
				t.Fatal(err)
			}
			one, err := s.Message(t.Context(), session.ID, m.ID)
			if err != nil || string(one) != string(stored.Body) || stored.ID != m.ID {
				t.Errorf("%s: message %s = %s, %v", step.name, stored.ID, one, err)
			}
			got = append(got, m.ID+m.Text)
		}
		if err != nil || strings.Join(got, " ") != step.want {
			t.Errorf("%s: thread = %s, %v, want %s", step.name, got, err, step.want)
		}
	}
}

func TestThreadIsSavedWhenNobodyAppends(t *testing.T) {
	s := openStore(t, config(t))
	session := newReadySession(t, s, newAgent(t, s, db.Agent{}).ID)
	list := []db.Message{{ID: "a", Body: json.RawMessage(`{}`)}, {ID: "b", Body: json.RawMessage(`{}`)}}
	save := func(id string, want error, messages ...db.Message) {
		t.Helper()
		if err := s.SaveThread(t.Context(), id, messages, []string{"a"}); !errors.Is(err, want) {
			t.Errorf("err = %v, want %v", err, want)
		}
		thread, err := s.Messages(t.Context(), id)
		if diff := cmp.Diff(messages, thread, cmpopts.EquateEmpty()); err != nil || want == nil && diff != "" || want != nil && len(thread) != 0 {
			t.Error(diff, err)
		}
	}
	save(session.ID, db.ErrStale, list...)
	save("nobody", db.ErrStale, list...)
	if err := s.MarkDead(t.Context(), session.ID, 1, "r", true); err != nil {
		t.Fatal(err)
	}
	save(session.ID, nil, list...)
	save(session.ID, nil, list[1])
}

func TestLogsHaveNoGaps(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	sessions := make([]db.Session, 10)
	for i := range sessions {
		sessions[i] = newReadySession(t, s, agent.ID)
	}
	const writers, batches = 4, 10
	var wg sync.WaitGroup
	for _, session := range sessions {
		var mu sync.Mutex
		taken := map[int64]bool{}
		for range writers {
			wg.Go(func() {
				for n := range batches {
					size := n%3 + 1
					last, err := s.Append(t.Context(), db.Batch{SessionID: session.ID, Generation: 1, Events: events("a", "b", "c")[:size]})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for seq := last - int64(size) + 1; seq <= last; seq++ {
						if taken[seq] {
							t.Errorf("%d was given twice", seq)
						}
						taken[seq] = true
					}
					mu.Unlock()
					if _, err := s.Append(t.Context(), db.Batch{SessionID: session.ID, Generation: 9, Events: events("x")}); !errors.Is(err, db.ErrStale) {
						t.Errorf("err = %v, want ErrStale", err) // fails amid the others
					}
				}
			})
		}
	}
	wg.Wait()
	for _, session := range sessions {
		checkSeqs(t, allEvents(t, s, session.ID), writers*19)
		if got := readSession(t, s, session.ID).LastEvent; got != writers*19 {
			t.Errorf("last event = %d, want %d", got, writers*19)
		}
	}
}

// checkSeqs checks that a log has the numbers from 1 to last.
func checkSeqs(tb testing.TB, log []db.Event, last int) {
	tb.Helper()
	if len(log) != last {
		tb.Errorf("%d events, want %d", len(log), last)
	}
	for i, e := range log {
		if e.Seq != int64(i+1) {
			tb.Fatalf("event %d has number %d", i+1, e.Seq)
		}
	}
}
