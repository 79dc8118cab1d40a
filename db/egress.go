package db

import (
	"context"
	"time"
)

// KeptEgress is how many of the newest connections are kept of a session.
const KeptEgress = 1000

// An Egress is one connection that a sandbox made, or was refused.
type Egress struct {
	SessionID string
	Seq       int64 // in the session, from 1; set by the store
	Skipped   int64 // how many just before it were lost; they have had numbers
	At        time.Time
	Host      string // as the sandbox asked for it
	Port      int
	Address   string // that was dialled; empty: none
	Via       string // proxy, socks, capture
	Rule      string // which decided
	Reason    string // why there was no connection; empty: there was one
	Refused   bool   // by a rule
	Opened    bool   // its HTTP was read
	Sent      int64  // bytes
	Received  int64  // bytes
	Duration  time.Duration
}

var egressRing = newRing(`egress`,
	`at, host, port, address, via, rule, reason, refused, opened, sent, received, duration_ms`,
	`?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?`, `seq`, KeptEgress)

// AppendEgress stores connections, in order, and forgets the oldest of their sessions.
// Those of sessions that do not exist are left out.
func (s *Store) AppendEgress(ctx context.Context, list []Egress) error {
	return appendAll(ctx, s, egressRing, list, func(e Egress) (entry, error) {
		return entry{e.Skipped, []any{
			millis(e.At), e.Host, e.Port, e.Address, e.Via, e.Rule, e.Reason, e.Refused, e.Opened, e.Sent, e.Received,
			e.Duration.Milliseconds(),
		}}, nil
	})
}

// TrimEgress returns the newest n of the connections of one session, which change.
func TrimEgress(list []Egress, n int) []Egress { return trim(list, n) }

func (e *Egress) session() string { return e.SessionID }
func (e *Egress) skipped() *int64 { return &e.Skipped }
func (e *Egress) evidence() bool  { return false } // one is worth as much as another

// Egress returns a page of a session's connections, oldest first, and how many are kept.
func (s *Store) Egress(ctx context.Context, sessionID string, limit, offset int) ([]Egress, int, error) {
	return ringPage(ctx, s, egressRing, sessionID, limit, offset, func(r scanner) (Egress, error) {
		e := Egress{SessionID: sessionID}
		var at, took int64
		err := r.Scan(&e.Seq, &at, &e.Host, &e.Port, &e.Address, &e.Via, &e.Rule, &e.Reason, &e.Refused, &e.Opened,
			&e.Sent, &e.Received, &took)
		e.At, e.Duration = moment(at), time.Duration(took)*time.Millisecond
		return e, err
	})
}

// EgressDropped returns how many connections of a session are not kept, or were lost.
func (s *Store) EgressDropped(ctx context.Context, sessionID string) (int64, error) {
	return egressRing.dropped(ctx, s, sessionID)
}
