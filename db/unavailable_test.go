package db_test

import (
	"errors"
	"strings"
	"testing"

	"lap/db"
)

func TestFullDisk(t *testing.T) {
	s := openStore(t, config(t))
	newSkill(t, s, "before", "c")
	limit := func(pages string) {
		t.Helper()
		err := s.Tx(t.Context(), func(exec func(query string, args ...any) error) error {
			return exec(`PRAGMA max_page_count = ` + pages)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // which becomes the pages that there are
	_, err := s.CreateSkill(t.Context(), "large", nil, strings.Repeat("x", 1<<20))
	if !db.Unavailable(err) {
		t.Errorf("on a full disk: %v", err)
	}
	limit("1000000")
	newSkill(t, s, "after", "c")
	if list, n, err := s.Skills(t.Context(), 10, 0); err != nil || n != 2 {
		t.Errorf("skills = %v, %d, %v", list, n, err)
	}
	if db.Unavailable(db.ErrNotFound) || db.Unavailable(nil) || db.Unavailable(errors.New("x")) {
		t.Error("other errors do not pass by themselves")
	}
}
