package db

import (
	"context"
	"encoding/json"
	"time"
)

// KeptInterceptions is how many interceptions are kept of a session. Of more than that,
// those go first that are no evidence: requests that were passed on as they were. Then the
// oldest go. The newest stays in any case.
const KeptInterceptions = 100

// An Interception is one HTTP request of a sandbox that was looked at, or a connection that
// was refused or passed on unopened.
type Interception struct {
	SessionID string               `json:"-"`
	Seq       int64                `json:"-"` // in the session, from 1; set by the store
	Skipped   int64                `json:"-"` // how many just before it were lost; they have had numbers
	At        time.Time            `json:"-"`
	Method    string               `json:"method"`
	Host      string               `json:"host"`
	Path      string               `json:"path"`             // without query
	Status    int                  `json:"status,omitempty"` // of the answer; 0: none
	Blocked   bool                 `json:"blocked,omitempty"`
	Note      string               `json:"note,omitempty"` // why it was blocked, or what else is to be known of it
	Swapped   []SwappedCredential  `json:"swapped,omitempty"`
	Declined  []DeclinedCredential `json:"declined,omitempty"`
}

// A SwappedCredential was put in the place of its stub.
type SwappedCredential struct {
	Stub string `json:"stub"`
	Name string `json:"credential"`
	Tail string `json:"real_tail,omitempty"` // the last two characters of a value of 16 or more
}

// A DeclinedCredential was not, for a reason.
type DeclinedCredential struct {
	Name   string `json:"credential"`
	Reason string `json:"reason"`
}

var interceptionRing = newRing(`interceptions`, `at, body`, `?, ?`,
	`coalesce(body ->> '$.swapped', body ->> '$.declined', body ->> '$.blocked') IS NOT NULL, seq`, KeptInterceptions)

// AppendInterceptions stores interceptions, in order, and forgets what is too much of
// their sessions. Those of sessions that do not exist are left out.
func (s *Store) AppendInterceptions(ctx context.Context, list []Interception) error {
	return appendAll(ctx, s, interceptionRing, list, func(i Interception) (entry, error) {
		body, err := json.Marshal(i)
		return entry{i.Skipped, []any{millis(i.At), string(body)}}, err
	})
}

// TrimInterceptions returns n of the interceptions of one session, which change: those that
// a store would keep.
func TrimInterceptions(list []Interception, n int) []Interception { return trim(list, n) }

func (i *Interception) session() string { return i.SessionID }
func (i *Interception) skipped() *int64 { return &i.Skipped }

// evidence reports whether credentials had to do with it, or it was refused.
func (i *Interception) evidence() bool { return i.Blocked || len(i.Swapped) > 0 || len(i.Declined) > 0 }

// Interceptions is Egress for interceptions.
func (s *Store) Interceptions(ctx context.Context, sessionID string, limit, offset int) ([]Interception, int, error) {
	return ringPage(ctx, s, interceptionRing, sessionID, limit, offset, func(r scanner) (Interception, error) {
		one := Interception{SessionID: sessionID}
		var (
			at   int64
			body string
		)
		if err := r.Scan(&one.Seq, &at, &body); err != nil {
			return one, err
		}
		one.At = moment(at)
		return one, json.Unmarshal([]byte(body), &one)
	})
}

// InterceptionsDropped is EgressDropped for interceptions.
func (s *Store) InterceptionsDropped(ctx context.Context, sessionID string) (int64, error) {
	return interceptionRing.dropped(ctx, s, sessionID)
}
