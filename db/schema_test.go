package db_test

import (
	"regexp"
	"strings"
	"testing"
)

// The rules of schema.sql that SQLite does not enforce by itself.

func TestTablesAreStrict(t *testing.T) {
	for _, statement := range statements(t) {
		if strings.HasPrefix(statement, "CREATE TABLE") && !regexp.MustCompile(`\) STRICT\b[^)]*$`).MatchString(statement) {
			t.Errorf("not STRICT: %s", statement)
		}
	}
}

func TestReferencesSayWhatDeletionDoes(t *testing.T) {
	reference := regexp.MustCompile(`REFERENCES \w+ ?\(\w+\)(.*)`)
	for _, statement := range statements(t) {
		for line := range strings.Lines(statement) {
			if m := reference.FindStringSubmatch(line); m != nil && !strings.Contains(m[1], "ON DELETE") {
				t.Errorf("no ON DELETE: %s", line)
			}
		}
	}
}

func TestIndexesAreNamedAfterTheirTable(t *testing.T) {
	index := regexp.MustCompile(`^CREATE (?:UNIQUE )?INDEX (\w+)\s+ON (\w+)`)
	for _, statement := range statements(t) {
		if !strings.Contains(statement, " INDEX ") {
			continue
		}
		if m := index.FindStringSubmatch(statement); m == nil || !strings.HasPrefix(m[1], m[2]+"_") {
			t.Errorf("not named <table>_<what>: %s", statement)
		}
	}
}

func TestTimesAreIntegers(t *testing.T) {
	column := regexp.MustCompile(`^\s*(\w+_at|\w+_since)\s+(\w+)`)
	for _, statement := range statements(t) {
		for line := range strings.Lines(statement) {
			if m := column.FindStringSubmatch(line); m != nil && m[2] != "INTEGER" {
				t.Errorf("a time that is no INTEGER: %s", line)
			}
		}
	}
}

// statements are those of schema.sql, without comments.
func statements(t *testing.T) []string {
	t.Helper()
	var list []string
	for statement := range strings.SplitSeq(sqlComment.ReplaceAllString(schema(t), ""), ";") {
		if statement = strings.TrimSpace(statement); statement != "" {
			list = append(list, statement)
		}
	}
	if len(list) < 10 {
		t.Fatalf("only %d statements in schema.sql", len(list))
	}
	return list
}
