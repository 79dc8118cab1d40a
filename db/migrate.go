package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// ErrNewer says that the database was written by a newer lap.
var ErrNewer = errors.New("the database was written by a newer lap; upgrade lap, or restore a backup made with this version")

// baseVersion is the user_version of the first released schema. Step n in upgrade/
// brings a file from version n-1 to n.
const baseVersion = 1

//go:embed upgrade
var upgradeFiles embed.FS

// migrate makes the schema in an empty file, or runs the steps an older one lacks,
// each in its own transaction.
func migrate(ctx context.Context, w *writer, schema string, files fs.FS) error {
	steps, err := upgradeSteps(files)
	if err != nil {
		return err
	}
	current := baseVersion + len(steps)
	var version int
	if err := w.conn.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	switch {
	case version > current:
		return fmt.Errorf("schema version %d, this lap knows %d: %w", version, current, ErrNewer)
	case version == 0:
		return w.upgrade(ctx, schema, current)
	}
	for n := version; n < current; n++ {
		if err := w.upgrade(ctx, steps[n-baseVersion], n+1); err != nil {
			return fmt.Errorf("upgrade to schema version %d: %w", n+1, err)
		}
	}
	return nil
}

// upgrade runs one script and sets the version it leads to, or does nothing.
func (w *writer) upgrade(ctx context.Context, script string, version int) error {
	return w.tx(ctx, func(tx) error {
		_, err := w.conn.ExecContext(ctx, script+"\n;PRAGMA user_version = "+strconv.Itoa(version))
		return err
	})
}

// upgradeSteps returns the scripts in upgrade/, whose names are NNNN_what.sql, in
// order and without gaps.
func upgradeSteps(files fs.FS) ([]string, error) {
	names, err := fs.Glob(files, "upgrade/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	steps := make([]string, 0, len(names))
	for i, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		if n, err := strconv.Atoi(number); err != nil || n != baseVersion+1+i {
			return nil, fmt.Errorf("%s: want number %04d", name, baseVersion+1+i)
		}
		script, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, string(script))
	}
	return steps, nil
}
