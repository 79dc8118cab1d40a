package db_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/db"
)

// egress are n connections of a session. Each has its place among them as its port.
func egress(sessionID string, n int) []db.Egress {
	list := make([]db.Egress, n)
	for i := range list {
		list[i] = db.Egress{SessionID: sessionID, Host: "x.com", Port: i}
	}
	return list
}

func appendEgress(t *testing.T, s *db.Store, list []db.Egress) {
	t.Helper()
	if err := s.AppendEgress(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

func TestEgressRoundTrip(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	session, other := newSession(t, s, agent.ID), newSession(t, s, agent.ID)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	list := []db.Egress{
		{
			SessionID: session.ID, At: at, Host: "API.x.com", Port: 443, Address: "1.2.3.4:443", Via: "proxy", Rule: "allow_out x.com",
			Opened: true, Sent: 1, Received: 1 << 40, Duration: 1234 * time.Millisecond,
		},
		{SessionID: "nobody", Host: "lost.com"},
		{SessionID: other.ID, Host: "other.com", At: at},
		{SessionID: session.ID, At: at, Host: "10.0.0.1", Via: "capture", Rule: "private address", Reason: "why", Refused: true},
	}
	appendEgress(t, s, list)
	appendEgress(t, s, nil)
	appendEgress(t, s, []db.Egress{{SessionID: session.ID, At: at.Add(time.Second), Host: "third.com"}})
	want := []db.Egress{list[0], list[3], {SessionID: session.ID, At: at.Add(time.Second), Host: "third.com"}}
	for i := range want {
		want[i].Seq = int64(i + 1)
	}
	for _, p := range []struct {
		limit, offset int
		want          []db.Egress
	}{{9, 0, want}, {2, 0, want[:2]}, {2, 1, want[1:]}, {9, 3, nil}} {
		got, total, err := s.Egress(t.Context(), session.ID, p.limit, p.offset)
		if diff := cmp.Diff(p.want, got); err != nil || total != 3 || diff != "" {
			t.Errorf("page %d, %d: total %d, %v: %s", p.limit, p.offset, total, err, diff)
		}
	}
	if got, total, err := s.Egress(t.Context(), other.ID, 9, 0); err != nil || total != 1 || got[0].Seq != 1 {
		t.Errorf("of another session: %+v, %d, %v", got, total, err)
	}
	if got, total, err := s.Egress(t.Context(), "nobody", 9, 0); err != nil || total != 0 || len(got) != 0 {
		t.Errorf("of nobody: %+v, %d, %v", got, total, err)
	}
}

// TestOldestAreForgotten appends more than is kept, at once and bit by bit.
func TestOldestAreForgotten(t *testing.T) {
	s := openStore(t, config(t))
	agent := newAgent(t, s, db.Agent{})
	busy, calm := newSession(t, s, agent.ID), newSession(t, s, agent.ID)
	appendEgress(t, s, egress(calm.ID, 1))
	check := func(dropped int64) {
		t.Helper()
		got, total, err := s.Egress(t.Context(), busy.ID, 1, 0)
		n, nerr := s.EgressDropped(t.Context(), busy.ID)
		if err != nil || nerr != nil || total != db.KeptEgress || got[0].Seq != dropped+1 || n != dropped {
			t.Errorf("first = %+v of %d, dropped %d, want %d; %v, %v", got, total, n, dropped, err, nerr)
		}
		got, _, err = s.Egress(t.Context(), busy.ID, 1, db.KeptEgress-1)
		if err != nil || len(got) != 1 || got[0].Seq != db.KeptEgress+dropped {
			t.Errorf("last = %+v, %v", got, err)
		}
	}
	appendEgress(t, s, egress(busy.ID, db.KeptEgress))
	check(0)
	appendEgress(t, s, egress(busy.ID, 1))
	check(1)
	appendEgress(t, s, egress(busy.ID, 2*db.KeptEgress+5))
	check(db.KeptEgress + db.KeptEgress + 6)
	if n, err := s.EgressDropped(t.Context(), calm.ID); err != nil || n != 0 {
		t.Errorf("another session has lost %d, %v", n, err)
	}
	for range 3 {
		if err := s.AppendInterceptions(t.Context(), interceptions(busy.ID, 40)); err != nil {
			t.Fatal(err)
		}
	}
	got, total, err := s.Interceptions(t.Context(), busy.ID, 1, 0)
	if err != nil || total != db.KeptInterceptions || got[0].Seq != 21 {
		t.Errorf("interceptions: first = %+v of %d, %v", got, total, err)
	}
	if _, err := s.EndSession(t.Context(), busy.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.EndSession(t.Context(), calm.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAgent(t.Context(), agent.ID); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"egress", "interceptions"} {
		if lines, err := s.Lines(t.Context(), `SELECT 'a row' FROM `+table); err != nil || len(lines) != 0 {
			t.Errorf("%s of a deleted agent: %d rows, %v", table, len(lines), err)
		}
	}
}

// TestLostEgressIsCounted stores connections before which others were lost.
func TestLostEgressIsCounted(t *testing.T) {
	s := openStore(t, config(t))
	session := newSession(t, s, newAgent(t, s, db.Agent{}).ID)
	list := egress(session.ID, 3)
	list[0].Skipped, list[2].Skipped = 4, 2
	appendEgress(t, s, list)
	appendEgress(t, s, egress(session.ID, 1))
	got, _, err := s.Egress(t.Context(), session.ID, 9, 0)
	if err != nil || len(got) != 4 || got[0].Seq != 5 || got[2].Seq != 9 || got[3].Seq != 10 {
		t.Errorf("%+v, %v", got, err)
	}
	if n, err := s.EgressDropped(t.Context(), session.ID); err != nil || n != 6 {
		t.Errorf("dropped %d, %v", n, err)
	}
	trimmed := db.TrimEgress(list, 1)
	if len(trimmed) != 1 || trimmed[0].Port != 2 || trimmed[0].Skipped != 8 {
		t.Errorf("trimmed: %+v", trimmed)
	}
}

// TestEgressOfManyAtOnce appends to one session from several goroutines.
func TestEgressOfManyAtOnce(t *testing.T) {
	s := openStore(t, config(t))
	session := newSession(t, s, newAgent(t, s, db.Agent{}).ID)
	done := make(chan error)
	for range 8 {
		go func() { done <- s.AppendEgress(t.Context(), egress(session.ID, 20)) }()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	list, total, err := s.Egress(t.Context(), session.ID, 200, 0)
	if err != nil || total != 160 {
		t.Fatal(total, err)
	}
	for i, e := range list {
		if e.Seq != int64(i+1) || e.Port != i%20 {
			t.Fatalf("row %d = %s", i, fmt.Sprint(e))
		}
	}
}
