//go:build linux

package native

import (
	"os"

	"golang.org/x/sys/unix"
)

// topDir is FS_TOPDIR_FL of the kernel: what is made in the folder has nothing to do with one
// another.
const topDir = 0x0002_0000

// makeDir makes the folder of sandboxes. On ext4 each of them gets its files from another
// part of the disk: where files were deleted in the last minutes, ext4 looks through them one
// by one for each file that is made, which takes longer than all else about a sandbox.
func (n *Native) makeDir() error {
	if exists(n.cfg.Dir) {
		return nil
	}
	if err := os.MkdirAll(n.cfg.Dir, 0o700); err != nil {
		return err
	}
	dir, err := os.Open(n.cfg.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	flags, err := unix.IoctlGetInt(int(dir.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil { // else the file system has none
		_ = unix.IoctlSetPointerInt(int(dir.Fd()), unix.FS_IOC_SETFLAGS, flags|topDir) // best effort
	}
	return nil
}
