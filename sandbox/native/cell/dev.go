//go:build linux

package cell

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxNames bounds the files of one file system in memory, whose names are memory, too.
const maxNames = 262_144

// mountDevices makes a /dev with what every program may expect and no more, and /run.
func mountDevices(p Plan) error {
	dev := filepath.Join(newRoot, "dev")
	if err := unix.Mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k,nr_inodes=64"); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		to := filepath.Join(dev, name)
		if err := os.WriteFile(to, nil, 0o600); err != nil {
			return err
		}
		if err := bind("/dev/"+name, to, unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_RDONLY); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"pts", "shm"} {
		if err := os.Mkdir(filepath.Join(dev, name), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", filepath.Join(dev, "pts"), "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"); err != nil {
		return fmt.Errorf("devpts: %w", err)
	}
	size := fmt.Sprintf(",size=%d,nr_inodes=%d", p.Temp, maxNames)
	if err := mountTemp(filepath.Join(dev, "shm"), "mode=1777"+size, unix.MS_NOEXEC); err != nil {
		return err
	}
	return mountTemp(filepath.Join(newRoot, "run"), "mode=755"+size, 0)
}
