package audit

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The private repository, and one that takes no token at all.
const (
	repoPath   = "/private/r.git"
	refusePath = "/refuse/r.git"
)

// repository makes a git repository in dir that needs the token, and returns its host's
// handler; nil without git.
func repository(ctx context.Context, dir, token string) (http.Handler, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, nil //nolint:nilerr // it is not needed
	}
	work := filepath.Join(dir, "work")
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", work},
		{"-C", work, "commit", "-q", "--allow-empty", "-m", "the first"},
		{"clone", "-q", "--bare", work, filepath.Join(dir, "r.git")},
	} {
		cmd := exec.CommandContext(ctx, git, args...)
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + os.DevNull, "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	backend := &cgi.Handler{Path: git, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1"}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		if password != token || strings.HasPrefix(r.URL.Path, refusePath) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git `+password+`"`)
			http.Error(w, "the password "+password+" is wrong", http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization") // else it is in the environment of the backend
		http.StripPrefix("/private", backend).ServeHTTP(w, r)
	}), nil
}
