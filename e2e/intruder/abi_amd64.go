//go:build linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// int80 makes a system call as 32-bit programs do.
func int80(number uint32) (result int32)

// onABIs are system calls in other ways than the usual one, which a filter may not know.
func onABIs() []attack {
	return []attack{
		{"32-bit system call", func() error {
			const getpid = 20
			if got := int80(getpid); got > 0 {
				return fmt.Errorf("it says that this is process %d", got)
			}
			return nil
		}},
		{"x32 system call", func() error {
			if pid, _, errno := unix.RawSyscall(0x40000000|unix.SYS_GETPID, 0, 0, 0); errno == 0 {
				return fmt.Errorf("it says that this is process %d", pid)
			}
			return nil
		}},
		{"16-bit code", func() error { return withheld(unix.SYS_MODIFY_LDT, 0, 0, 0) }},
		{"ports", func() error { return withheld(unix.SYS_IOPL, 3, 0, 0) }},
	}
}
