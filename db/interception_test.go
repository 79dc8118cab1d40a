package db_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/db"
)

// interceptions is egress for interceptions, with their places as their statuses.
func interceptions(sessionID string, n int) []db.Interception {
	list := make([]db.Interception, n)
	for i := range list {
		list[i] = db.Interception{SessionID: sessionID, Method: "GET", Status: i}
	}
	return list
}

func TestInterceptionRoundTrip(t *testing.T) {
	s := openStore(t, config(t))
	session := newSession(t, s, newAgent(t, s, db.Agent{}).ID)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	want := []db.Interception{
		{
			SessionID: session.ID, At: at, Method: "POST", Host: "x.com", Path: "/a", Status: 201, Blocked: true, Note: "why",
			Swapped:  []db.SwappedCredential{{Stub: "stub_a", Name: "A", Tail: "99"}, {Stub: "stub_b", Name: "B"}},
			Declined: []db.DeclinedCredential{{Name: "C", Reason: "it is bound to y.com"}},
		},
		{SessionID: session.ID, At: at, Method: "CONNECT", Path: "/"},
	}
	if err := s.AppendInterceptions(t.Context(), append(interceptions("nobody", 1), want...)); err != nil {
		t.Fatal(err)
	}
	want[0].Seq, want[1].Seq = 1, 2
	got, total, err := s.Interceptions(t.Context(), session.ID, 9, 0)
	if diff := cmp.Diff(want, got); err != nil || total != 2 || diff != "" {
		t.Errorf("total %d, %v: %s", total, err, diff)
	}
	if got, total, err := s.Interceptions(t.Context(), session.ID, 1, 1); err != nil || total != 2 || len(got) != 1 || got[0].Seq != 2 {
		t.Errorf("second page: %+v, %d, %v", got, total, err)
	}
}

// TestEvidenceIsKept lets noise come after, between and before what must be kept.
func TestEvidenceIsKept(t *testing.T) {
	evidence := func(id string, n int) []db.Interception {
		list := interceptions(id, n)
		for i := range list {
			switch i % 3 {
			case 0:
				list[i].Blocked = true
			case 1:
				list[i].Swapped = []db.SwappedCredential{{Name: "A"}}
			default:
				list[i].Declined = []db.DeclinedCredential{{Name: "A"}}
			}
		}
		return list
	}
	tests := []struct {
		name            string
		batches         func(id string) [][]db.Interception
		evidence, noise int
		dropped         int64
	}{
		{"noise after", func(id string) [][]db.Interception {
			return [][]db.Interception{evidence(id, 10), interceptions(id, 150)}
		}, 10, 90, 60},
		{"noise bit by bit", func(id string) (list [][]db.Interception) {
			list = append(list, evidence(id, 90))
			for range 150 {
				list = append(list, interceptions(id, 1))
			}
			return list
		}, 90, 10, 140},
		{"noise in the same batch", func(id string) [][]db.Interception {
			return [][]db.Interception{append(interceptions(id, 200), append(evidence(id, 30), interceptions(id, 200)...)...)}
		}, 30, 70, 330},
		{"much evidence", func(id string) [][]db.Interception {
			return [][]db.Interception{interceptions(id, 50), evidence(id, 150)}
		}, 100, 0, 100},
		{"the newest stays", func(id string) [][]db.Interception {
			return [][]db.Interception{evidence(id, 100), interceptions(id, 1), interceptions(id, 1)}
		}, 99, 1, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, config(t))
			id := newSession(t, s, newAgent(t, s, db.Agent{}).ID).ID
			for _, batch := range tt.batches(id) {
				if err := s.AppendInterceptions(t.Context(), batch); err != nil {
					t.Fatal(err)
				}
			}
			got, total, err := s.Interceptions(t.Context(), id, 999, 0)
			dropped, derr := s.InterceptionsDropped(t.Context(), id)
			if err != nil || derr != nil || total != db.KeptInterceptions || dropped != tt.dropped {
				t.Errorf("total %d, dropped %d, want %d; %v, %v", total, dropped, tt.dropped, err, derr)
			}
			var found, noise int
			for _, one := range got {
				if one.Blocked || one.Swapped != nil || one.Declined != nil {
					found++
				} else {
					noise++
				}
			}
			if found != tt.evidence || noise != tt.noise {
				t.Errorf("%d of evidence and %d others, want %d and %d", found, noise, tt.evidence, tt.noise)
			}
		})
	}
}
