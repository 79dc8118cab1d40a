package mirror_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"lap/server/mirror"
)

const token = "s3cret+token/with=odd&chars"

// needGit skips a test where there is no git, except where that must not be.
func needGit(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		if os.Getenv("LAP_TEST_REQUIRE_ALL") != "" {
			t.Fatal("git is not installed")
		}
		t.Skip("git is not installed")
	}
}

// git runs git in a directory, as somebody with a name and nothing configured.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@b.invalid",
		"GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@b.invalid", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// An origin is a repository as its owner has it: a bare one that is served from root, and
// a clone to push from.
type origin struct {
	t          *testing.T
	root, work string
}

// newOrigin makes o/r.git with one commit on main.
func newOrigin(t *testing.T) *origin {
	t.Helper()
	needGit(t)
	o := &origin{t: t, root: t.TempDir(), work: t.TempDir()}
	git(t, o.root, "init", "--quiet", "--bare", "--initial-branch=main", "o/r.git")
	git(t, o.work, "init", "--quiet", "--initial-branch=main", ".")
	git(t, o.work, "remote", "add", "origin", filepath.Join(o.root, "o/r.git"))
	o.push("main", "README.md", "first\n")
	return o
}

// push commits a file and pushes the commit to a branch. It returns the commit.
func (o *origin) push(branch, name, text string) string {
	o.t.Helper()
	path := filepath.Join(o.work, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		o.t.Fatal(err)
	}
	return o.pushAll(branch)
}

func (o *origin) pushAll(branch string) string {
	o.t.Helper()
	git(o.t, o.work, "add", "--all")
	git(o.t, o.work, "commit", "--quiet", "--message=a change")
	git(o.t, o.work, "push", "--quiet", "--force", "origin", "HEAD:refs/heads/"+branch)
	return git(o.t, o.work, "rev-parse", "HEAD")
}

// A host serves an origin over http.
type host struct {
	*httptest.Server
	requests atomic.Int64
	packs    atomic.Int64  // bytes of its answers
	asked    chan struct{} // one for each request
	seen     sync.Map      // the Authorization headers
	backend  http.Handler

	mu sync.Mutex // guards rules
	rules
}

// rules are how a host treats requests.
type rules struct {
	password string        // empty: anybody may read
	status   int           // what it answers, if not zero
	gate     chan struct{} // each request waits for it, if not nil
}

func (h *host) set(change func(r *rules)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change(&h.rules)
}

// gated makes every request wait until something is sent to the gate, or it is closed.
func (h *host) gated() chan struct{} {
	gate := make(chan struct{})
	h.set(func(r *rules) { r.gate = gate })
	return gate
}

// serve serves o over http. With a password, it is private.
func (o *origin) serve(password string) *host {
	o.t.Helper()
	h := o.handler(password)
	h.Server = httptest.NewServer(h)
	o.t.Cleanup(h.Close)
	return h
}

func (o *origin) handler(password string) *host {
	o.t.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		o.t.Fatal(err)
	}
	return &host{rules: rules{password: password}, asked: make(chan struct{}, 1000), backend: &cgi.Handler{
		Path: path, Args: []string{"http-backend"},
		Env: []string{"GIT_PROJECT_ROOT=" + o.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"},
	}}
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.requests.Add(1)
	var now rules
	h.set(func(r *rules) { now = *r })
	h.asked <- struct{}{}
	if now.gate != nil {
		select {
		case <-now.gate:
		case <-r.Context().Done():
			return
		}
	}
	if auth := r.Header.Get("Authorization"); auth != "" {
		h.seen.Store(auth, true)
	}
	if now.status != 0 {
		http.Error(w, "no", now.status)
		return
	}
	if _, password, _ := r.BasicAuth(); now.password != "" && password != now.password {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	h.backend.ServeHTTP(&counted{ResponseWriter: w, n: &h.packs}, r)
}

func (h *host) repo(branch string) mirror.Repo {
	return mirror.Repo{URL: h.URL + "/o/r.git", Branch: branch}
}

type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// serveDaemon serves o as git:// and returns host and port.
func (o *origin) serveDaemon() string {
	o.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		o.t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { o.daemon(conn) })
		}
	})
	o.t.Cleanup(func() {
		_ = ln.Close()
		all.Wait()
	})
	return ln.Addr().String()
}

func (o *origin) daemon(conn net.Conn) {
	defer conn.Close()
	cmd := exec.Command("git", "daemon", "--inetd", "--export-all", "--informative-errors", "--base-path="+o.root)
	cmd.Stdin, cmd.Stdout = conn, conn
	_ = cmd.Run() // what goes wrong is seen by who connected
}

// A book is a log that can be read.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newMirrors makes a cache in a new directory.
func newMirrors(t *testing.T) (m *mirror.Mirrors, dir string, log *book) {
	t.Helper()
	dir, log = filepath.Join(t.TempDir(), "mirrors"), &book{}
	return mirror.New(mirror.Config{Dir: dir, Log: slog.New(slog.NewTextHandler(log, nil))}), dir, log
}

// unpack prepares repo and unpacks it. It returns the directory and the commit.
func unpack(t *testing.T, m *mirror.Mirrors, repo mirror.Repo) (dir, commit string) {
	t.Helper()
	c, err := m.Prepare(t.Context(), repo, nil)
	if err != nil {
		t.Fatalf("prepare: %v", err)
	}
	defer c.Close()
	dir = t.TempDir()
	n, err := untar(c, dir)
	if err != nil {
		t.Fatalf("unpack: %v", err)
	}
	if n != c.Size {
		t.Errorf("tar has %d bytes, want Size, %d", n, c.Size)
	}
	return dir, c.Commit
}

type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// untar unpacks a tar below dir; what would be elsewhere is an error.
func untar(from io.Reader, dir string) (int64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	in := &counter{Reader: from}
	r := tar.NewReader(in)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, in)
			return in.n, err
		}
		if err != nil {
			return 0, err
		}
		if err := untarOne(root, h, r); err != nil {
			return 0, err
		}
	}
}

func untarOne(root *os.Root, h *tar.Header, r io.Reader) error {
	if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || filepath.IsAbs(h.Name) {
		return errors.New("tells of the host: " + h.Name)
	}
	switch name := strings.TrimSuffix(h.Name, "/"); h.Typeflag {
	case tar.TypeDir:
		return root.Mkdir(name, fs.FileMode(h.Mode))
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(h.Mode))
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close(), root.Chtimes(name, h.ModTime, h.ModTime))
	default:
		return errors.New("unexpected kind of " + h.Name)
	}
}

// clean checks that git finds nothing changed in an unpacked tree.
func clean(t *testing.T, dir string) {
	t.Helper()
	if out := git(t, dir, "status", "--porcelain", "--ignored"); out != "" {
		t.Errorf("git status: %s", out)
	}
}

// contents is the text of all files below dir, by path.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !e.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		found[strings.TrimPrefix(path, dir)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// mirrorDir is the directory of the only mirror in dir.
func mirrorDir(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries in %s, want 1 (%v)", len(entries), dir, err)
	}
	return filepath.Join(dir, entries[0].Name())
}
