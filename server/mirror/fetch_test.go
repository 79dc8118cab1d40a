package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/server/mirror"
)

func TestFetchFollowsTheBranch(t *testing.T) {
	o := newOrigin(t)
	for scheme, url := range map[string]string{"http": o.serve("").URL, "git": "git://" + o.serveDaemon()} {
		t.Run(scheme, func(t *testing.T) {
			m, cache, _ := newMirrors(t)
			repo := mirror.Repo{URL: url + "/o/r.git", Branch: "follow-" + scheme}
			check := func(want, text string) {
				t.Helper()
				dir, commit := unpack(t, m, repo)
				clean(t, dir)
				if got, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(got) != text || commit != want {
					t.Errorf("commit %s, f = %q (%v); want %s, %q", commit, got, err, want, text)
				}
			}
			check(o.push(repo.Branch, "f", "1"), "1")
			check(o.push(repo.Branch, "f", "2"), "2")
			git(t, o.work, "reset", "--quiet", "--hard", "HEAD~2")
			check(o.push(repo.Branch, "f", "forced"), "forced")
			check(o.push(repo.Branch, "f", "forced on"), "forced on")
			git(t, o.work, "push", "--quiet", "origin", ":refs/heads/"+repo.Branch)
			fails(t, m, repo, mirror.ErrNoBranch, `"main"`)
			// A branch below the name of one that is gone.
			repo.Branch += "/below"
			check(o.push(repo.Branch, "f", "3"), "3")
			if trees := glob(t, mirrorDir(t, cache), "trees/*"); len(trees) > 3 {
				t.Errorf("%d trees kept: %v", len(trees), trees)
			}
		})
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// random is text that does not compress.
func random(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.N(256))
	}
	return string(b)
}

func TestFetchIsIncremental(t *testing.T) {
	o := newOrigin(t)
	const big = 2 << 20
	o.push("main", "big", random(big))
	h := o.serve("")
	m, _, _ := newMirrors(t)
	sent := func() int64 { defer h.packs.Store(0); return h.packs.Load() }
	unpack(t, m, h.repo("main"))
	if n := sent(); n < big {
		t.Fatalf("first fetch: %d bytes, want at least %d", n, big)
	}
	for _, step := range []func(){
		func() {},
		func() { o.push("main", "small", "s") },
		func() { git(t, o.work, "reset", "--quiet", "--hard", "HEAD~1"); o.push("main", "forced", "s") },
	} {
		step()
		dir, _ := unpack(t, m, h.repo("main"))
		clean(t, dir)
		if n := sent(); n > 20_000 {
			t.Errorf("next fetch: %d bytes, want few", n)
		}
	}
	// Nor does history come along.
	o.push("main", "big", "small now")
	fresh, _, _ := newMirrors(t)
	unpack(t, fresh, h.repo("main"))
	if n := sent(); n > 20_000 {
		t.Errorf("fetch of a small commit after a big one: %d bytes, want few", n)
	}
}

func TestFetchSecondSessionReusesTheTree(t *testing.T) {
	o := newOrigin(t)
	h := o.serve("")
	m, cache, log := newMirrors(t)
	first, err := m.Prepare(t.Context(), h.repo("main"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	unpack(t, m, h.repo("main"))
	if n := strings.Count(log.String(), "working tree made"); n != 1 {
		t.Errorf("%d trees made, want 1:\n%s", n, log)
	}
	// One that is being read stays readable when others have pushed it out.
	for i := range 5 {
		o.push("main", "f", fmt.Sprint(i))
		unpack(t, m, h.repo("main"))
	}
	if trees := glob(t, mirrorDir(t, cache), "trees/"+first.Commit+"*"); len(trees) != 0 {
		t.Errorf("%v is kept", trees)
	}
	if n, err := untar(first, t.TempDir()); err != nil || n != first.Size {
		t.Errorf("untar = %d, %v; want %d", n, err, first.Size)
	}
	if err := errors.Join(first.Close(), first.Close()); err != nil {
		t.Error(err)
	}
}

func TestFetchManyAtOnce(t *testing.T) {
	o := newOrigin(t)
	o.push("main", "big", random(1<<20))
	o.push("other", "big", random(1<<20))
	h := o.serve(token)
	gate := h.gated()
	m, cache, log := newMirrors(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			repo := h.repo([]string{"main", "other"}[i%2])
			repo.Token = token
			dir, _ := unpack(t, m, repo)
			clean(t, dir)
		})
	}
	all.Go(func() { fails(t, m, h.repo("main"), mirror.ErrCredential) })
	<-h.asked
	close(gate)
	all.Wait()
	if n := strings.Count(log.String(), "working tree made"); n != 2 {
		t.Errorf("%d trees made, want 2", n)
	}
	// Three requests a round, and a round for: the first, the rest of each branch, the refused.
	if n := h.requests.Load(); n > 30 {
		t.Errorf("%d requests for 21 sessions: they share nothing", n)
	}
	if left := glob(t, mirrorDir(t, cache), "tmp-*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestFetchProgress(t *testing.T) {
	o := newOrigin(t)
	o.push("main", "big", random(1<<20))
	h := o.serve("")
	m, _, _ := newMirrors(t)
	var told []string
	c, err := m.Prepare(t.Context(), h.repo("main"), func(detail string) { told = append(told, detail) })
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	all := strings.Join(told, "\n")
	for _, want := range []string{"fetching 127.0.0.1", "%", "preparing the working tree"} {
		if !strings.Contains(all, want) {
			t.Errorf("progress = %q, want %q in it", told, want)
		}
	}
}

// Who gives up does not wait, and does not take others with him; the last one ends git.
func TestFetchCancel(t *testing.T) {
	o := newOrigin(t)
	h := o.serve("")
	gate := h.gated()
	m, cache, _ := newMirrors(t)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error)
	for range 2 {
		go func() {
			_, err := m.Prepare(ctx, h.repo("main"), nil)
			errs <- err
		}()
	}
	<-h.asked
	patient := make(chan error)
	go func() {
		c, err := m.Prepare(t.Context(), h.repo("main"), nil)
		if err == nil {
			err = c.Close()
		}
		patient <- err
	}()
	cancel()
	for range 2 {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want canceled", err)
		}
	}
	close(gate)
	if err := <-patient; err != nil {
		t.Errorf("who did not give up: %v", err)
	}
	if found := running(t, cache); len(found) > 0 {
		t.Errorf("still running: %v", found)
	}
}

// running lists the command lines and environments of processes that have text in them.
func running(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	for _, file := range append(glob(t, "/proc", "[0-9]*/cmdline"), glob(t, "/proc", "[0-9]*/environ")...) {
		if b, err := os.ReadFile(file); err == nil && bytes.Contains(b, []byte(text)) && !strings.Contains(file, fmt.Sprintf("/%d/", os.Getpid())) {
			found = append(found, file)
		}
	}
	return found
}

func TestFetchDeadline(t *testing.T) {
	o := newOrigin(t)
	h := o.serve("")
	gate := h.gated()
	m, cache, _ := newMirrors(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := m.Prepare(ctx, h.repo("main"), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want the deadline", err)
	}
	if found := running(t, cache); len(found) > 0 {
		t.Errorf("still running: %v", found)
	}
	close(gate)
	dir, _ := unpack(t, m, h.repo("main"))
	clean(t, dir)
}

// What a crash leaves does not break the next run.
func TestFetchAfterACrash(t *testing.T) {
	o := newOrigin(t)
	h := o.serve("")
	for _, tt := range []struct {
		name string
		harm func(t *testing.T, dir string)
	}{
		{"locks", func(t *testing.T, dir string) {
			t.Helper()
			refs := glob(t, dir, "repo.git/refs/lap/*")
			for _, name := range []string{refs[0], dir + "/repo.git/shallow", dir + "/repo.git/HEAD", dir + "/repo.git/packed-refs", dir + "/repo.git/config"} {
				write(t, name+".lock", "")
			}
		}},
		{"unfinished", func(t *testing.T, dir string) {
			t.Helper()
			write(t, dir+"/repo.git/objects/pack/tmp_pack_x", "PACK")
			write(t, dir+"/tmp-1/repo.git/HEAD", "x")
			write(t, dir+"/tmp-2/tree.tar", "x")
		}},
		{"half a tree", func(t *testing.T, dir string) { t.Helper(); write(t, glob(t, dir, "trees/*.tar")[0], "") }},
		{"HEAD gone", func(t *testing.T, dir string) { t.Helper(); remove(t, dir+"/repo.git/HEAD") }},
		{"config is noise", func(t *testing.T, dir string) { t.Helper(); write(t, dir+"/repo.git/config", random(100)) }},
		{"shallow is noise", func(t *testing.T, dir string) { t.Helper(); write(t, dir+"/repo.git/shallow", "no\n") }},
		{"ref is empty", func(t *testing.T, dir string) { t.Helper(); write(t, glob(t, dir, "repo.git/refs/lap/*")[0], "") }},
		{"packs are gone", func(t *testing.T, dir string) { t.Helper(); remove(t, glob(t, dir, "repo.git/objects/pack/*")...) }},
		{"packs are cut", func(t *testing.T, dir string) { t.Helper(); cut(t, glob(t, dir, "repo.git/objects/pack/*.pack")[0]) }},
		{"indexes are cut", func(t *testing.T, dir string) { t.Helper(); cut(t, glob(t, dir, "repo.git/objects/pack/*.idx")[0]) }},
		{"repository is a file", func(t *testing.T, dir string) {
			t.Helper()
			remove(t, dir+"/repo.git")
			write(t, dir+"/repo.git", "x")
		}},
		{"repository is empty", func(t *testing.T, dir string) { t.Helper(); remove(t, glob(t, dir, "repo.git/*")...) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, cache, _ := newMirrors(t)
			unpack(t, m, h.repo("main"))
			tt.harm(t, mirrorDir(t, cache))
			m = mirror.New(mirror.Config{Dir: cache})
			dir, _ := unpack(t, m, h.repo("main"))
			clean(t, dir)
			git(t, dir, "fsck", "--strict")
			left := append(glob(t, mirrorDir(t, cache), "repo.git/*.lock"), glob(t, mirrorDir(t, cache), "tmp-*")...)
			if left = append(left, glob(t, mirrorDir(t, cache), "repo.git/objects/pack/tmp_*")...); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

// cut leaves half of a file.
func cut(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(b[:len(b)/2]))
}

// A mirror that cannot be read for another reason than its host's is not thrown away.
func TestFetchKeepsTheMirrorWhenTheHostFails(t *testing.T) {
	o := newOrigin(t)
	h := o.serve("")
	m, cache, _ := newMirrors(t)
	unpack(t, m, h.repo("main"))
	before := glob(t, mirrorDir(t, cache), "repo.git/objects/pack/*")
	h.set(func(r *rules) { r.status = 500 })
	fails(t, m, h.repo("main"), mirror.ErrUnreachable, "500")
	h.set(func(r *rules) { r.status = 0 })
	unpack(t, m, h.repo("main"))
	if after := glob(t, mirrorDir(t, cache), "repo.git/objects/pack/*"); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("packs = %v, want %v", after, before)
	}
}

func TestFetchIgnoresTheHostsConfiguration(t *testing.T) {
	o := newOrigin(t)
	h := o.serve("")
	home, trace := t.TempDir(), filepath.Join(t.TempDir(), "trace")
	write(t, home+"/.gitconfig", "[url \"http://127.0.0.1:1/\"]\n\tinsteadOf = http://\n[core]\n\tautocrlf = true\n")
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("GIT_TRACE_CURL", trace)
	t.Setenv("GIT_DIR", home)
	t.Setenv("GIT_CONFIG_PARAMETERS", "'core.autocrlf'='true'")
	m, _, _ := newMirrors(t)
	c, err := m.Prepare(t.Context(), h.repo("main"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text, err := io.ReadAll(c)
	if err != nil || bytes.Contains(text, []byte("first\r\n")) || !bytes.Contains(text, []byte("first\n")) {
		t.Errorf("tree is made with the host's settings (%v)", err)
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("a trace was written")
	}
}
