//go:build linux

package cell

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// mountProc shows the sandbox's own processes, and little of the machine.
func mountProc(p Plan) error {
	proc := filepath.Join(newRoot, "proc")
	n, err := makeNothing(proc)
	if err != nil {
		return err
	}
	defer n.close()
	const flags = plain | unix.MS_NOEXEC
	if err := unix.Mount("proc", proc, "proc", flags, ""); err != nil {
		return err
	}
	settings := filepath.Join(proc, "sys")
	if err := tuneKernel(p, settings); err != nil {
		return fmt.Errorf("kernel settings: %w", err)
	}
	if err := n.hide(proc); err != nil {
		return err
	}
	return bind(settings, settings, flags|unix.MS_RDONLY)
}

// shown are the parts of /sys that programs look at to learn how many processors and how
// much memory there are, and the sandbox's own network.
var shown = []string{"devices/system/cpu", "devices/system/node", "kernel/mm/transparent_hugepage", "devices/virtual/net", "class/net"}

// mountSys makes a /sys of what is shown, read-only. The network is left out where this
// machine shows no sysfs whole, as in a container: then nobody may mount another.
func mountSys(Plan) error {
	target := filepath.Join(newRoot, "sys")
	const flags = plain | unix.MS_NOEXEC | unix.MS_RDONLY
	own, whole := true, target
	err := unix.Mount("sysfs", target, "sysfs", flags, "")
	if errors.Is(err, unix.EPERM) {
		own, whole = false, "/sys"
	} else if err != nil {
		return err
	}
	fd, err := unix.Open(whole, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: whole, Err: err}
	}
	defer unix.Close(fd)
	whole = fmt.Sprintf("/proc/self/fd/%d", fd)
	// It lies over the sysfs. To unmount that, the kernel would wait for all processors.
	if err := mountTemp(target, "mode=755,nr_inodes=32", unix.MS_NOEXEC); err != nil {
		return err
	}
	for _, path := range shown {
		if _, err := os.Stat(filepath.Join(whole, path)); err != nil || !own && filepath.Base(path) == "net" {
			continue
		}
		to := filepath.Join(target, path)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := bind(filepath.Join(whole, path), to, flags); err != nil {
			return err
		}
	}
	return unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|flags, "")
}

// tuneKernel changes what belongs to the sandbox's own namespaces.
func tuneKernel(p Plan, settings string) error {
	if err := unix.Sethostname([]byte("lap")); err != nil {
		return err
	}
	for path, value := range map[string]string{
		"user/max_user_namespaces": "0", // none inside: they would bring all capabilities back
		// What all of a user's programs share, so that a sandbox cannot take it all from who runs lap.
		"user/max_inotify_instances":          "64",
		"user/max_inotify_watches":            "131072",
		"net/ipv4/ip_unprivileged_port_start": "0",
	} {
		if err := os.WriteFile(filepath.Join(settings, path), []byte(value), 0); err != nil {
			return err
		}
	}
	pages := strconv.FormatInt(p.Temp/int64(os.Getpagesize()), 10)
	if err := os.WriteFile(filepath.Join(settings, "kernel/shmall"), []byte(pages), 0); err != nil && !errors.Is(err, fs.ErrPermission) { // older kernels keep it for the machine's root
		return err
	}
	return nil
}

// hidden are files and folders of /proc that tell of this machine or change it.
var hidden = []string{
	"acpi", "asound", "bus", "driver", "fs", "irq", "pressure", "scsi", "tty",
	"buddyinfo", "config.gz", "consoles", "diskstats", "dma", "interrupts", "iomem", "ioports", "kallsyms", "kcore", "key-users", "keys", "kmsg",
	"kpagecgroup", "kpagecount", "kpageflags", "latency_stats", "modules", "mtrr", "pagetypeinfo", "partitions", "sched_debug", "slabinfo", "softirqs",
	"sysrq-trigger", "timer_list", "timer_stats", "vmallocinfo", "zoneinfo",
}

// nothing is an empty file and an empty folder, which nobody can write to.
type nothing struct{ file, dir int }

// makeNothing makes it in a file system of its own, on target, which lies under what is
// mounted there next.
func makeNothing(target string) (n nothing, err error) {
	if err := mountTemp(target, "mode=755,nr_inodes=4", unix.MS_NOEXEC); err != nil {
		return n, err
	}
	file, dir := filepath.Join(target, "file"), filepath.Join(target, "dir")
	if err := errors.Join(os.WriteFile(file, nil, 0o444), os.Mkdir(dir, 0o555)); err != nil {
		return n, err
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|plain|unix.MS_NOEXEC|unix.MS_RDONLY, ""); err != nil {
		return n, err
	}
	if n.file, err = unix.Open(file, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return n, err
	}
	if n.dir, err = unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
		return n, errors.Join(err, unix.Close(n.file))
	}
	return n, nil
}

func (n nothing) close() {
	_ = unix.Close(n.file)
	_ = unix.Close(n.dir)
}

// hide lays it over all that is hidden.
func (n nothing) hide(proc string) error {
	for _, name := range hidden {
		path, over := filepath.Join(proc, name), n.file
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if info.IsDir() {
			over = n.dir
		}
		if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", over), path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}
