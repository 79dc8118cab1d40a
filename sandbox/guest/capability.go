//go:build linux

package guest

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kept are the capabilities that a sandbox's processes have: what a package manager
// needs. The others that its container has are for lap alone.
const kept = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID

// GiveUpCapabilities takes all other capabilities than a sandbox's processes have from
// this one, on all its threads and for good: nothing that it starts has them, whatever
// file it is started from. Until then no process of the sandbox can trace this one, for
// it would have to have the same capabilities.
func GiveUpCapabilities() error {
	if err := dropBounds(prctl); err != nil {
		return err
	}
	return dropCapabilities()
}

// dropBounds takes from who calls prctl that a file which it starts brings back what this
// process has given up.
func dropBounds(prctl func(option, arg uintptr) error) error {
	for c := range uintptr(64) {
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // the kernel knows no more
		}
		if err == nil && held == 1 && kept>>c&1 == 0 {
			err = prctl(unix.PR_CAPBSET_DROP, c)
		}
		if err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return nil
}

func dropCapabilities() error {
	if err := prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil {
		return fmt.Errorf("clear ambient capabilities: %w", err)
	}
	sets, err := capabilities()
	if err != nil {
		return err
	}
	for i := range sets {
		keep := uint32(kept >> (32 * i))
		sets[i].Permitted &= keep
		sets[i].Effective &= keep
		sets[i].Inheritable &= keep
	}
	header := capHeader
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets)), 0)
	if errno != 0 {
		return fmt.Errorf("set capabilities: %w", errno)
	}
	return nil
}

// has reports whether this process can use a capability.
func has(capability uint) bool {
	sets, err := capabilities()
	return err == nil && sets[capability/32].Effective>>(capability%32)&1 == 1
}

var capHeader = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}

// capabilities returns this process's, the lower 32 first.
func capabilities() (sets [2]unix.CapUserData, err error) {
	header := capHeader
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return sets, fmt.Errorf("read capabilities: %w", err)
	}
	return sets, nil
}

// prctlHere is the system call on the calling thread, which is locked.
func prctlHere(option, arg uintptr) error { return unix.Prctl(int(option), arg, 0, 0, 0) }

// prctl is the system call on all threads.
func prctl(option, arg uintptr) error {
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, option, arg, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
