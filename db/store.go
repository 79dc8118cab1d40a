// Package db is lap's store: one SQLite file with typed queries. It knows neither
// HTTP nor Docker.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the "sqlite" driver
)

// ErrNotFound says that no row has the given id, or that it belongs to another parent.
var ErrNotFound = errors.New("not found")

// Config says where a Store lives and what it depends on.
type Config struct {
	Path   string           // of the database file; made with mode 0600 when missing
	Schema string           // the text of schema.sql
	Sealer *Sealer          // encrypts env values at rest
	Now    func() time.Time // nil: time.Now
	NewID  func() string    // nil: random UUIDs
	Hook   Hook             // around commits, for tests; nil: none

	// Volatile is for a file that nobody opens again: what was written may not survive a
	// power cut, and no commit waits for the disk.
	Volatile bool
}

// A Store reads and writes one database file. It is safe for concurrent use: writes
// queue for the one writing connection, reads never wait for them.
type Store struct {
	sealer *Sealer
	now    func() time.Time
	newID  func() string
	w      *writer
	r      *reader
	agents agentCache
	spent  spentCache
}

// Open opens or makes the database of cfg and brings it to the current schema. The
// error of a database written by a newer lap is ErrNewer.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{sealer: cfg.Sealer, now: cfg.Now, newID: cfg.NewID}
	if s.now == nil {
		s.now = time.Now
	}
	if s.newID == nil {
		s.newID = uuid.NewString
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, err
	}
	if err := private(path); err != nil {
		return nil, err
	}
	if err := registerFunctions(); err != nil {
		return nil, err
	}
	if s.w, err = openWriter(ctx, path, cfg.Volatile); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := migrate(ctx, s.w, cfg.Schema, upgradeFiles); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), s.w.close())
	}
	s.w.hook = cfg.Hook
	s.r = openReader(path)
	if err := s.r.db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), s.Close())
	}
	return s, nil
}

// Close waits for running queries and closes the file.
func (s *Store) Close() error { return errors.Join(s.r.close(), s.w.close()) }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.r.row(ctx, `SELECT 1`).Scan(&one)
}

// private makes sure that the database file is there and readable by its owner alone,
// before SQLite can make it with a wider mode. SQLite gives -wal and -shm the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

// open opens one pool on the file with the given extra DSN parameters. busy_timeout
// comes first so that it covers the pragmas after it.
func open(path string, pragmas []string, extra url.Values) *sql.DB {
	q := url.Values{"_pragma": append([]string{"busy_timeout(5000)", "foreign_keys(1)"}, pragmas...)}
	maps.Copy(q, extra)
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		panic(err) // the driver is linked in; a DSN is not parsed before the first use
	}
	return db
}

func openReader(path string) *reader {
	db := open(path, nil, url.Values{"mode": {"ro"}})
	n := max(4, runtime.GOMAXPROCS(0))
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return &reader{db: db}
}

// millis is t as the store keeps it.
func millis(t time.Time) int64 { return t.UnixMilli() }

// moment is the time that millis made.
func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// nowMillis is the current time, truncated to what the store keeps.
func (s *Store) nowMillis() int64 { return millis(s.now()) }
