package mirror_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lap/server/mirror"
)

// Who has no right to a repository gets nothing of it, whatever is cached.
func TestCredentialIsAskedForEachTime(t *testing.T) {
	o := newOrigin(t)
	h := o.serve(token)
	m, cache, _ := newMirrors(t)
	right, wrong, none := h.repo("main"), h.repo("main"), h.repo("main")
	right.Token, wrong.Token = token+"\n", "wr0ng" // a line's end is no part of it
	for range 2 {
		dir, _ := unpack(t, m, right)
		clean(t, dir)
		fails(t, m, wrong, mirror.ErrCredential, "refused")
		fails(t, m, none, mirror.ErrCredential, "needs a credential")
	}
	// Taken back, it opens no more.
	h.set(func(r *rules) { r.password = "new" })
	fails(t, m, right, mirror.ErrCredential, "refused")
	m = mirror.New(mirror.Config{Dir: cache})
	fails(t, m, right, mirror.ErrCredential, "refused")
}

// The machine's own credentials are not the caller's.
func TestCredentialIsNotTheMachines(t *testing.T) {
	o := newOrigin(t)
	h := o.serve(token)
	home := t.TempDir()
	write(t, home+"/.netrc", "machine 127.0.0.1 login x password "+token+"\n")
	write(t, home+"/.git-credentials", strings.Replace(h.URL, "http://", "http://x:p@", 1)+"\n")
	write(t, home+"/.gitconfig", "[credential]\n\thelper = store\n")
	write(t, home+"/askpass", "#!/bin/sh\necho "+token+"\n")
	if err := os.Chmod(home+"/askpass", 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("GIT_ASKPASS", home+"/askpass")
	t.Setenv("SSH_ASKPASS", home+"/askpass")
	m, _, _ := newMirrors(t)
	fails(t, m, h.repo("main"), mirror.ErrCredential, "needs a credential")
}

func TestCredentialUser(t *testing.T) {
	o := newOrigin(t)
	h := o.serve(token)
	m, _, _ := newMirrors(t)
	for _, tt := range []struct{ in, user string }{{"", "x-access-token"}, {"me@", "me"}} {
		repo := mirror.Repo{URL: strings.Replace(h.URL, "http://", "http://"+tt.in, 1) + "/o/r.git", Branch: "main", Token: token}
		dir, _ := unpack(t, m, repo)
		if got := git(t, dir, "remote", "get-url", "origin"); got != repo.URL {
			t.Errorf("origin = %s, want %s", got, repo.URL)
		}
		if _, ok := h.seen.Load("Basic " + base64.StdEncoding.EncodeToString([]byte(tt.user+":"+token))); !ok {
			t.Errorf("not asked as %s", tt.user)
		}
	}
}

// A redirect within the host is followed; one to another host gets no token.
func TestCredentialStaysWithItsHost(t *testing.T) {
	o := newOrigin(t)
	other := o.serve(token)
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.RequestURI(), http.StatusMovedPermanently)
	}))
	t.Cleanup(away.Close)
	m, _, _ := newMirrors(t)
	fails(t, m, mirror.Repo{URL: away.URL + "/o/r.git", Branch: "main", Token: token}, mirror.ErrCredential,
		"is redirected to "+strings.TrimPrefix(other.URL, "http://"), "GITHUB_TOKEN")
	other.seen.Range(func(key, _ any) bool { t.Errorf("the other host was given %v", key); return false })

	here := o.handler(token)
	here.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to, old := strings.CutPrefix(r.URL.RequestURI(), "/old/"); old {
			http.Redirect(w, r, "/o/"+to, http.StatusMovedPermanently)
			return
		}
		here.ServeHTTP(w, r)
	}))
	t.Cleanup(here.Close)
	dir, _ := unpack(t, m, mirror.Repo{URL: here.URL + "/old/r.git", Branch: "main", Token: token})
	clean(t, dir)
}

// While git runs and after it, the token stands nowhere but in the environment of git.
func TestCredentialIsNowhere(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("no /proc here")
	}
	o := newOrigin(t)
	h := o.serve(token)
	gate := h.gated()
	m, cache, log := newMirrors(t)
	repo := h.repo("main")
	repo.Token = token
	done := make(chan struct{})
	go func() {
		defer close(done)
		unpack(t, m, repo)
	}()
	for range 3 { // the requests of a private fetch: without, with, and for the pack
		<-h.asked
		seen := false
		for _, file := range running(t, token) {
			if strings.HasSuffix(file, "/cmdline") {
				t.Errorf("%s has the token", file)
			}
			seen = true
		}
		if !seen {
			t.Error("no git is running that has the token; is this test looking at the right thing?")
		}
		absent(t, cache)
		gate <- struct{}{}
	}
	close(gate)
	<-done
	absent(t, cache)
	wrong := repo
	wrong.Token = token + "x"
	fails(t, m, wrong, mirror.ErrCredential)
	wrong.Branch, wrong.Token = "nope", token
	fails(t, m, wrong, mirror.ErrNoBranch)
	if strings.Contains(log.String(), token) {
		t.Errorf("the log has the token: %s", log)
	}
	absent(t, cache)
	absent(t, os.Getenv("HOME")+"/.cache/git")
}

// absent checks that no file below dir has the token in it, plain or as it is sent.
func absent(t *testing.T, dir string) {
	t.Helper()
	for path, text := range contents(t, dir) {
		if strings.Contains(text, token) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("x-access-token:"+token))) {
			t.Errorf("%s has the token", filepath.Join(dir, path))
		}
	}
}
