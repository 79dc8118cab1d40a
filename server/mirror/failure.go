package mirror

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"
)

// The kinds of failure that a caller can tell apart.
var (
	ErrInvalid     = errors.New("not a repository that lap can fetch")
	ErrNoGit       = errors.New("no usable git")
	ErrCredential  = errors.New("credential missing or refused")
	ErrNoBranch    = errors.New("no such branch")
	ErrNotFound    = errors.New("no such repository")
	ErrEmpty       = errors.New("empty repository")
	ErrUnreachable = errors.New("host not reachable")
	ErrUntrusted   = errors.New("host not trusted")
	ErrDiskFull    = errors.New("disk full")
)

// A failure is an error whose cause is known: a sentence for a person, and its kind.
type failure struct {
	kind error
	text string
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.kind }

func failf(kind error, format string, args ...any) error {
	return &failure{kind: kind, text: fmt.Sprintf(format, args...)}
}

// symptoms are what git, curl and ssh say (LC_ALL=C) about what went wrong, the most
// telling first. They are matched in lower case, without what the remote side says.
var symptoms = []struct {
	kind error
	says []string
}{
	{ErrDiskFull, []string{"no space left on device", "disk quota exceeded", "out of diskspace", "unable to write file"}},
	{ErrNoBranch, []string{"couldn't find remote ref"}},
	{ErrNotFound, []string{"repository not exported", "remote error: no such repository"}},
	{ErrUntrusted, []string{
		"certificate", "ssl_connect", "ssl routines", "ssl connect error", "ssl_error", "gnutls_handshake", "host key verification failed",
	}},
	{ErrCredential, []string{
		"could not read username", "could not read password", "authentication failed", "returned error: 401",
		"returned error: 403", "permission denied (",
	}},
	{ErrNotFound, []string{
		"' not found", "returned error: 404", "returned error: 410", "repository not found", "is this a git repository?",
		"does not appear to be a git repository",
	}},
	{ErrUnreachable, []string{
		"could not resolve", "unable to look up", "connection refused", "couldn't connect", "failed to connect",
		"unable to connect", "timed out", "no route to host", "network is unreachable", "too slow", "connection reset",
		"connection closed", "empty reply", "returned error: 5", "returned error: 429", "rpc failed", "early eof",
		"unexpected disconnect", "hung up unexpectedly", "recv failure", "send failure", "proxy connect",
	}},
	{ErrNotFound, []string{"could not read from remote repository"}}, // ssh, whose server gave no reason that git knows
}

// explain turns what git said about a repository into a failure. What it does not
// understand it returns as an error of no kind.
func (r Repo) explain(err error) error {
	var run *runError
	if !errors.As(err, &run) {
		return fullDisk(r, err)
	}
	if errors.Is(run.cause, errStalled) {
		return failf(ErrUnreachable, "repository %s cannot be fetched, its host is silent: check repo_url, and the network of the machine that lap runs on", r)
	}
	said := r.scrub(run.stderr)
	for _, s := range symptoms {
		for _, words := range s.says {
			if line, ok := r.find(said, words); ok {
				return r.failure(s.kind, line)
			}
		}
	}
	return fmt.Errorf("repository %s cannot be fetched: git %s: %s (%w)", r, run.command, reason(said), run.cause)
}

// find returns the line that has the words in it, other than in the URL.
func (r Repo) find(said, words string) (string, bool) {
	for line := range strings.Lines(said) {
		if strings.Contains(strings.ToLower(strings.ReplaceAll(line, r.URL, "")), words) {
			return line, true
		}
	}
	return "", false
}

// fullDisk gives a failure of the disk its kind.
func fullDisk(r Repo, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return failf(ErrDiskFull, "the disk that holds lap's data directory is full: make room, then create the session for %s again", r)
	}
	return err
}

// failure words a failure of a known kind; line is what git said, scrubbed.
func (r Repo) failure(kind error, line string) error {
	switch {
	case errors.Is(kind, ErrDiskFull):
		return fullDisk(r, syscall.ENOSPC)
	case errors.Is(kind, ErrNoBranch):
		return failf(kind, "repository %s has no branch %q", r, r.Branch)
	case errors.Is(kind, ErrUntrusted):
		return failf(kind, "repository %s cannot be fetched, its host could not prove who it is (%s): lap trusts the certificates and ssh host keys that its machine trusts",
			r, reason(line))
	case errors.Is(kind, ErrCredential):
		return r.refused(line)
	case errors.Is(kind, ErrNotFound):
		return r.notFound()
	default:
		if strings.Contains(line, "returned error: ") {
			return failf(kind, "repository %s cannot be fetched now, its host is in trouble (%s): try again later", r, reason(line))
		}
		return failf(kind, "repository %s cannot be fetched, its host cannot be reached (%s): check repo_url, and the network of the machine that lap runs on",
			r, reason(line))
	}
}

// askedBy matches whom git wanted a user name or password for.
var askedBy = regexp.MustCompile(`could not read (?:Username|Password) for '[a-z]+://(?:[^'/@]*@)?([^'/]+)`)

func (r Repo) refused(line string) error {
	switch found := askedBy.FindStringSubmatch(line); {
	case !r.isHTTP():
		return failf(ErrCredential, "%s refused the ssh key of the user that lap runs as, for repository %s: give that user a key that may read it, or use an https repo_url and %s in the agent's env_vars",
			r.host(), r, r.TokenName)
	case r.Token == "":
		return failf(ErrCredential, "repository %s needs a credential that lap does not have: set %s in the agent's env_vars", r, r.TokenName)
	case found != nil:
		return failf(ErrCredential, "repository %s is redirected to %s, where lap does not send the token in %s: put the new address into repo_url",
			r, cutLine(found[1]), r.TokenName)
	default:
		return failf(ErrCredential, "%s refused the token in %s for repository %s: set one that may read it", r.host(), r.TokenName, r)
	}
}

func (r Repo) notFound() error {
	switch {
	case r.Token != "":
		return failf(ErrNotFound, "repository %s was not found with the token in %s: check repo_url, and that the token may read it", r, r.TokenName)
	case r.isHTTP():
		return failf(ErrNotFound, "repository %s was not found: check repo_url; if it is private, set %s in the agent's env_vars", r, r.TokenName)
	default:
		return failf(ErrNotFound, "repository %s was not found, or may not be read: check repo_url", r)
	}
}
