package db_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"lap/db"
)

// firstSchema is the schema of version 1. Once that is released it never changes again:
// what changes schema.sql then comes with a step in upgrade/.
const firstSchema = "../testdata/db/schema_0001.sql"

func TestUpgradedFileEqualsFreshOne(t *testing.T) {
	first, err := os.ReadFile(firstSchema)
	if err != nil {
		t.Fatal(err)
	}
	old := config(t)
	if err := db.Upgrade(t.Context(), old.Path, string(first), fstest.MapFS{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(shape(t, openStore(t, config(t))), shape(t, openStore(t, old))); diff != "" {
		t.Errorf("%s and the steps in upgrade/ do not lead to schema.sql: %s", firstSchema, diff)
	}
}

func TestUpgradeSteps(t *testing.T) {
	const base = `CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY) STRICT;`
	steps := fstest.MapFS{
		"upgrade/0002_name.sql":  {Data: []byte(`ALTER TABLE t ADD COLUMN name TEXT; INSERT INTO t VALUES ('a', 'b')`)},
		"upgrade/0003_index.sql": {Data: []byte(`CREATE INDEX t_by_name ON t (name); -- no more`)},
	}
	const current = `CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY, name TEXT) STRICT; CREATE INDEX t_by_name ON t (name);`
	old, fresh := config(t), config(t)
	for _, step := range []struct {
		name, path, schema string
		files              fstest.MapFS
	}{
		{"make version 1", old.Path, base, fstest.MapFS{}},
		{"upgrade", old.Path, current, steps},
		{"upgrade again", old.Path, current, steps},
		{"make version 3", fresh.Path, current, steps},
	} {
		if err := db.Upgrade(t.Context(), step.path, step.schema, step.files); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
	want, got := rawShape(t, fresh.Path), rawShape(t, old.Path)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got["version"] != "3" {
		t.Errorf("version = %s, want 3", got["version"])
	}
	err := db.Upgrade(t.Context(), old.Path, current, fstest.MapFS{})
	if !errors.Is(err, db.ErrNewer) {
		t.Errorf("err = %v, want ErrNewer", err)
	}
}

func TestFailedStepChangesNothing(t *testing.T) {
	cfg := config(t)
	if err := db.Upgrade(t.Context(), cfg.Path, `CREATE TABLE t (id TEXT) STRICT`, fstest.MapFS{}); err != nil {
		t.Fatal(err)
	}
	before := rawShape(t, cfg.Path)
	bad := fstest.MapFS{"upgrade/0002_bad.sql": {Data: []byte(`CREATE TABLE u (id TEXT) STRICT; CREATE TABLE t (id TEXT)`)}}
	if err := db.Upgrade(t.Context(), cfg.Path, "", bad); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("err = %v, want one that names version 2", err)
	}
	if diff := cmp.Diff(before, rawShape(t, cfg.Path)); diff != "" {
		t.Error(diff)
	}
}

func TestStepNumbers(t *testing.T) {
	for _, name := range []string{"0003_gap.sql", "0001_base.sql", "two.sql", "2_short_but_right_next.txt"} {
		files := fstest.MapFS{"upgrade/" + name: {Data: []byte(`SELECT 1`)}}
		err := db.Upgrade(t.Context(), config(t).Path, `CREATE TABLE t (id TEXT) STRICT`, files)
		if wantErr := strings.HasSuffix(name, ".sql"); (err != nil) != wantErr {
			t.Errorf("%s: err = %v", name, err)
		}
	}
}

func TestNewerFileIsRefused(t *testing.T) {
	cfg := config(t)
	steps := fstest.MapFS{}
	for n := 2; n < 100; n++ { // to some version this lap does not know
		steps[fmt.Sprintf("upgrade/%04d_x.sql", n)] = &fstest.MapFile{Data: []byte(`SELECT 1`)}
	}
	if err := db.Upgrade(t.Context(), cfg.Path, cfg.Schema, steps); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Open(t.Context(), cfg); !errors.Is(err, db.ErrNewer) {
		t.Errorf("err = %v, want ErrNewer", err)
	}
}

// shape describes all tables and indexes of a store.
func shape(t *testing.T, s *db.Store) map[string]string {
	t.Helper()
	lines, err := s.Lines(t.Context(), `SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_master
		UNION ALL SELECT 'columns ' || m.name || ': ' || (SELECT group_concat(concat_ws(' ', name, type, "notnull", dflt_value, pk), ', ')
			FROM pragma_table_xinfo(m.name)) FROM sqlite_master m WHERE m.type = 'table'
		UNION ALL SELECT 'version: ' || user_version FROM pragma_user_version`)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, line := range lines {
		name, text, _ := strings.Cut(line, ": ")
		out[name] = normalize(text)
	}
	return out
}

// rawShape is shape of a file that need not have lap's schema.
func rawShape(t *testing.T, path string) map[string]string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy.db")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return shape(t, db.Raw(t, copied))
}

var (
	sqlComment = regexp.MustCompile(`--[^\n]*`)
	sqlBlank   = regexp.MustCompile(`\s*([(),])\s*|\s+`)
)

// normalize takes out of SQL what does not matter.
func normalize(text string) string {
	return strings.TrimSpace(sqlBlank.ReplaceAllString(sqlComment.ReplaceAllString(text, ""), "$1 "))
}
