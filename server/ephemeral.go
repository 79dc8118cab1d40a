package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lap/db"
	"lap/sandbox"
)

// LoadEphemeral is Load for a server that leaves nothing behind. It listens on a free port
// of loopback unless a flag says otherwise; it logs only warnings and keeps no sandbox warm
// unless the environment does. Its URL is that of its port, whatever BASE_URL is there for.
// Its keys are in no file, and DataDir is where New makes a data directory that goes with
// the server.
func LoadEphemeral(environ []string, flags map[string]string) (Settings, []string, error) {
	own := map[string]string{"listen": "127.0.0.1:0"} // rather than PORT, which tests inherit
	maps.Copy(own, flags)
	own["data-dir"] = os.TempDir()
	others := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		return strings.HasPrefix(entry, "BASE_URL=") || strings.HasPrefix(entry, "LAP_BASE_URL=") // of the tests' own programs
	})
	s, warnings, err := Load(append([]string{"LAP_LOG=warn", "WARM_POOL_SIZE=0"}, others...), own) // a later entry wins
	s.Ephemeral = true
	if s.MasterKey == "" {
		s.MasterKey = newMasterKey()
	}
	if s.EncryptionKey == nil {
		s.EncryptionKey = randomBytes(db.KeySize)
	}
	return s, warnings, err
}

const (
	ephemeralDrain = 500 * time.Millisecond // for requests that run when an ephemeral server is told to stop
	clearTimeout   = 20 * time.Second       // for the removal of an ephemeral server's sandboxes
	lookTimeout    = time.Second            // for a look whether there are any, where none is known
	removesAtOnce  = 16                     // sandboxes that are being removed
)

// removeSandboxes removes every sandbox of a runtime's installation. It begins no further
// removal when ctx has ended.
func removeSandboxes(ctx context.Context, r sandbox.Runtime) error {
	boxes, err := r.List(ctx)
	if err != nil {
		return err
	}
	var (
		g    errgroup.Group
		mu   sync.Mutex // guards errs
		errs []error
	)
	g.SetLimit(removesAtOnce)
	for _, box := range boxes {
		g.Go(func() error {
			err := ctx.Err()
			if err == nil {
				err = r.Remove(ctx, box.ID)
			}
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			return nil
		})
	}
	return errors.Join(append(errs, g.Wait())...)
}

// clear removes all sandboxes of an ephemeral server, whose engine has stopped. If it
// cannot, the data directory stays, since only from there they are found again.
func (s *Server) clear(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	none, limit := noSandboxes(ctx, s.store), clearTimeout
	if none {
		limit = lookTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := removeSandboxes(ctx, s.runtime)
	if err == nil || none {
		return nil
	}
	s.keepDir = true
	return fmt.Errorf("sandboxes are left, which the next \"lap serve --ephemeral\" removes: %w", err)
}

// noSandboxes reports whether an installation surely has no sandbox: its row would be there
// before it. Then an engine that does not answer is no reason to keep a data directory.
func noSandboxes(ctx context.Context, store *db.Store) bool {
	rows, err := store.Sandboxes(ctx)
	return err == nil && len(rows) == 0
}

// sweepEphemeral removes what ephemeral servers of this user left that were killed.
func (s *Server) sweepEphemeral(ctx context.Context) {
	dirs, err := ephemeralDirs(filepath.Dir(s.settings.DataDir))
	if err != nil {
		s.log.WarnContext(ctx, "servers that were killed are not tidied up", "err", err)
	}
	for _, dir := range dirs {
		if ctx.Err() != nil {
			return
		}
		if err := s.sweepDir(ctx, dir); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "what a killed server left is not removed, the next one tries again", "data_dir", dir, "err", err)
		}
	}
}

// sweepDir removes the data directory of an ephemeral server that has ended, after its
// sandboxes. That of a running one it leaves.
func (s *Server) sweepDir(ctx context.Context, dir string) (err error) {
	lock, err := lockStale(dir)
	if lock == nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := s.removeLeft(ctx, dir); err != nil {
		return err
	}
	return removeEphemeralDir(dir)
}

// removeLeft removes the sandboxes of a server that has ended, whichever runtime they had.
func (s *Server) removeLeft(ctx context.Context, dir string) error {
	dead := s.settings
	dead.DataDir = dir
	own := openNative(dead, s.log)
	if err := errors.Join(removeSandboxes(ctx, own), own.Sweep(ctx), own.Close()); err != nil {
		return err
	}
	engine := openDocker(dead, filepath.Base(dir), s.log)
	err := removeSandboxes(ctx, engine)
	if err != nil && s.hadNoContainers(ctx, dir) {
		err = nil
	}
	return errors.Join(err, engine.Close())
}

// hadNoContainers reports whether a server that has ended surely had no container. Then an
// engine that does not answer is no reason to keep its data directory.
func (s *Server) hadNoContainers(ctx context.Context, dir string) bool {
	store, err := db.Open(ctx, db.Config{Path: filepath.Join(dir, databaseFile), Schema: s.schema, Volatile: true})
	if err != nil {
		return false
	}
	rows, err := store.Sandboxes(ctx)
	native := func(b db.Sandbox) bool { return b.ContainerID != nil && !inContainer(b) }
	return store.Close() == nil && err == nil && len(slices.DeleteFunc(rows, native)) == 0
}
