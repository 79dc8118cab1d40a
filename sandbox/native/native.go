//go:build linux

// Package native runs sandboxes without a container engine: as processes in Linux
// namespaces of their own, over this machine's system directories.
package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lap/sandbox"
)

// Config says where sandboxes are kept.
type Config struct {
	Dir   string // for sandboxes, of this installation alone
	Cache string // for what all sandboxes of this user share; empty: the user's cache folder, else Dir
	Guest string // the lap binary to run; empty: the running executable
	Tied  bool   // sandboxes end with this process, however it ends
	Log   *slog.Logger
}

// Native is the sandbox.Runtime of this machine's kernel.
type Native struct {
	cfg     Config
	locks   keyed              // of sandboxes, by id
	work    sync.WaitGroup     // goroutines that go on until Close
	deletes sync.WaitGroup     // goroutines that delete files
	ctx     context.Context    // of those goroutines, until Close
	cancel  context.CancelFunc // of ctx
	making  chan struct{}      // full while the base is made

	measuring atomic.Bool // somebody counts the sandboxes' files

	mu       sync.Mutex // guards what follows
	base     *base      // nil: not made yet
	found    *groups    // nil: not looked for yet
	life     *lifeline  // nil: not needed yet
	followed map[string]*followed
	guarding bool // there is a guard
	probed   probe
	pressed  pressure
}

var _ sandbox.Runtime = (*Native)(nil)

// New returns the runtime. It makes nothing before the first sandbox.
func New(cfg Config) *Native {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n := &Native{cfg: cfg, making: make(chan struct{}, 1), followed: map[string]*followed{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// closeTimeout is how long Close waits until removed files are deleted. The next Sweep
// deletes the others.
const closeTimeout = 5 * time.Second

// Close lets go of the sandboxes, which go on unless they are tied to this process. No
// other method may be called after it, but Close.
func (n *Native) Close() error {
	var err error
	if n.cfg.Tied && n.ctx.Err() == nil {
		err = n.endAll()
	}
	stop := time.AfterFunc(closeTimeout, n.cancel)
	n.deletes.Wait()
	stop.Stop()
	n.cancel()
	n.work.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.found != nil {
		n.found.close()
		n.found = nil
	}
	if n.base != nil {
		n.base.lock.Close()
		n.base = nil
	}
	if n.life != nil {
		n.life.close()
		n.life = nil
	}
	return err
}

// Ping returns the kernel's version. The error, which wraps sandbox.ErrUnavailable, says
// what keeps this machine from running sandboxes.
func (n *Native) Ping(ctx context.Context) (string, error) {
	if err := n.possible(ctx); err != nil {
		return "", err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:]), nil
}

// Ensure makes the base that all sandboxes lie on. There are no images.
func (n *Native) Ensure(ctx context.Context, _ string, progress func(string)) error {
	_, err := n.ready(ctx, progress)
	return err
}

// Image is this machine itself, whatever is asked for.
func (n *Native) Image(ctx context.Context, _ string) (sandbox.Image, error) {
	b, err := n.ready(ctx, func(string) {})
	if err != nil {
		return sandbox.Image{}, err
	}
	return sandbox.Image{ID: b.key}, nil
}

// Build names this build of lap.
func (n *Native) Build(context.Context) (string, error) {
	path, err := n.guest()
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("native-%d-%d", info.Size(), info.ModTime().UnixNano()), nil
}

// guest is the path of the lap binary.
func (n *Native) guest() (string, error) {
	if n.cfg.Guest != "" {
		return filepath.Abs(n.cfg.Guest)
	}
	return os.Executable()
}

// ready returns the base, making it on first use.
func (n *Native) ready(ctx context.Context, progress func(string)) (*base, error) {
	select {
	case n.making <- struct{}{}:
		defer func() { <-n.making }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	n.mu.Lock()
	b := n.base
	n.mu.Unlock()
	if b != nil {
		return b, nil
	}
	b, err := openBase(ctx, n.cache(), progress)
	if err != nil {
		return nil, fmt.Errorf("prepare this machine's directories for sandboxes: %w", err)
	}
	n.mu.Lock()
	n.base = b
	n.mu.Unlock()
	return b, nil
}

// cache is the folder of what sandboxes share. A user whose home is not there, or cannot be
// written to, has none but the one of this installation.
func (n *Native) cache() string {
	if n.cfg.Cache != "" {
		return n.cfg.Cache
	}
	dir, err := os.UserCacheDir()
	if err == nil {
		dir = filepath.Join(dir, "lap")
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return n.cfg.Dir
	}
	return dir
}

// groups is where control groups are made.
func (n *Native) groups() *groups {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.found == nil {
		n.found = findGroups(n.cfg.Dir)
	}
	return n.found
}

// makeGroup makes the control groups of one sandbox.
func (n *Native) makeGroup(id string, l sandbox.Limits) (cgroup, error) {
	c, err := n.groups().make(id, l)
	if errors.Is(err, fs.ErrNotExist) {
		n.mu.Lock()
		n.found = nil
		n.mu.Unlock()
		c, err = n.groups().make(id, l)
	}
	return c, err
}
