package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"lap/e2e/process"
)

const masterKey = "chaos-master-key-0123456789"

// A lap is an installation: a data directory, and a server on it that is started and
// killed again and again.
type lap struct {
	world *world
	dir   string
	env   []string
	owner string // known when it was started once
	talk  process.Transcript

	mu     sync.Mutex // guards what follows
	server *process.Server
	url    string
}

func (l *lap) data() string   { return filepath.Join(l.dir, "data") }
func (l *lap) orders() string { return filepath.Join(l.dir, "orders") }

const startLimit = 30 * time.Second

// start starts the server and waits until it serves.
func (l *lap) start(ctx context.Context) error {
	env := append([]string{
		"MASTER_KEY=" + masterKey, "LAP_CHAOS=" + l.orders(), "RECONCILE_INTERVAL_SECONDS=1",
		"LAP_SANDBOX=" + l.world.sandbox, "LAP_SANDBOX_MEMORY=256m", "WARM_POOL_SIZE=0", "LAP_FREEZE_AFTER=0",
	}, l.env...)
	server, err := process.Start(ctx, &l.talk, l.world.binary, env, "--data-dir", l.data(), "--log-level", "debug")
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.server, l.url = server, ""
	l.mu.Unlock()
	url, err := server.Ready(startLimit)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.url = url
	l.mu.Unlock()
	return l.learnOwner(ctx)
}

// base is the URL of the server, "" when it was never ready.
func (l *lap) base() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.url
}

// down is closed when the server has ended.
func (l *lap) down() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.server.Ended()
}

// dead reports whether the server has ended.
func (l *lap) dead() bool {
	select {
	case <-l.down():
		return true
	default:
		return false
	}
}

// kill ends the server as a power cut would.
func (l *lap) kill() {
	l.mu.Lock()
	server := l.server
	l.mu.Unlock()
	if server == nil {
		return
	}
	_ = server.Signal(syscall.SIGKILL) // it may have ended
	_ = server.Wait()                  // killed, as wanted
}

// order tells the server what is to happen at one of its next points.
func (l *lap) order(text string) error {
	path := filepath.Join(l.orders(), "arm")
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// passed returns the points that were passed so far, those of one commit in one string.
func (l *lap) passed() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(l.orders(), "points"))
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"), err
}

// struck reports whether a fault was carried out.
func (l *lap) struck() bool {
	b, err := os.ReadFile(filepath.Join(l.orders(), "points"))
	return err == nil && bytes.Contains(b, []byte(" ! "))
}
