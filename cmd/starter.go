package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// parentPeriod is how often it is looked whether the parent process is still there. The
// kernel could send a signal instead, but it does so when the thread ends that started this
// process, and only Linux has it.
const parentPeriod = 100 * time.Millisecond

// A starter is who started this process, as far as its end can be seen.
type starter struct {
	parent int  // 0: none to watch
	stdin  bool // standard input is open, and its end says that nobody wants this process any more
}

// newStarter looks who it is. A parent that is the first process of its container or
// machine is no reason to end, and 0 is one outside of the container.
func newStarter() (starter, error) {
	s := starter{parent: os.Getppid()}
	if s.parent == 1 {
		s.parent = 0
	}
	info, err := os.Stdin.Stat()
	if err != nil { // it is closed
		return s, nil //nolint:nilerr // then there is nothing to watch
	}
	if info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 {
		return s, nil // /dev/null and files have no end that tells anything; a terminal's comes as a signal
	}
	input := []unix.PollFd{stdin}
	if _, err := poll(input, 0); err != nil {
		return s, fmt.Errorf("watch standard input: %w", err)
	}
	s.stdin = input[0].Revents == 0 || !over(input[0].Revents) // some job runners close it before
	return s, nil
}

var stdin = unix.PollFd{Fd: int32(unix.Stdin), Events: unix.POLLIN}

// poll is unix.Poll that goes on after signals.
func poll(fds []unix.PollFd, limit time.Duration) (int, error) {
	for {
		n, err := unix.Poll(fds, int(limit.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// over reports whether standard input, for which poll returned revents, has ended.
func over(revents int16) bool {
	if revents&unix.POLLHUP != 0 {
		return true
	}
	n, _, err := unix.Recvfrom(unix.Stdin, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err == nil && n == 0 // of a socket; a pipe gives an error
}

// await returns when the starter has gone, or ctx ends.
func (s starter) await(ctx context.Context) error {
	wake, waker, err := os.Pipe()
	if err != nil {
		return err
	}
	defer wake.Close()
	stop := context.AfterFunc(ctx, func() { waker.Close() })
	defer func() {
		if stop() {
			waker.Close()
		}
	}()
	fds := []unix.PollFd{{Fd: int32(wake.Fd()), Events: unix.POLLIN}}
	if s.stdin {
		fds = append(fds, stdin)
	}
	for ctx.Err() == nil && (s.parent == 0 || os.Getppid() == s.parent) {
		if _, err := poll(fds, parentPeriod); err != nil {
			return fmt.Errorf("watch standard input: %w", err)
		}
		if s.stdin && fds[1].Revents != 0 && !discard() {
			return nil
		}
	}
	return nil
}

// discard reads what standard input has, so that who writes to it never waits, and reports
// whether there may come more.
func discard() bool {
	var b [4096]byte
	n, err := unix.Read(unix.Stdin, b[:])
	return n > 0 || errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN)
}
