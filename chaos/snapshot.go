package main

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite" // the "sqlite" driver
)

// A snapshot is what the database and the engine hold at one time.
type snapshot struct {
	sessions  []sessionRow
	sandboxes []sandboxRow
	turns     []turnRow
	events    map[string][]span // by session
	boxes     []box
}

type sessionRow struct {
	id, status, reason, container string
	revivable                     bool
	lastEvent                     int64
}

type sandboxRow struct {
	name, session, state, container string
	generation                      int64
}

type turnRow struct {
	session, status, parts string
	seq                    int64
	reply                  bool
}

// A span is a row of the event log: the number of its last event, and how many it holds.
type span struct{ last, length int64 }

// over reports whether a session stays as it is until somebody restarts it.
func (s sessionRow) over() bool { return s.status == "failed" || s.status == "dead" && !s.revivable }

// open opens the installation's database for reading, beside the server that writes it.
func (l *lap) open() (*sql.DB, error) {
	dsn := url.URL{Scheme: "file", Opaque: filepath.Join(l.data(), "lap.db"), RawQuery: "_pragma=busy_timeout(5000)&mode=ro"}
	return sql.Open("sqlite", dsn.String())
}

// learnOwner reads the id under which the engine knows the installation.
func (l *lap) learnOwner(ctx context.Context) (err error) {
	db, err := l.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'installation'`).Scan(&l.owner)
}

// snapshot reads the database, then asks the engine.
func (l *lap) snapshot(ctx context.Context) (_ *snapshot, err error) {
	db, err := l.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	s := &snapshot{events: map[string][]span{}}
	err = errors.Join(
		each(ctx, tx, `SELECT id, status, coalesce(failure_reason, ''), coalesce(container_id, ''), revivable, last_event FROM sessions ORDER BY created_at, id`,
			func(scan scan) error {
				var r sessionRow
				err := scan(&r.id, &r.status, &r.reason, &r.container, &r.revivable, &r.lastEvent)
				s.sessions = append(s.sessions, r)
				return err
			}),
		each(ctx, tx, `SELECT name, session_id, state, coalesce(container_id, ''), generation FROM sandboxes`, func(scan scan) error {
			var r sandboxRow
			err := scan(&r.name, &r.session, &r.state, &r.container, &r.generation)
			s.sandboxes = append(s.sandboxes, r)
			return err
		}),
		each(ctx, tx, `SELECT session_id, seq, status, parts, reply IS NOT NULL FROM turns ORDER BY session_id, seq`, func(scan scan) error {
			var r turnRow
			err := scan(&r.session, &r.seq, &r.status, &r.parts, &r.reply)
			s.turns = append(s.turns, r)
			return err
		}),
		each(ctx, tx, `SELECT session_id, seq, length FROM events ORDER BY session_id, seq`, func(scan scan) error {
			var id string
			var r span
			err := scan(&id, &r.last, &r.length)
			s.events[id] = append(s.events[id], r)
			return err
		}),
	)
	if err != nil {
		return nil, err
	}
	s.boxes, err = l.world.engine.boxes(ctx, l)
	return s, err
}

type scan = func(dest ...any) error

// each calls fn for every row of a query.
func each(ctx context.Context, tx *sql.Tx, query string, fn func(scan) error) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// session returns the row of a session, nil when there is none.
func (s *snapshot) session(id string) *sessionRow {
	for i := range s.sessions {
		if s.sessions[i].id == id {
			return &s.sessions[i]
		}
	}
	return nil
}

// owned returns the sandbox of a session, nil when it has none.
func (s *snapshot) owned(session string) *sandboxRow {
	for i := range s.sandboxes {
		if r := &s.sandboxes[i]; r.session == session && r.state == "owned" {
			return r
		}
	}
	return nil
}
