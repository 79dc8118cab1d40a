//go:build unix

// Package proc starts, reaps and ends processes for a program that runs as PID 1.
package proc

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
)

// A Table knows which children of this process are waited for by name, so that
// reaping orphans never takes an exit status away from the goroutine waiting for it.
// A program that is not PID 1 can use a Table without calling Reap.
type Table struct {
	mu    sync.Mutex // guards own, and is held over fork, so that no child is unknown to the reaper
	own   map[int]struct{}
	again chan struct{} // asks the reaper for another look
}

// NewTable returns an empty Table.
func NewTable() *Table {
	return &Table{own: map[int]struct{}{}, again: make(chan struct{}, 1)}
}

// Start starts cmd, as the first to go when memory runs out. Each successful Start
// needs one Wait.
func (t *Table) Start(cmd *exec.Cmd) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	t.own[cmd.Process.Pid] = struct{}{}
	adj := "/proc/" + strconv.Itoa(cmd.Process.Pid) + "/oom_score_adj"
	_ = os.WriteFile(adj, []byte("800"), 0) // best effort: it may have exited, or there is no /proc
	return nil
}

// Wait waits for a command that Start started, as exec.Cmd.Wait does.
func (t *Table) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	t.mu.Lock()
	delete(t.own, cmd.Process.Pid)
	t.mu.Unlock()
	select { // an orphan may have got the same pid in between
	case t.again <- struct{}{}:
	default:
	}
	return err
}

// Reap collects exited children that nobody waits for, until ctx ends. PID 1 inherits
// every orphan in its namespace and must do this.
func (t *Table) Reap(ctx context.Context) {
	exited := make(chan os.Signal, 1)
	signal.Notify(exited, syscall.SIGCHLD)
	defer signal.Stop(exited)
	for {
		t.reapOrphans()
		select {
		case <-exited:
		case <-t.again:
		case <-ctx.Done():
			return
		}
	}
}

func (t *Table) reapOrphans() {
	t.mu.Lock()
	defer t.mu.Unlock()
	self := os.Getpid()
	for _, p := range list() {
		if _, ours := t.own[p.pid]; p.parent != self || !p.zombie || ours {
			continue
		}
		var status syscall.WaitStatus
		_, _ = syscall.Wait4(p.pid, &status, syscall.WNOHANG, nil) // nobody asks for its status
	}
}
