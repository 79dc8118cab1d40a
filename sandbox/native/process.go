//go:build linux

package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A process is one of this machine, however often its number is used again.
type process struct {
	PID   int    `json:"pid"`
	Since uint64 `json:"since"` // clock ticks after the machine's start
	Boot  string `json:"boot"`  // of the machine
}

// newProcess describes a process that runs.
func newProcess(pid int) (process, error) {
	s, err := stat(pid)
	if err != nil {
		return process{}, err
	}
	boot, err := bootID()
	return process{PID: pid, Since: s.since, Boot: boot}, err
}

var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
})

// state reports whether the process is there and no zombie, and whether it is stopped.
func (p process) state() (alive, stopped bool) {
	if !p.thisBoot() {
		return false, false
	}
	s, err := stat(p.PID)
	if err != nil || s.since != p.Since || s.state == 'Z' || s.state == 'X' {
		return false, false
	}
	return true, s.state == 'T'
}

func (p process) thisBoot() bool {
	boot, err := bootID()
	return err == nil && boot == p.Boot
}

// open returns a pidfd of the process, nil when it has ended. The caller closes it.
func (p process) open() (*os.File, error) {
	f, err := openPidfd(p.PID)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) { // EINVAL: the number is a thread's by now
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if s, err := stat(p.PID); err != nil || s.since != p.Since || !p.thisBoot() { // the number is another's by now
		return nil, f.Close()
	}
	return f, nil
}

// openPidfd returns a file whose events can be waited for. It is not for the wait calls,
// which it would make return at once.
func openPidfd(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// signal sends a signal to the process, if it has not ended.
func (p process) signal(sig syscall.Signal) error {
	f, err := p.open()
	if f == nil {
		return err
	}
	defer f.Close()
	return sendSignal(f, sig)
}

func sendSignal(pidfd *os.File, sig syscall.Signal) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return os.NewSyscallError("pidfd_send_signal", sent)
}

// kill ends the process, and with it all of its sandbox, and waits for that.
func (p process) kill(ctx context.Context) error {
	f, err := p.open()
	if f == nil {
		return err
	}
	defer f.Close()
	if err := sendSignal(f, unix.SIGKILL); err != nil {
		return err
	}
	return await(ctx, f, unix.POLLIN)
}

// await waits for an event of a pidfd: POLLIN says that its process has ended, POLLHUP
// that nobody can wait for it any more.
func await(ctx context.Context, pidfd *os.File, event int16) error {
	stop := context.AfterFunc(ctx, func() { _ = pidfd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		for {
			poll := []unix.PollFd{{Fd: int32(fd), Events: event}}
			_, failed = unix.Poll(poll, 0)
			if !errors.Is(failed, unix.EINTR) {
				return failed != nil || poll[0].Revents&event != 0
			}
		}
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(failed, err)
}

// A status is what /proc/PID/stat tells of a process.
type status struct {
	pid     int
	state   byte
	parent  int
	threads int
	since   uint64
}

func stat(pid int) (status, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return status{}, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // the name before may hold anything
	if len(fields) < 20 {
		return status{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	s := status{pid: pid, state: fields[0][0]}
	var errs [3]error
	s.parent, errs[0] = strconv.Atoi(fields[1])
	s.threads, errs[1] = strconv.Atoi(fields[17])
	s.since, errs[2] = strconv.ParseUint(fields[19], 10, 64)
	return s, errors.Join(errs[:]...)
}
