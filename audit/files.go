package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Places on disk.
const (
	databasePlace = "database with its WAL and shared memory"
	dataPlace     = "data directory without key files"
	keyPlace      = "mode of key files"
	tempPlace     = "temporary files of lap serve"
	logPlace      = "log of lap serve, level debug, with its crash"
)

// lookAtData looks at the data directory of a server, and returns what was found in its
// database.
func (l *ledger) lookAtData(dir string) (found []string, err error) {
	keys := []string{"ca.key", "master.key", "secret.key"}
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // a file that has just gone
			return nil
		case errors.Is(err, fs.ErrPermission): // a native sandbox has closed it, or the kernel
			l.note(dataPlace, "not all of it can be read by this user: run the audit as root")
			return nil
		case err != nil || !e.Type().IsRegular():
			return err
		case slices.Contains(keys, e.Name()):
			return l.lookAtMode(path)
		}
		place := dataPlace
		if strings.HasPrefix(e.Name(), "lap.db") {
			place = databasePlace
		}
		there, err := l.lookAtFile(place, path)
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if place == databasePlace {
			found = append(found, there...)
		}
		return err
	})
	return found, err
}

// lookAtMode checks that only its owner can read a key file.
func (l *ledger) lookAtMode(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	l.enter(keyPlace, &Place{Looks: 1})
	if mode := info.Mode().Perm(); mode != 0o600 {
		l.fault(keyPlace, info.Name(), fmt.Sprintf("its mode is %04o, not 0600", mode))
	}
	return nil
}

// lookAtTemp looks at what a server has left in its directory for temporary files.
func (l *ledger) lookAtTemp(dir string) error {
	l.enter(tempPlace, &Place{Looks: 1})
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			_, err = l.lookAtFile(tempPlace, path)
		}
		return err
	})
}
