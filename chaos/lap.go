package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const masterKey = "chaos-master-key-0123456789"

// A lap is an installation: a data directory, and a server on it that is started and
// killed again and again.
type lap struct {
	world *world
	dir   string
	env   []string
	owner string // known when it was started once
	talk  *transcript

	mu    sync.Mutex // guards what follows
	cmd   *exec.Cmd
	url   string
	ended chan struct{} // closed when the server has ended
}

func (l *lap) data() string   { return filepath.Join(l.dir, "data") }
func (l *lap) orders() string { return filepath.Join(l.dir, "orders") }

const startLimit = 30 * time.Second

// start starts the server and waits until it serves.
func (l *lap) start(ctx context.Context) error {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), l.world.binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", l.data(), "--log-level", "debug")
	cmd.Env = append(environment(), "MASTER_KEY="+masterKey, "LAP_CHAOS="+l.orders(), "RECONCILE_INTERVAL_SECONDS=1",
		"LAP_SANDBOX_MEMORY=256m", "WARM_POOL_SIZE=0", "LAP_FREEZE_AFTER=0")
	cmd.Env = append(cmd.Env, l.env...)
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	address, ended := make(chan string, 1), make(chan struct{})
	go func() {
		l.talk.follow(out, address)
		_ = cmd.Wait() // how it ended is told by its state
		close(ended)
	}()
	l.mu.Lock()
	l.cmd, l.ended, l.url = cmd, ended, ""
	l.mu.Unlock()
	select {
	case url := <-address:
		l.mu.Lock()
		l.url = url
		l.mu.Unlock()
		return l.learnOwner(ctx)
	case <-ended:
		return errors.New("lap serve ended before it was ready")
	case <-time.After(startLimit):
		return fmt.Errorf("lap serve is not ready after %s", startLimit)
	}
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
	return l.ended
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
	cmd, ended := l.cmd, l.ended
	l.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	<-ended
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

// environment is this process's without settings of lap.
func environment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "LAP_") && !strings.HasPrefix(entry, "LITELLM_") && !strings.HasPrefix(entry, "WARM_POOL") {
			env = append(env, entry)
		}
	}
	return env
}

// A transcript is what a server has said.
type transcript struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// follow collects lines until out ends, and passes on the address when it is told.
func (tr *transcript) follow(out io.Reader, address chan<- string) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		tr.mu.Lock()
		tr.text.WriteString(lines.Text() + "\n")
		tr.mu.Unlock()
		if url, ok := strings.CutPrefix(lines.Text(), "lap serves "); ok {
			address <- url
		}
	}
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}
