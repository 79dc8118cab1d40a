package mirror

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const longestLink = 4095 // what Linux takes

// An archive is what a tar of a working tree is made from.
type archive struct {
	repo    Repo
	commit  string
	index   string   // git in the sandbox fills in times and inodes at its first status
	packs   []string // the commit's objects
	entries []entry
	blobs   *blobs
	time    time.Time
}

// writeTar makes the tar at name. Nothing in it tells of the host: all belongs to root,
// modes are git's two, and .git holds what a shallow clone of the real URL holds.
func writeTar(name string, a archive) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffer := bufio.NewWriterSize(f, 256<<10)
	w := &tarWriter{
		Writer: tar.NewWriter(buffer), time: a.time.Truncate(time.Second),
		dirs: make(map[string]bool), links: make(map[string]bool),
	}
	if err := w.git(a); err != nil {
		return err
	}
	for _, e := range a.entries {
		if err := w.entry(e, a.blobs); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return buffer.Flush()
}

type tarWriter struct {
	*tar.Writer
	time        time.Time
	dirs, links map[string]bool // that were written
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

// entry writes one entry of the working tree, and the directories above it.
func (w *tarWriter) entry(e entry, from *blobs) error {
	if err := w.parents(e.path); err != nil {
		return err
	}
	mode := int64(0o644)
	if e.mode == modeExec {
		mode = 0o755
	}
	if e.mode == modeRepo {
		return w.dir(e.path)
	}
	if e.file != "" {
		return w.copy(e.path, e.file, mode)
	}
	content, size, err := from.next(e)
	if err != nil {
		return err
	}
	if e.mode == modeLink {
		err = w.link(e.path, content, size)
	} else {
		err = w.file(e.path, mode, size, content)
	}
	if err != nil {
		return err
	}
	return from.end()
}

// parents writes the directories above name that are not yet written. Git's index has no
// link with something below it; if it had, whoever unpacks would write through the link.
func (w *tarWriter) parents(name string) error {
	for i := range len(name) {
		if name[i] != '/' || w.dirs[name[:i]] {
			continue
		}
		if w.links[name[:i]] {
			return fmt.Errorf("%q is below a symbolic link", cutLine(name))
		}
		if err := w.dir(name[:i]); err != nil {
			return err
		}
		w.dirs[name[:i]] = true
	}
	return nil
}

func (w *tarWriter) dir(name string) error {
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: w.time})
}

func (w *tarWriter) link(name string, target io.Reader, size int64) error {
	if size > longestLink {
		return fmt.Errorf("the target of the symbolic link %q is too long", cutLine(name))
	}
	text, err := io.ReadAll(target)
	if err != nil {
		return err
	}
	w.links[name] = true
	return w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: string(text), Mode: 0o777, ModTime: w.time})
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
