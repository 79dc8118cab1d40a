package mirror_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lap/server/mirror"
)

// fails prepares repo, wants it to fail as kind with all these words, and nothing kept.
func fails(t *testing.T, m *mirror.Mirrors, repo mirror.Repo, kind error, words ...string) {
	t.Helper()
	c, err := m.Prepare(t.Context(), repo, nil)
	if err == nil {
		c.Close()
		t.Fatal("prepared, want an error")
	}
	t.Log(err)
	if !errors.Is(err, kind) {
		t.Errorf("error = %v, want kind %v", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error = %q, want %q in it", err, w)
		}
	}
	if repo.Token != "" && strings.Contains(err.Error(), repo.Token) || strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("error = %q, has the token or several lines in it", err)
	}
}

func TestFailuresOfHTTP(t *testing.T) {
	o := newOrigin(t)
	for _, name := range []string{"b1", "b2", "b3", "b4", "b5", "b6", "b7"} {
		o.push(name, "f", name)
	}
	git(t, o.root, "init", "--quiet", "--bare", "o/empty.git")
	public, private := o.serve(""), o.serve(token)
	address := func(h *host) string { return strings.TrimPrefix(h.URL, "http://") }
	with := func(h *host, path, branch, token string) mirror.Repo {
		return mirror.Repo{URL: h.URL + path, Branch: branch, Token: token}
	}
	for _, tt := range []struct {
		name  string
		repo  mirror.Repo
		kind  error
		words []string
	}{
		{"no token", with(private, "/o/r.git", "main", ""), mirror.ErrCredential, []string{"repository " + address(private) + "/o/r needs a credential", "set GITHUB_TOKEN"}},
		{"wrong token", with(private, "/o/r", "main", "wr0ng"), mirror.ErrCredential, []string{address(private) + " refused the token in GITHUB_TOKEN", "/o/r"}},
		{"token of two lines", with(private, "/o/r", "main", "a\nb"), mirror.ErrCredential, []string{"GITHUB_TOKEN"}},
		{"branch missing", with(public, "/o/r.git", "nope", ""), mirror.ErrNoBranch, []string{`no branch "nope"`, `default branch is "main"`, `others are "b1", "b2"`, "and 2 more"}},
		{"branch missing, private", with(private, "/o/r.git", "-nope", token), mirror.ErrNoBranch, []string{`no branch "-nope"`, `"main"`}},
		{"empty repository", with(public, "/o/empty.git", "main", ""), mirror.ErrEmpty, []string{"/o/empty is empty", "push"}},
		{"not found", with(public, "/o/gone.git", "main", ""), mirror.ErrNotFound, []string{"/o/gone was not found", "set GITHUB_TOKEN"}},
		{"not found, with a token", with(private, "/o/gone", "main", token), mirror.ErrNotFound, []string{"/o/gone was not found with the token in GITHUB_TOKEN"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, dir, _ := newMirrors(t)
			fails(t, m, tt.repo, tt.kind, tt.words...)
			if entries, err := os.ReadDir(dir); !errors.Is(err, os.ErrNotExist) && len(entries) > 0 {
				t.Errorf("%d entries left, want none (%v)", len(entries), err)
			}
		})
	}
	named := with(private, "/o/r.git", "main", "")
	named.TokenName = "GIT_TOKEN"
	m, _, _ := newMirrors(t)
	fails(t, m, named, mirror.ErrCredential, "set GIT_TOKEN")
}

func TestFailuresByStatus(t *testing.T) {
	o := newOrigin(t)
	for status, kind := range map[int]error{
		http.StatusForbidden: mirror.ErrCredential, http.StatusInternalServerError: mirror.ErrUnreachable,
		http.StatusServiceUnavailable: mirror.ErrUnreachable, http.StatusGone: mirror.ErrNotFound,
		http.StatusTooManyRequests: mirror.ErrUnreachable,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			h := o.serve("")
			h.set(func(r *rules) { r.status = status })
			m, _, _ := newMirrors(t)
			fails(t, m, h.repo("main"), kind, "/o/r")
		})
	}
}

func TestFailuresOfHosts(t *testing.T) {
	o := newOrigin(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<html>\n<head>\n</head>\n</html>\n")
	}))
	t.Cleanup(html.Close)
	daemon := o.serveDaemon()
	unresolvable := strings.Repeat("x", 64) + ".invalid" // too long a label: no name server is asked
	for _, tt := range []struct {
		name, url string
		kind      error
		words     []string
	}{
		{"http refused", "http://" + refused + "/o/r", mirror.ErrUnreachable, []string{refused + "/o/r cannot be fetched", "cannot be reached (Failed to connect"}},
		{"git refused", "git://" + refused + "/o/r", mirror.ErrUnreachable, []string{refused + "/o/r cannot be fetched", "Connection refused"}},
		{"ssh refused", "ssh://git@" + refused + "/o/r", mirror.ErrUnreachable, []string{refused + "/o/r cannot be fetched", "Connection refused"}},
		{"no such name", "http://" + unresolvable + "/o/r", mirror.ErrUnreachable, []string{"repository " + unresolvable + "/o/r cannot", "resolve"}},
		{"no such name, git", "git://" + unresolvable + "/o/r", mirror.ErrUnreachable, []string{"repository " + unresolvable + "/o/r cannot"}},
		{"certificate", secure.URL + "/o/r", mirror.ErrUntrusted, []string{"could not prove who it is", "certificate"}},
		{"tls to a host without it", strings.Replace(html.URL, "http", "https", 1) + "/o/r", mirror.ErrUntrusted, []string{"could not prove"}},
		{"a web site", html.URL + "/o/r", mirror.ErrNotFound, []string{"not found"}},
		{"git not exported", "git://" + daemon + "/o/gone.git", mirror.ErrNotFound, []string{"/o/gone was not found"}},
		{"git branch missing", "git://" + daemon + "/o/r.git", mirror.ErrNoBranch, []string{`no branch "nope"`, `"main"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, _, _ := newMirrors(t)
			fails(t, m, mirror.Repo{URL: tt.url, Branch: "nope"}, tt.kind, tt.words...)
		})
	}
}

func TestFailuresOfRequests(t *testing.T) {
	for _, tt := range []struct {
		name, url, branch string
	}{
		{"no scheme", "github.com/o/r", "main"},
		{"a file", "file:///etc", "main"},
		{"a command", "ext::sh -c id", "main"},
		{"no host", "https:///o/r", "main"},
		{"a password", "https://u:hunter2@github.invalid/o/r", "main"},
		{"a token as its user", "https://ghp_hunter2@github.invalid/o/r", "main"},
		{"a password for ssh", "ssh://u:hunter2@github.invalid/o/r", "main"},
		{"no branch", "https://github.invalid/o/r", ""},
		{"a refspec", "https://github.invalid/o/r", "a:refs/heads/b"},
		{"a pattern", "https://github.invalid/o/r", "*"},
		{"a range", "https://github.invalid/o/r", "a..b"},
		{"a NUL", "https://github.invalid/o/r", "a\x00b"},
		{"a lock", "https://github.invalid/o/r", "a.lock/b"},
		{"a dot", "https://github.invalid/o/r", ".a"},
		{"empty part", "https://github.invalid/o/r", "a//b"},
		{"reflog", "https://github.invalid/o/r", "a@{1}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, dir, _ := newMirrors(t)
			repo := mirror.Repo{URL: tt.url, Branch: tt.branch}
			fails(t, m, repo, mirror.ErrInvalid)
			if _, err := m.Prepare(t.Context(), repo, nil); strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error = %v, tells the password", err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("a directory was made")
			}
		})
	}
}

// A host that takes connections and says nothing is given up.
func TestFailureOfASilentHost(t *testing.T) {
	needGit(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	for _, scheme := range []string{"http", "git", "ssh"} {
		t.Run(scheme, func(t *testing.T) {
			m := mirror.New(mirror.Config{Dir: t.TempDir(), Stall: 300 * time.Millisecond})
			began := time.Now()
			fails(t, m, mirror.Repo{URL: scheme + "://" + ln.Addr().String() + "/o/r", Branch: "main"}, mirror.ErrUnreachable, "silent")
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestFailureWithoutGit(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	m, _, _ := newMirrors(t)
	fails(t, m, mirror.Repo{URL: "https://github.invalid/o/r", Branch: "main"}, mirror.ErrNoGit, "git is not installed where lap runs", "without repo_url")
}

func TestFailureOfAnOldGit(t *testing.T) {
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "git"), []byte("#!/bin/sh\necho git version 2.25.1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", path)
	m, _, _ := newMirrors(t)
	fails(t, m, mirror.Repo{URL: "https://github.invalid/o/r", Branch: "main"}, mirror.ErrNoGit, "git 2.25 is too old", "2.32")
}
