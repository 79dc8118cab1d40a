package cassette_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lap/server/gateway/cassette"
)

func open(dir string) *cassette.Folder { return cassette.Open(dir, slog.New(slog.DiscardHandler)) }

func request(t *testing.T, body string) cassette.Request {
	t.Helper()
	r, err := cassette.Canonical("POST responses", []byte(body), "record/a/m")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// record adds a call to the cassette a.
func record(t *testing.T, f *cassette.Folder, body, answer string) {
	t.Helper()
	err := f.Record(t.Context(), "a", cassette.Call{Model: "m", Request: request(t, body), Answer: cassette.Answer{Status: 200, Body: answer}})
	if err != nil {
		t.Fatal(err)
	}
}

// Each sandbox goes through equal calls by itself.
func TestTurnsOfEach(t *testing.T) {
	f := open(filepath.Join(t.TempDir(), "made", "when needed"))
	for i := range 3 {
		record(t, f, `{"input":"ready?"}`, fmt.Sprint(i))
	}
	var got string
	for _, who := range []string{"x", "x", "y", "x", "y", "x", "y", "y"} {
		c, err := f.Find("a", who, request(t, `{"input":"ready?"}`))
		if err != nil {
			t.Fatal(err)
		}
		got += who + c.Answer.Body + " "
	}
	if got != "x0 x1 y0 x2 y1 x2 y2 y2 " {
		t.Errorf("the turns are %s", got)
	}
}

// A file that changes counts at once, whoever changed it.
func TestFilesComeAndGo(t *testing.T) {
	dir := t.TempDir()
	f, other := open(dir), open(dir)
	find := func(body string) error { _, err := f.Find("a", "x", request(t, body)); return err }
	code := func(err error) string {
		if e, ok := errors.AsType[*cassette.Error](err); ok {
			return e.Code
		}
		return fmt.Sprint(err)
	}
	if got := code(find(`{"n":1}`)); got != cassette.CodeNotFound {
		t.Errorf("before there is a file: %s", got)
	}
	record(t, other, `{"n":1}`, "one")
	if err := find(`{"n":1}`); err != nil {
		t.Error(err)
	}
	if got := code(find(`{"n":2}`)); got != cassette.CodeMiss {
		t.Errorf("before it is recorded: %s", got)
	}
	record(t, other, `{"n":2}`, "two")
	if err := find(`{"n":2}`); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("cassette: 1\n---\nrequest: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{find(`{"n":1}`), f.CanRecord("a"), other.CanRecord("a")} {
		if code(err) != cassette.CodeDamaged || !strings.Contains(err.Error(), "a.yaml: line ") {
			t.Errorf("damaged: %v", err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	if got := code(find(`{"n":1}`)); got != cassette.CodeNotFound {
		t.Errorf("once it is removed: %s", got)
	}
}

func TestFullCassette(t *testing.T) {
	dir := t.TempDir()
	f := open(dir)
	record(t, f, `{"n":1}`, "one")
	if err := os.Truncate(filepath.Join(dir, "a.yaml"), cassette.MaxFile-10); err != nil {
		t.Fatal(err)
	}
	err := f.Record(t.Context(), "a", cassette.Call{Request: request(t, `{"n":2}`), Answer: cassette.Answer{Status: 200}})
	if err == nil || !strings.Contains(err.Error(), "would have more than 64 MiB") {
		t.Errorf("error = %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, "a.yaml"), cassette.MaxFile); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		err := f.CanRecord(name)
		if e, full := errors.AsType[*cassette.Error](err); (name == "a") != (full && e.Code == cassette.CodeFull) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the folder has %v, %v", left, err)
	}
}
