package mirror

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// An archive is what a tar of a working tree is made from.
type archive struct {
	repo   Repo
	commit string
	files  string   // the working tree
	index  string   // its index; git in the sandbox fills in the times at its first status
	packs  []string // the commit's objects
	time   time.Time
}

// writeTar makes the tar at name. Nothing in it tells of the host: all belongs to root,
// modes are git's two, and .git holds what a shallow clone of the real URL holds.
func writeTar(ctx context.Context, name string, a archive) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffer := bufio.NewWriterSize(f, 256<<10)
	w := &tarWriter{Writer: tar.NewWriter(buffer), time: a.time.Truncate(time.Second)}
	if err := errors.Join(w.git(a), w.files(ctx, a.files), w.Close()); err != nil {
		return err
	}
	return buffer.Flush()
}

type tarWriter struct {
	*tar.Writer
	time time.Time
}

// git writes .git.
func (w *tarWriter) git(a archive) error {
	for _, dir := range []string{".git", ".git/objects", ".git/objects/info", ".git/objects/pack", ".git/refs", ".git/refs/heads"} {
		if err := w.dir(dir); err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, text string }{
		{"HEAD", "ref: refs/heads/" + a.repo.Branch + "\n"},
		{"config", gitConfig(a.repo)},
		{"packed-refs", fmt.Sprintf("%[1]s refs/heads/%[2]s\n%[1]s refs/remotes/origin/%[2]s\n", a.commit, a.repo.Branch)},
		{"shallow", a.commit + "\n"},
	} {
		if err := w.file(".git/"+f.name, 0o644, int64(len(f.text)), strings.NewReader(f.text)); err != nil {
			return err
		}
	}
	for _, pack := range a.packs {
		if err := w.copy(".git/objects/pack/"+filepath.Base(pack), pack, 0o444); err != nil {
			return err
		}
	}
	return w.copy(".git/index", a.index, 0o644)
}

// gitConfig is what a shallow clone has in it.
func gitConfig(r Repo) string {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace
	branch := quote(r.Branch)
	return "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n" +
		"[remote \"origin\"]\n\turl = \"" + quote(r.URL) + "\"\n" +
		"\tfetch = \"+refs/heads/" + branch + ":refs/remotes/origin/" + branch + "\"\n" +
		"[branch \"" + branch + "\"]\n\tremote = origin\n\tmerge = \"refs/heads/" + branch + "\"\n"
}

// files writes the working tree below root. It follows no symbolic link.
func (w *tarWriter) files(ctx context.Context, root string) error {
	return filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil || name == root {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		switch rel = filepath.ToSlash(rel); {
		case e.IsDir():
			return w.dir(rel)
		case e.Type() == fs.ModeSymlink:
			return w.link(rel, name)
		case e.Type().IsRegular():
			return w.regular(rel, name, e)
		default:
			return fmt.Errorf("%s is neither file, directory nor symbolic link", path.Base(rel))
		}
	})
}

func (w *tarWriter) regular(rel, name string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	if info.Mode()&0o100 != 0 {
		return w.copy(rel, name, 0o755)
	}
	return w.copy(rel, name, 0o644)
}

func (w *tarWriter) dir(name string) error {
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: w.time})
}

func (w *tarWriter) link(rel, name string) error {
	target, err := os.Readlink(name)
	if err != nil {
		return err
	}
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: rel, Linkname: target, Mode: 0o777, ModTime: w.time})
}

func (w *tarWriter) copy(rel, name string, mode int64) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.file(rel, mode, info.Size(), f)
}

func (w *tarWriter) file(name string, mode, size int64, from io.Reader) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size, ModTime: w.time}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.CopyN(w, from, size)
	return err
}
