//go:build linux

package cell

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// restrict takes from this process, and all that it starts, the ways to more than it has.
func restrict(p Plan) error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	// What runs in the sandbox is the same user, and must not get at what this process still
	// holds of the machine: the binary that it was started from, above all.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	return load(p.Calls)
}

// load makes the kernel ask a filter, which SystemCalls made, about every system call of
// this process and of all that it starts, for good.
func load(filter []byte) error {
	program := make([]unix.SockFilter, len(filter)/unix.SizeofSockFilter)
	if _, err := binary.Decode(filter, binary.NativeEndian, program); err != nil || len(program) == 0 {
		return fmt.Errorf("filter of system calls: %d bytes: %w", len(filter), err)
	}
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	other, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&f)))
	switch {
	case errors.Is(errno, unix.ENOSYS), errors.Is(errno, unix.EINVAL):
		return errors.New("this kernel cannot filter system calls (it needs CONFIG_SECCOMP_FILTER)")
	case errno != 0:
		return errno
	case other != 0:
		return fmt.Errorf("thread %d has another filter of system calls", other)
	}
	return nil
}
