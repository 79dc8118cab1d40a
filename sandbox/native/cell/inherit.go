//go:build linux

package cell

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// closeOthers closes the files that lap itself was started with and has passed on without
// knowing: those that a new program begins with are never closed by starting another. What
// lap meant this process to have is kept from all that it starts.
func closeOthers(tied bool) error {
	last := baseFile
	if tied {
		last = lifeFile
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			return err
		}
		if fd < reportFile { // standard streams; the plan has been read
			continue
		}
		if fd <= last {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
				return fmt.Errorf("file %d: %w", fd, err)
			}
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 { // else this process has opened it
			err = unix.Close(fd)
		}
		if err != nil && err != unix.EBADF { //nolint:errorlint // the folder itself was open
			return fmt.Errorf("file %d: %w", fd, err)
		}
	}
	return nil
}
