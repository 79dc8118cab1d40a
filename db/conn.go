package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// A writer is the one connection that writes. Its statements are prepared once.
type writer struct {
	db    *sql.DB
	turn  chan struct{} // holds one token; who has it may use conn and stmts
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	hook  Hook // around commits; nil: none

	commits atomic.Uint64 // how many there were, those that failed too

	mu    sync.Mutex // guards queue
	queue []*job     // who waits to be run
}

// openWriter opens the writing connection. synchronous=FULL, because an acknowledged
// message must survive a power cut, unless the file is volatile.
func openWriter(ctx context.Context, path string, volatile bool) (*writer, error) {
	synchronous := "synchronous(FULL)"
	if volatile {
		synchronous = "synchronous(OFF)"
	}
	db := open(path, []string{synchronous, "journal_mode(WAL)"}, nil) // in this order: the second writes already
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	w := &writer{db: db, turn: make(chan struct{}, 1), conn: conn, stmts: map[string]*sql.Stmt{}}
	w.turn <- struct{}{}
	return w, nil
}

func (w *writer) close() error {
	<-w.turn
	defer func() { w.turn <- struct{}{} }() // who comes later gets an error, and does not wait for ever
	var errs []error
	for _, stmt := range w.stmts {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, w.conn.Close(), w.db.Close())...)
}

// A tx is a running write transaction. It is valid only inside the function it was
// handed to.
type tx struct{ w *writer }

// tx runs fn in an immediate transaction, at most once, and commits when fn returns nil.
// The transaction may be shared with other calls; what one of them fails at is undone for
// it alone. Inside fn only the tx may be used, and nothing slow may be done: every other
// write waits. fn may be run by another goroutine, while the caller waits.
func (s *Store) tx(ctx context.Context, fn func(tx) error) error { return s.w.tx(ctx, fn) }

// Nothing below is interrupted when a caller leaves: SQLite would undo the whole
// transaction, and with it the work of others.

func (t tx) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := t.w.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := t.w.conn.PrepareContext(context.WithoutCancel(ctx), query)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	t.w.stmts[query] = stmt
	return stmt, nil
}

// exec runs a statement of fixed text.
func (t tx) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := t.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(context.WithoutCancel(ctx), args...)
}

// changed runs a statement of fixed text and returns how many rows it changed.
func (t tx) changed(ctx context.Context, query string, args ...any) (int64, error) {
	res, err := t.exec(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// mustChange is changed whose error is none when no row was changed.
func (t tx) mustChange(ctx context.Context, none error, query string, args ...any) error {
	n, err := t.changed(ctx, query, args...)
	if err == nil && n == 0 {
		err = none
	}
	return err
}

func (t tx) row(ctx context.Context, query string, args ...any) row {
	stmt, err := t.prepare(ctx, query)
	if err != nil {
		return row{err: err}
	}
	return row{Row: stmt.QueryRowContext(context.WithoutCancel(ctx), args...)}
}

func (t tx) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := t.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(context.WithoutCancel(ctx), args...)
}

// A reader is the pool of read-only connections. The set of query texts must be
// small, since each is prepared once and kept.
type reader struct {
	db    *sql.DB
	stmts sync.Map // string to *sql.Stmt
}

func (r *reader) close() error {
	var errs []error
	r.stmts.Range(func(_, v any) bool {
		errs = append(errs, v.(*sql.Stmt).Close())
		return true
	})
	return errors.Join(append(errs, r.db.Close())...)
}

func (r *reader) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if v, ok := r.stmts.Load(query); ok {
		return v.(*sql.Stmt), nil
	}
	stmt, err := r.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	if v, raced := r.stmts.LoadOrStore(query, stmt); raced {
		return v.(*sql.Stmt), stmt.Close()
	}
	return stmt, nil
}

func (r *reader) row(ctx context.Context, query string, args ...any) row {
	stmt, err := r.prepare(ctx, query)
	if err != nil {
		return row{err: err}
	}
	return row{Row: stmt.QueryRowContext(ctx, args...)}
}

func (r *reader) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := r.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// A queryer is the reader, or a running transaction.
type queryer interface {
	row(ctx context.Context, query string, args ...any) row
	query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// A row is a *sql.Row whose missing row is ErrNotFound.
type row struct {
	*sql.Row
	err error // of the preparation
}

func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	err := r.Row.Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// A scanner is a row or one of several rows.
type scanner interface{ Scan(dest ...any) error }

// collect reads all rows with scan and closes them.
func collect[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
