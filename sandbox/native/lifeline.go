//go:build linux

package native

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
)

// A lifeline is a pipe whose end sandboxes notice when this process has ended, in whatever
// way: nobody else has the end that is written to. And it is a thread that starts them, for
// the kernel kills those that are paused with their thread.
type lifeline struct {
	read, write *os.File
	forks       chan func()
	ended       chan struct{} // closed when the thread ends
}

func (l *lifeline) close() {
	_ = l.read.Close() // nothing is ever read or written
	_ = l.write.Close()
}

var errClosed = errors.New("lap is ending")

// lifeline returns what ties sandboxes to this process.
func (n *Native) lifeline() (*lifeline, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life == nil {
		read, write, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		life := &lifeline{read, write, make(chan func()), make(chan struct{})}
		n.life = life
		n.work.Go(func() { life.serve(n.ctx) })
	}
	return n.life, nil
}

// serve calls functions in one thread, which ends when ctx does.
func (l *lifeline) serve(ctx context.Context) {
	defer close(l.ended)
	runtime.LockOSThread() // for good
	for {
		select {
		case fn := <-l.forks:
			fn()
		case <-ctx.Done():
			return
		}
	}
}

// fork starts a process from the thread that lives as long as this process.
func (l *lifeline) fork(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	select {
	case l.forks <- func() { done <- cmd.Start() }:
		return <-done
	case <-l.ended:
		return errClosed
	}
}

// endAll ends all sandboxes at once, paused ones too. Their files stay.
func (n *Native) endAll() error {
	var errs []error
	err := n.each(func(_ *box, r record) {
		if r.Run != nil {
			errs = append(errs, r.Run.kill(n.ctx))
		}
	})
	return errors.Join(append(errs, err)...)
}
