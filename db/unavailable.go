package db

import (
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrFull is what a Hook fails a commit with that is to fail as on a full disk.
var ErrFull = errors.New("the disk is full")

// Unavailable reports whether an error is one of the database file that may pass: the
// disk is full or fails, or another process holds the file. Nothing was stored.
func Unavailable(err error) bool {
	if errors.Is(err, ErrFull) {
		return true
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	switch e.Code() & 0xff { // without what makes it an extended code
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN:
		return true
	}
	return false
}
