package mirror

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const mostTrees = 3 // that are kept of a mirror; readers of older ones have them open

// A tree is an open tar of a working tree.
type tree struct {
	commit string
	file   *os.File
	size   int64
}

// tree opens the tar of the branch as it was fetched, and makes it when there is none.
func (m *mirror) tree(ctx context.Context, repo Repo, progress func(string)) (*tree, error) {
	out, err := m.git.run(ctx, command{dir: m.bare(), args: []string{"rev-parse", "--verify", repo.ref() + "^{commit}"}})
	if err != nil {
		return nil, err
	}
	commit := strings.TrimSpace(out)
	path := filepath.Join(m.dir, treeDir, commit+"-"+digest(repo.Branch)[:16]+".tar")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		progress("preparing the working tree")
		if err := m.makeTree(ctx, repo, commit, path); err != nil {
			return nil, err
		}
		m.log.InfoContext(ctx, "working tree made", "repository", repo.String(), "branch", repo.Branch, "commit", commit)
	}
	t, err := openTree(commit, path)
	if err != nil {
		return nil, err
	}
	now := m.now()
	if err := errors.Join(os.Chtimes(path, now, now), m.dropTrees(mostTrees, time.Time{})); err != nil {
		return nil, errors.Join(err, t.file.Close())
	}
	return t, nil
}

func openTree(commit, path string) (*tree, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &tree{commit: commit, file: file, size: info.Size()}, nil
}

// makeTree writes the tar of a commit to path, out of objects: there is no working tree on
// the host. Of 5,000 files on a busy disk, that takes 300 ms instead of 3 s. Nothing that a
// repository brings is run: git has no filters, so files of LFS stay pointers, and
// submodules stay empty directories.
func (m *mirror) makeTree(ctx context.Context, repo Repo, commit, path string) (err error) {
	temp, err := m.temp()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	files, index := filepath.Join(temp, "files"), filepath.Join(temp, "index")
	if err := errors.Join(os.Mkdir(files, 0o700), os.MkdirAll(filepath.Dir(path), 0o700)); err != nil {
		return err
	}
	env := []string{"GIT_INDEX_FILE=" + index, "GIT_WORK_TREE=" + files}
	if _, err := m.git.run(ctx, command{dir: m.bare(), env: env, args: []string{"read-tree", commit}}); err != nil {
		return err
	}
	entries, err := m.entries(ctx, env)
	if err != nil {
		return err
	}
	if err := m.convert(ctx, env, files, entries); err != nil {
		return err
	}
	packs, err := m.pack(ctx, commit, temp)
	if err != nil {
		return err
	}
	blobs := m.blobs(ctx, entries)
	defer blobs.close()
	tar := filepath.Join(temp, "tree.tar")
	a := archive{repo: repo, commit: commit, index: index, packs: packs, entries: entries, blobs: blobs, time: m.now()}
	if err := writeTar(tar, a); err != nil {
		return err
	}
	return os.Rename(tar, path)
}

// pack writes all objects of a commit, and none of its parents', into dir. It searches for
// no better deltas than the host's: that would take longer than all the rest.
func (m *mirror) pack(ctx context.Context, commit, dir string) ([]string, error) {
	base := filepath.Join(dir, "pack")
	_, err := m.git.run(ctx, command{
		dir: m.bare(), stdin: commit + "\n", args: []string{"pack-objects", "--quiet", "--revs", "--window=0", base},
	})
	if err != nil {
		return nil, err
	}
	return filepath.Glob(base + "-*")
}

// dropTrees removes all but the tars used last, and all not used since the given time.
func (m *mirror) dropTrees(most int, since time.Time) error {
	dir := filepath.Join(m.dir, treeDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var all []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b fs.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	for i, info := range all {
		if i < most && !info.ModTime().Before(since) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, info.Name())); err != nil {
			return err
		}
	}
	return nil
}
