package mirror

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	treesUnused = 24 * time.Hour
	mostPacks   = 20 // each fetch of something new adds one
)

// sweep removes what was not used for long, the mirror itself when nothing is left, and
// packs the rest when it has grown.
func (m *mirror) sweep(ctx context.Context) error {
	if err := m.take(ctx); err != nil {
		return err
	}
	defer m.give()
	if err := m.tidy(); err != nil {
		return err
	}
	if err := m.dropTrees(mostTrees, m.now().Add(-treesUnused)); err != nil {
		return err
	}
	left, err := m.dropBranches(m.now().Add(-unusedFor))
	if err != nil {
		return err
	}
	if left == 0 {
		return os.RemoveAll(m.dir)
	}
	packs, err := filepath.Glob(filepath.Join(m.bare(), "objects", "pack", "*.pack"))
	if err != nil || len(packs) <= mostPacks {
		return err
	}
	_, err = m.git.run(ctx, command{dir: m.bare(), args: []string{"gc", "--quiet", "--prune=now"}})
	return err
}

// dropBranches removes the branches that were not used since, and counts those left.
func (m *mirror) dropBranches(since time.Time) (left int, err error) {
	dir := filepath.Join(m.bare(), branchRefs)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return left, err
		}
		if !info.ModTime().Before(since) {
			left++
		} else if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return left, err
		}
	}
	return left, nil
}
