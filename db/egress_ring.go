package db

import (
	"context"
	"errors"
)

// A ring is a table with rows of each session, numbered from 1. When there are too many,
// some go. The newest row stays, so the numbers go on; how many are missing is how many
// are not kept.
type ring struct {
	kept                                     int
	last, insert, trim, page, count, missing string
}

// newRing returns the ring of a table. rank is the order in which its rows go.
func newRing(table, columns, values, rank string, kept int) ring {
	const of = ` WHERE session_id = ?1`
	return ring{
		kept:   kept,
		last:   `SELECT (SELECT coalesce(max(seq), 0) FROM ` + table + ` WHERE session_id = s.id) FROM sessions s WHERE s.id = ?1`,
		insert: `INSERT INTO ` + table + ` (session_id, seq, ` + columns + `) VALUES (?, ?, ` + values + `)`,
		trim: `DELETE FROM ` + table + of + ` AND seq IN (SELECT seq FROM ` + table + of + ` AND seq < ?2 ORDER BY ` + rank + `
			LIMIT max(0, (SELECT count(*) FROM ` + table + of + `) - ?3))`,
		page:    `SELECT seq, ` + columns + ` FROM ` + table + of + ` ORDER BY seq LIMIT ?2 OFFSET ?3`,
		count:   `SELECT count(*) FROM ` + table + of,
		missing: `SELECT coalesce(max(seq), 0) - count(*) FROM ` + table + of,
	}
}

// An entry is a row that a ring does not have yet.
type entry struct {
	skipped int64
	values  []any
}

// append stores rows of one session. It stores none when there is no such session.
func (r ring) append(ctx context.Context, t tx, sessionID string, rows []entry) error {
	var last int64
	err := t.row(ctx, r.last, sessionID).Scan(&last)
	if errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	for _, row := range rows {
		last += row.skipped + 1
		if _, err := t.exec(ctx, r.insert, append([]any{sessionID, last}, row.values...)...); err != nil {
			return err
		}
	}
	if last <= int64(r.kept) {
		return nil
	}
	_, err = t.exec(ctx, r.trim, sessionID, last, r.kept)
	return err
}

// dropped returns how many rows of a session are not there.
func (r ring) dropped(ctx context.Context, s *Store, sessionID string) (n int64, err error) {
	return n, s.r.row(ctx, r.missing, sessionID).Scan(&n)
}

// A record is what a ring keeps, as T.
type record[T any] interface {
	*T
	session() string
	skipped() *int64
	evidence() bool
}

// trim returns n of the records of one session, at least one, which change: what is no
// evidence goes first, then the oldest. The newest stays.
func trim[T any, R record[T]](list []T, n int) []T {
	for _, all := range []bool{false, true} {
		over := len(list) - max(n, 1)
		if over <= 0 {
			break
		}
		rest := list[:0]
		for i := range list {
			if one := R(&list[i]); over > 0 && i < len(list)-1 && (all || !one.evidence()) {
				*R(&list[i+1]).skipped() += *one.skipped() + 1
				over--
				continue
			}
			rest = append(rest, list[i])
		}
		clear(list[len(rest):]) // or what they point to would stay
		list = rest
	}
	return list
}

// appendAll stores the records of all sessions of a list, or nothing.
func appendAll[T any, R record[T]](ctx context.Context, s *Store, r ring, list []T, row func(T) (entry, error)) error {
	sessions := map[string][]T{}
	for i := range list {
		id := R(&list[i]).session()
		sessions[id] = append(sessions[id], list[i])
	}
	rows := map[string][]entry{}
	for id, some := range sessions {
		for _, one := range trim[T, R](some, r.kept) {
			e, err := row(one)
			if err != nil {
				return err
			}
			rows[id] = append(rows[id], e)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return s.tx(ctx, func(t tx) error {
		for id, some := range rows {
			if err := r.append(ctx, t, id, some); err != nil {
				return err
			}
		}
		return nil
	})
}

// ringPage returns a page of a session's rows and how many there are.
func ringPage[T any](ctx context.Context, s *Store, r ring, sessionID string, limit, offset int, scan func(scanner) (T, error)) ([]T, int, error) {
	var total int
	if err := s.r.row(ctx, r.count, sessionID).Scan(&total); err != nil {
		return nil, 0, err
	}
	rows, err := s.r.query(ctx, r.page, sessionID, limit, offset)
	list, err := collect(rows, err, scan)
	return list, total, err
}
