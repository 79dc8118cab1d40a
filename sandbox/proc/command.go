//go:build unix

package proc

import (
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// Mark makes the end of cmd's context kill all processes that come of it: its group, and
// who has mark, an entry of its environment, in another.
func Mark(cmd *exec.Cmd, mark string) {
	cmd.Env = append(cmd.Env, mark)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		KillTree(cmd.Process.Pid, mark)
		return nil
	}
}

// Drain copies all output to out, for as long as anybody holds the pipe that r reads, or
// until closing is closed: a server that a command left in the background must not die of
// a closed one. What it returns is closed when all is copied. work waits for it.
func Drain(work *sync.WaitGroup, closing <-chan struct{}, r *os.File, out io.Writer) <-chan struct{} {
	done := make(chan struct{})
	work.Go(func() {
		defer close(done)
		_, _ = io.Copy(out, r) // ends when the last writer is gone, or r is closed
	})
	work.Go(func() {
		select {
		case <-done:
		case <-closing:
		}
		r.Close()
	})
	return done
}
