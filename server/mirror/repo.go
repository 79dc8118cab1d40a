package mirror

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
)

// A Repo is a branch of a repository, and the right to read it.
type Repo struct {
	URL       string // http, https, ssh or git; without a password, and without a user that HasToken
	Branch    string
	Token     string // for http and https; empty: none
	TokenName string // the variable that Token came from, for messages; empty: GITHUB_TOKEN
}

// check returns r as the package uses it, or what is wrong with it.
func (r Repo) check() (Repo, error) {
	if r.TokenName == "" {
		r.TokenName = "GITHUB_TOKEN"
	}
	r.Token = strings.TrimSpace(r.Token)
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "ssh", "git"}, u.Scheme):
		return r, failf(ErrInvalid, "repo_url must be an absolute URL with scheme https, http, ssh or git")
	case hasPassword(u):
		return r, failf(ErrInvalid, "repo_url of %s must not contain a password: put the token into env_vars as %s", r, r.TokenName)
	case HasToken(u):
		return r, failf(ErrInvalid, "repo_url of %s must not contain a token as its user: put it into env_vars as %s", r, r.TokenName)
	case !goodBranch(r.Branch):
		return r, failf(ErrInvalid, "branch %q is not a name that git allows", r.Branch)
	case strings.ContainsAny(r.Token, "\r\n\x00"):
		return r, failf(ErrCredential, "the value of %s is not a token: it has more than one line", r.TokenName)
	}
	if !r.isHTTP() {
		r.Token = "" // ssh and git have no use for it
	}
	return r, nil
}

func hasPassword(u *url.URL) bool {
	_, has := u.User.Password()
	return has
}

// goodBranch reports whether git would take a branch of that name: what `git
// check-ref-format refs/heads/<name>` says.
func goodBranch(name string) bool {
	if name == "" || name == "@" || strings.ContainsAny(name, " ~^:?*[\\\x7f") || strings.HasSuffix(name, ".") ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") ||
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

func (r Repo) parsed() *url.URL {
	u, err := url.Parse(r.URL)
	if err != nil {
		return &url.URL{}
	}
	return u
}

func (r Repo) isHTTP() bool { return strings.HasPrefix(r.parsed().Scheme, "http") }

// host is where the repository lives, with its port, without a user.
func (r Repo) host() string { return r.parsed().Host }

// String names the repository to a person: host and path, nothing of a user.
func (r Repo) String() string {
	u := r.parsed()
	return u.Host + strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), ".git")
}

// name is the directory of the URL's mirror.
func (r Repo) name() string { return digest(r.URL)[:40] }

// ref is where a mirror keeps the branch. A branch a/b cannot live beside the remains of a
// branch a, nor A beside a on some disks; digests can.
func (r Repo) ref() string { return branchRefs + digest(r.Branch)[:40] }

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// longUser is how long the user of a URL is at least that counts as a token.
const longUser = 20

// tokenPrefixes begin the tokens of well-known hosts.
var tokenPrefixes = []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "glptt-", "gldt-", "ATATT", "ATBB"}

// HasToken reports whether the user of a URL looks like a token, which many hosts take in
// that place. A URL is stored and shown as it is, also to the agent.
func HasToken(u *url.URL) bool {
	if u.User == nil || u.Scheme == "ssh" {
		return false
	}
	name := u.User.Username()
	return len(name) >= longUser || slices.ContainsFunc(tokenPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
