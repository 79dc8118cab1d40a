//go:build linux

package cell

import (
	"fmt"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// becomeRoot makes this process the sandbox's own root, which is nobody on this machine
// or, where lap is no root, lap's user.
func becomeRoot(p Plan) error {
	if p.Chown { // else the kernel lets nobody change groups
		if err := syscall.Setgroups(nil); err != nil {
			return fmt.Errorf("groups: %w", err)
		}
	}
	if err := syscall.Setresgid(0, 0, 0); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	return syscall.Setresuid(0, 0, 0)
}

// maxFiles bounds what one process has open. Without a bound of the machine's, programs
// that close all that may be open would be at it for minutes.
const maxFiles = 1 << 20

// tie makes the kernel end this process with the thread that has started it. Of the end of
// lap it hears by itself, too, but not while it is paused.
func tie(p Plan) error {
	if !p.Tied {
		return nil
	}
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

// setLimits bounds what one process, and one user of the sandbox, can take. What bounds
// all of them together is set from outside, where that is possible.
func setLimits(p Plan) error {
	for resource, limit := range map[int]int64{unix.RLIMIT_NPROC: p.PIDs, unix.RLIMIT_DATA: p.Data, unix.RLIMIT_FSIZE: p.Disk} {
		if limit == 0 {
			continue
		}
		if err := setLimit(resource, uint64(limit)); err != nil {
			return err
		}
	}
	signal.Ignore(unix.SIGXFSZ) // a write beyond the limit is an error, and does not end who writes
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	if files.Max > maxFiles {
		if err := setLimit(unix.RLIMIT_NOFILE, maxFiles); err != nil {
			return err
		}
	}
	return setLimit(unix.RLIMIT_CORE, 1) // with 0 the machine's own program for dumps is started
}

func setLimit(resource int, limit uint64) error {
	if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return fmt.Errorf("limit %d: %w", resource, err)
	}
	return nil
}
