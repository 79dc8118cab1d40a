package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lap/client"
)

// hostedRepository makes a repository with a commit on main and serves it over HTTP on
// loopback: /open/r.git to everybody, /private/r.git to who has the token.
func hostedRepository(t *testing.T, token string) (url string) {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		if os.Getenv("LAP_TEST_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs git: %v", err)
	}
	root, work := t.TempDir(), t.TempDir()
	run := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), git, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	run(work, "init", "-q", "-b", "main")
	if err := os.WriteFile(filepath.Join(work, "hello.txt"), []byte("hello\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(work, "add", ".")
	run(work, "commit", "-q", "-m", "the first")
	run(root, "clone", "-q", "--bare", work, "r.git")
	backend := &cgi.Handler{Path: git, Args: []string{"http-backend"}, Env: []string{
		"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.receivepack", "GIT_CONFIG_VALUE_0=true",
	}}
	mux := http.NewServeMux()
	mux.Handle("/open/", http.StripPrefix("/open", backend))
	mux.HandleFunc("/private/", func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		http.StripPrefix("/private", backend).ServeHTTP(w, r)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestRepositoryInTheSandbox(t *testing.T) { onEach(t, testRepositoryInTheSandbox) }

func testRepositoryInTheSandbox(t *testing.T, on runtime) {
	const token = "repository-token-0123456789"
	host := hostedRepository(t, token)
	s := on.serve(t, options{})
	agent := s.agent(t, client.NewAgent{RepoURL: host + "/private/r.git", EnvVars: map[string]string{"GITHUB_TOKEN": token}})
	sess := s.session(t, agent.ID, client.NewSession{})
	s.needs(t, sess.ID, "git")
	got := s.sh(t, sess.ID, "git status --porcelain; git remote get-url origin; git log --format=%s; cat .git/config | grep -c token")
	if want := host + "/private/r.git\nthe first\n0"; got != want+"\n[exit code 1]" && got != want {
		t.Errorf("the sandbox says %q, want %q", got, want)
	}
	s.sh(t, sess.ID, "echo more >> hello.txt; echo new > new.txt")
	diff, err := s.Diff(t.Context(), sess.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer diff.Close()
	text, err := io.ReadAll(diff)
	if err != nil || !strings.Contains(string(text), "\n+more\n") || !strings.Contains(string(text), "+++ b/new.txt") {
		t.Errorf("diff = %s, %v", text, err)
	}
	if status := s.sh(t, sess.ID, "git status --porcelain"); status != "M hello.txt\n?? new.txt" && status != " M hello.txt\n?? new.txt" {
		t.Errorf("the diff changed the index: %q", status)
	}
}

func TestRepositoriesThatCannotBeHad(t *testing.T) { onEach(t, testRepositoriesThatCannotBeHad) }

func testRepositoriesThatCannotBeHad(t *testing.T, on runtime) {
	host := hostedRepository(t, "the-right-token")
	s := on.serve(t, options{env: []string{"WARM_POOL_SIZE=0"}})
	for name, tt := range map[string]struct {
		agent client.NewAgent
		want  []string
	}{
		"private":        {client.NewAgent{RepoURL: host + "/private/r.git"}, []string{"needs a credential", "GITHUB_TOKEN"}},
		"wrong token":    {client.NewAgent{RepoURL: host + "/private/r.git", EnvVars: map[string]string{"GH_TOKEN": "wrong"}}, []string{"refused", "GH_TOKEN"}},
		"missing branch": {client.NewAgent{RepoURL: host + "/open/r.git", Branch: "nope"}, []string{`no branch "nope"`, `"main"`}},
		"unreachable":    {client.NewAgent{RepoURL: "http://127.0.0.1:1/r.git"}, []string{"127.0.0.1:1/r", "cannot be reached"}},
	} {
		t.Run(name, func(t *testing.T) {
			reason := s.failure(t, s.agent(t, tt.agent).ID, client.NewSession{})
			for _, want := range tt.want {
				if !strings.Contains(reason, want) {
					t.Errorf("failure_reason %q does not say %q", reason, want)
				}
			}
		})
	}
}

func TestFilesInAndOut(t *testing.T) { onEach(t, testFilesInAndOut) }

func testFilesInAndOut(t *testing.T, on runtime) {
	s := on.serve(t, options{})
	sess := s.session(t, s.agent(t, client.NewAgent{}).ID, client.NewSession{})
	big := bytes.Repeat([]byte("0123456789abcdef"), 4<<20) // 64 MiB
	if err := s.WriteFile(t.Context(), sess.ID, "/work/big", bytes.NewReader(big)); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(big)
	if got := s.sh(t, sess.ID, "sha256sum < /work/big"); !strings.HasPrefix(got, hex.EncodeToString(sum[:])) {
		t.Errorf("in the sandbox it is %s", got)
	}
	out, err := s.ReadFile(t.Context(), sess.ID, "/work/big")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if back, err := io.ReadAll(out); err != nil || !bytes.Equal(back, big) {
		t.Errorf("%d bytes came back, %v", len(back), err)
	}

	s.sh(t, sess.ID, "mkdir -p d/e; echo x > d/e/f; ln -s /etc/passwd d/link")
	archive, err := s.ReadFile(t.Context(), sess.ID, "d")
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	var names []string
	for members := tar.NewReader(archive); ; {
		h, err := members.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimSuffix(h.Name, "/"))
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "e/f") || !strings.Contains(got, "link") {
		t.Errorf("the archive has %s", got)
	}

	var evil bytes.Buffer
	w := tar.NewWriter(&evil)
	for _, h := range []*tar.Header{
		{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		{Name: "out/evil", Typeflag: tar.TypeReg, Mode: 0o644, Size: 4},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, "evil"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var refused *client.Error
	if err := s.Unpack(t.Context(), sess.ID, "/work/in", &evil); !errors.As(err, &refused) || refused.Status != 400 {
		t.Errorf("an archive that leaves its directory: %v, want 400", err)
	}
	if got := s.sh(t, sess.ID, "ls /etc/evil 2>&1 || true"); !strings.Contains(got, "No such file") {
		t.Errorf("it is there: %s", got)
	}
	if _, err := s.ReadFile(t.Context(), sess.ID, "/no/such"); !errors.As(err, &refused) || refused.Status != 404 {
		t.Errorf("a missing file: %v, want 404", err)
	}
}
