package server

import (
	"context"

	"github.com/gofrs/flock"
)

// MakeEphemeralDir makes and locks the data directory of an ephemeral server.
func MakeEphemeralDir(ctx context.Context, parent string) (string, *flock.Flock, error) {
	return makeEphemeralDir(ctx, parent)
}

// SweepDirs removes the data directories of ephemeral servers that have ended, which had no
// sandboxes.
func SweepDirs(parent string) error {
	dirs, err := ephemeralDirs(parent)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		lock, err := lockStale(dir)
		if err != nil {
			return err
		}
		if lock == nil {
			continue
		}
		if err := removeEphemeralDir(dir); err != nil {
			return err
		}
		if err := lock.Close(); err != nil {
			return err
		}
	}
	return nil
}
