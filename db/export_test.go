package db

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// SealWith is Seal with a given nonce.
func (s *Sealer) SealWith(text string, nonce []byte) string { return s.seal(text, nonce) }

// Upgrade brings the file at path to the schema, with the steps in files.
func Upgrade(ctx context.Context, path, schema string, files fs.FS) error {
	w, err := openWriter(ctx, path, false)
	if err != nil {
		return err
	}
	return errors.Join(migrate(ctx, w, schema, files), w.close())
}

// Statements returns the texts of all statements that were prepared so far.
func (s *Store) Statements() []string {
	<-s.w.turn
	defer func() { s.w.turn <- struct{}{} }()
	var texts []string
	for text := range s.w.stmts {
		texts = append(texts, text)
	}
	s.r.stmts.Range(func(text, _ any) bool {
		texts = append(texts, text.(string))
		return true
	})
	slices.Sort(texts)
	return slices.Compact(texts)
}

// Lines runs a query of one text column, such as a pragma, and returns its rows.
func (s *Store) Lines(ctx context.Context, query string) ([]string, error) {
	rows, err := s.r.db.QueryContext(ctx, query)
	return collect(rows, err, func(r scanner) (string, error) {
		var line string
		err := r.Scan(&line)
		return line, err
	})
}

// Plan returns the steps of SQLite's plan for a statement.
func (s *Store) Plan(ctx context.Context, query string) ([]string, error) {
	<-s.w.turn
	defer func() { s.w.turn <- struct{}{} }()
	rows, err := s.w.conn.QueryContext(ctx, `EXPLAIN QUERY PLAN `+query, make([]any, parameters(query))...)
	return collect(rows, err, func(r scanner) (string, error) {
		var (
			id, parent, unused int
			step               string
		)
		err := r.Scan(&id, &parent, &unused, &step)
		return step, err
	})
}

// Exec runs a script on the file at path.
func Exec(ctx context.Context, path, script string) error {
	w, err := openWriter(ctx, path, false)
	if err != nil {
		return err
	}
	_, err = w.conn.ExecContext(ctx, script)
	return errors.Join(err, w.close())
}

// Tx runs fn in a write transaction, with a function that executes a statement in it.
func (s *Store) Tx(ctx context.Context, fn func(exec func(query string, args ...any) error) error) error {
	return s.tx(ctx, func(t tx) error {
		return fn(func(query string, args ...any) error {
			_, err := t.exec(ctx, query, args...)
			return err
		})
	})
}

// Queued returns how many writes wait.
func (s *Store) Queued() int {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return len(s.w.queue)
}

// Raw opens the file at path as it is, for reading only.
func Raw(t *testing.T, path string) *Store {
	t.Helper()
	s := &Store{r: openReader(path)}
	t.Cleanup(func() {
		if err := s.r.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// SetEnvColumn writes the column env_vars of an agent as it is.
func (s *Store) SetEnvColumn(ctx context.Context, id, text string) error {
	return s.step(ctx, `UPDATE agents SET env_vars = ?2 WHERE id = ?1`, id, text)
}

// parameters returns how many arguments a statement takes.
func parameters(query string) int {
	count := 0
	for _, m := range regexp.MustCompile(`\?(\d*)`).FindAllStringSubmatch(query, -1) {
		if m[1] == "" {
			count++
		} else if n, err := strconv.Atoi(m[1]); err == nil {
			count = max(count, n)
		}
	}
	return count
}

// CheckPacking checks that bodies which make a run come out of it as they went in.
func CheckPacking(t *testing.T, bodies ...string) {
	t.Helper()
	var r run
	for i, body := range bodies {
		if !r.add(int64(i+1), body) {
			return
		}
		if f := cutFrame(body); f.join(f.fill) != body {
			t.Errorf("%q is cut to %q", body, f)
		}
	}
	if !r.exact() {
		return
	}
	out := unpack(r.template(), r.pieces(), 0, len(bodies))
	if !slices.Equal(out, bodies) {
		t.Errorf("%q came out as %q", bodies, out)
	}
}
