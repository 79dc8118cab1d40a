//go:build linux

package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"lap/sandbox/proc"
)

const (
	gitMark    = "LAP_DIFF="     // in the environment of git and all that it starts
	gitTalk    = 4 << 10         // bytes of git's errors that are told
	gitGrace   = 2 * time.Second // for git's output after its end
	noneFound  = 1               // git config's exit code when there is nothing of the kind
	someFailed = 1               // git add's, when it did the rest
)

// A repository is the working tree as git sees it, but with an index and new objects of
// its own, so that looking at it changes nothing.
//
// What the repository's configuration says to run is not run. Monitors, hooks, external
// diffs and text conversions are turned off; so are filters such as Git LFS's, which git
// runs for what has changed: a changed file of theirs shows as it is on disk. One thing is
// left: git asks each submodule for its state, and a submodule has a configuration, too.
// That is a matter of good manners and not a barrier: what runs here is in the sandbox,
// with the rights that the agent has anyway.
type repository struct {
	children *proc.Table
	git      string // the program
	dir      string
	mark     string
	config   []string // arguments before the command
	env      []string
}

// openRepository looks at the repository of the working tree. Its own files go to tmp.
func (g *Guest) openRepository(ctx context.Context, tmp string) (*repository, error) {
	env := g.environment()
	r := &repository{children: g.children, dir: g.places.work, mark: gitMark + filepath.Base(tmp)}
	if r.git = lookPath("git", env["PATH"]); r.git == "" {
		return nil, refuse(http.StatusNotImplemented, "there is no git in this image")
	}
	for _, entry := range env.list() {
		if !strings.HasPrefix(entry, "GIT_") { // such as another repository
			r.env = append(r.env, entry)
		}
	}
	r.env = append(r.env, r.mark, "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "GIT_CEILING_DIRECTORIES="+filepath.Dir(r.dir))
	for _, setting := range []string{
		"safe.directory=*", "core.fsmonitor=false", "core.hooksPath=/dev/null", "core.splitIndex=false",
		"protocol.allow=never", "advice.addEmbeddedRepo=false",
	} {
		r.config = append(r.config, "-c", setting)
	}
	if err := r.locate(ctx, tmp); err != nil {
		return nil, err
	}
	return r, r.disarm(ctx)
}

// locate finds the repository and puts tmp in the place of what git would write to.
func (r *repository) locate(ctx context.Context, tmp string) error {
	var out bytes.Buffer
	err := r.run(ctx, &out, "rev-parse", "--show-toplevel", "--git-path", "index", "--git-path", "objects")
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if err != nil || len(lines) != 3 {
		return refuse(http.StatusConflict, "the working tree is not a git repository")
	}
	for i, path := range lines {
		if !filepath.IsAbs(path) {
			lines[i] = filepath.Join(r.dir, path)
		}
	}
	r.dir = lines[0]
	index, objects := filepath.Join(tmp, "index"), filepath.Join(tmp, "objects")
	if err := os.Mkdir(objects, 0o700); err != nil {
		return err
	}
	if err := copyFile(index, lines[1]); err != nil && !errors.Is(err, os.ErrNotExist) { // nothing was added yet
		return err
	}
	r.env = append(r.env, "GIT_INDEX_FILE="+index, "GIT_OBJECT_DIRECTORY="+objects, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+lines[2])
	return nil
}

// disarm turns off all filters.
func (r *repository) disarm(ctx context.Context) error {
	var out bytes.Buffer
	err := r.run(ctx, &out, "config", "--null", "--name-only", "--get-regexp", `^filter\.`)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == noneFound {
		return nil
	}
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for name := range strings.SplitSeq(strings.TrimSuffix(out.String(), "\x00"), "\x00") {
		filter := name[:strings.LastIndexByte(name, '.')]
		if strings.Contains(filter, "=") {
			return refuse(http.StatusConflict, "the repository has a %q, which cannot be turned off", filter)
		}
		if !seen[filter] {
			seen[filter] = true
			r.config = append(r.config, "-c", filter+".clean=", "-c", filter+".process=", "-c", filter+".required=false")
		}
	}
	return nil
}

// stage adds the whole working tree to the index. A file that cannot be read is left as
// it was. Git gives up when a file vanishes under it, so that it gets another try.
func (r *repository) stage(ctx context.Context) (err error) {
	for range 2 {
		err = r.run(ctx, io.Discard, "add", "--all", "--ignore-errors")
		if exit, ok := errors.AsType[*exec.ExitError](err); err == nil || (ok && exit.ExitCode() == someFailed) {
			return nil
		}
	}
	return err
}

// run runs git and copies its output to w. When ctx ends, so does git.
func (r *repository) run(ctx context.Context, w io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, r.git, slices.Concat(r.config, args)...)
	talk := &head{left: gitTalk}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = r.dir, r.env, w, talk
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = gitGrace
	cmd.Cancel = func() error {
		proc.KillTree(cmd.Process.Pid, r.mark)
		return nil
	}
	err := r.children.Start(cmd)
	if err == nil {
		err = r.children.Wait(cmd)
	}
	if err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(talk.text))
	}
	return nil
}

// A head keeps the beginning of what is written to it.
type head struct {
	text []byte
	left int
}

func (h *head) Write(p []byte) (int, error) {
	n := min(len(p), h.left)
	h.text = append(h.text, p[:n]...)
	h.left -= n
	return len(p), nil
}

// lookPath finds a program on path; "" when it is not there.
func lookPath(name, path string) string {
	for _, dir := range filepath.SplitList(path) {
		if file, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return file
		}
	}
	return ""
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
