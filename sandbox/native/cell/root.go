//go:build linux

package cell

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// plain are the options of everything that is mounted for a sandbox.
const plain = unix.MS_NOSUID | unix.MS_NODEV

// newRoot is where the root is built: on top of a folder of this machine that everybody
// can enter and that nothing is needed of any more. Only this process sees it.
const newRoot = "/usr"

// buildRoot makes the sandbox's root: its own layer of everything, over a base that has
// no file of this machine's users, and over the system directories.
func buildRoot(p Plan) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := overlay(newRoot, p.Upper, p.Work, p.Base); err != nil {
		return err
	}
	for _, l := range p.System {
		if err := overlay(filepath.Join(newRoot, l.Path), l.Upper, l.Work, l.Skel, l.Lower); err != nil {
			return err
		}
	}
	return nil
}

// overlay mounts upper over the lower folders, the topmost first. It is volatile: else each
// end of a sandbox would write all that this machine has not yet written to its disk.
func overlay(target, upper, work string, lower ...string) error {
	options := fmt.Sprintf("upperdir=%s,workdir=%s,lowerdir=%s,userxattr,volatile", upper, work, strings.Join(lower, ":"))
	if err := unix.Mount("overlay", target, "overlay", plain, options); err != nil {
		return fmt.Errorf("overlay on %s: %w", target, err)
	}
	return nil
}

// switchRoot makes the new root this process's, and lets go of the machine's.
func switchRoot(Plan) error {
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil { // the old root now lies on the new one
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// bind mounts a file or folder of this machine at a path of the sandbox.
func bind(from, to string, flags uintptr) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", from, err)
	}
	var s unix.Statfs_t
	if err := unix.Statfs(to, &s); err != nil {
		return fmt.Errorf("bind %s: %w", from, err)
	}
	for has, keep := range map[int64]uintptr{ // what only the machine's root may change
		unix.ST_RDONLY: unix.MS_RDONLY, unix.ST_NOSUID: unix.MS_NOSUID, unix.ST_NODEV: unix.MS_NODEV, unix.ST_NOEXEC: unix.MS_NOEXEC,
		unix.ST_NOATIME: unix.MS_NOATIME, unix.ST_NODIRATIME: unix.MS_NODIRATIME, unix.ST_RELATIME: unix.MS_RELATIME,
	} {
		if s.Flags&has != 0 {
			flags |= keep
		}
	}
	if err := unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|flags, ""); err != nil {
		return fmt.Errorf("remount %s: %w", to, err)
	}
	return nil
}

// mountGuest puts lap itself in, read-only.
func mountGuest(p Plan) error {
	return bind(p.Guest, filepath.Join(newRoot, ".lap/lap"), plain|unix.MS_RDONLY)
}

func mountTemp(target, options string, flags uintptr) error {
	if err := unix.Mount("tmpfs", target, "tmpfs", plain|flags, options); err != nil {
		return fmt.Errorf("tmpfs on %s: %w", target, err)
	}
	return nil
}
