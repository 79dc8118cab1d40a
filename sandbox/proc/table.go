//go:build unix

// Package proc starts, reaps and ends processes for a program that runs as PID 1.
package proc

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
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

	thread chan func()     // runs what starts a process; nil: no matter where
	ended  <-chan struct{} // closed when thread runs nothing any more
}

// NewTable returns an empty Table.
func NewTable() *Table {
	return &Table{own: map[int]struct{}{}, again: make(chan struct{}, 1)}
}

// Confine makes one thread, on which restrict is called, start all commands until ctx ends,
// so that all have what it did to that thread. work waits for it. It is called before the
// first Start.
func (t *Table) Confine(ctx context.Context, work *sync.WaitGroup, restrict func() error) error {
	t.thread, t.ended = make(chan func()), ctx.Done()
	ready := make(chan error, 1)
	work.Go(func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		err := restrict()
		ready <- err
		for err == nil {
			select {
			case start := <-t.thread:
				start()
			case <-ctx.Done():
				return
			}
		}
	})
	return <-ready
}

// Start starts cmd, as the first to go when memory runs out. Each successful Start
// needs one Wait.
func (t *Table) Start(cmd *exec.Cmd) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.launch(cmd); err != nil {
		return err
	}
	t.own[cmd.Process.Pid] = struct{}{}
	adj := "/proc/" + strconv.Itoa(cmd.Process.Pid) + "/oom_score_adj"
	_ = os.WriteFile(adj, []byte("800"), 0) // best effort: it may have exited, or there is no /proc
	return nil
}

func (t *Table) launch(cmd *exec.Cmd) error {
	if t.thread == nil {
		return cmd.Start()
	}
	started := make(chan error, 1)
	select {
	case t.thread <- func() { started <- cmd.Start() }:
		return <-started
	case <-t.ended:
		return errors.New("nothing is started any more: this process comes to its end")
	}
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
