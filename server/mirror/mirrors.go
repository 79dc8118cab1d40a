// Package mirror keeps bare mirrors of git repositories on the host, and makes from them
// the working trees that go into sandboxes.
//
// A sandbox has no network and no credential of its own, so lap fetches for it. What is
// cached is never what decides: each Prepare asks the repository's host anew, with the
// credential of its own caller.
package mirror

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

const (
	defaultStall = 30 * time.Second
	unusedFor    = 30 * 24 * time.Hour // after that a branch, and a mirror without any, is removed
)

// Config says where mirrors are kept.
type Config struct {
	Dir   string           // made when missing, mode 0700; nothing else may write to it
	Log   *slog.Logger     // nil: nothing is logged
	Now   func() time.Time // nil: time.Now
	Stall time.Duration    // how long a host may be silent before it counts as dead; zero: 30 s
}

// Mirrors is the cache of repositories. Its methods may be called at once.
type Mirrors struct {
	dir   string
	log   *slog.Logger
	now   func() time.Time
	git   git
	mu    sync.Mutex // guards known
	known map[string]*mirror
}

// New makes a cache in cfg.Dir, which may hold what an earlier one left. It does no I/O.
func New(cfg Config) *Mirrors {
	if dir, err := filepath.Abs(cfg.Dir); err == nil { // git runs in other directories
		cfg.Dir = dir
	}
	m := &Mirrors{
		dir: cfg.Dir, log: cfg.Log, now: cfg.Now,
		git:   git{stall: cmp.Or(cfg.Stall, defaultStall)},
		known: make(map[string]*mirror),
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.now == nil {
		m.now = time.Now
	}
	return m
}

// A Checkout is a tar of a working tree with its .git, ready to be read once. When one
// exists nothing can go wrong with the repository any more. The caller closes it.
type Checkout struct {
	io.Reader
	Commit  string // what the branch stood at when Prepare asked
	Size    int64  // of the tar, in bytes
	release func()
}

// Close lets go of the tar; further calls do nothing.
func (c *Checkout) Close() error {
	c.release()
	return nil
}

// Prepare fetches the branch of repo and makes its working tree ready. It reports how far
// it is to progress (nil: nobody asks), from another goroutine, and not after it returned;
// progress must not block.
//
// The error is ctx's, or says in one sentence what a person can do, and wraps one of the
// package's errors when the cause is known.
func (m *Mirrors) Prepare(ctx context.Context, repo Repo, progress func(detail string)) (*Checkout, error) {
	repo, err := repo.check()
	if err != nil {
		return nil, err
	}
	if err := m.git.ready(ctx); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(string) {}
	}
	return m.mirror(repo.name()).prepare(ctx, repo, progress)
}

// mirror is the one of that name in this process, so that its lock is one, too.
func (m *Mirrors) mirror(name string) *mirror {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.known[name]
	if found == nil {
		found = &mirror{
			dir: filepath.Join(m.dir, name), git: &m.git, log: m.log.With("mirror", name), now: m.now,
			turn: make(chan struct{}, 1), waiting: make(map[Repo]*round),
		}
		m.known[name] = found
	}
	return found
}

var mirrorName = regexp.MustCompile(`^[0-9a-f]{40}$`)

// Sweep removes what was not used for a month, and packs what has grown. Mirrors that
// are in use wait for it, and it for them.
func (m *Mirrors) Sweep(ctx context.Context) error {
	entries, err := os.ReadDir(m.dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !mirrorName.MatchString(e.Name()) {
			continue
		}
		if err := m.mirror(e.Name()).sweep(ctx); err != nil {
			return fmt.Errorf("sweep mirror %s: %w", e.Name(), err)
		}
	}
	return nil
}
