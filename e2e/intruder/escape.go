//go:build linux

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// target is what there is on the machine for escape to get at, told as name=value.
type target map[string]string

// list returns a value with commas.
func (t target) list(name string) []string {
	if t[name] == "" {
		return nil
	}
	return strings.Split(t[name], ",")
}

// canary is what others have in their files and environment. It is told in hexadecimal.
func (t target) canary() [][]byte {
	text, err := hex.DecodeString(t["canary"])
	if err != nil || len(text) == 0 {
		panic("no canary")
	}
	return [][]byte{text}
}

// escape are attacks of a sandbox that is no container on the machine it runs on.
func escape(args []string) []attack {
	t := target{}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		t[name] = value
	}
	return slices.Concat(t.onMachine(), onGuest(), onMounts(), onCalls(), onABIs(), onKernelFiles(), onTerminals(), t.onLimits(), onLayers())
}

// onMachine are those on files, processes and sockets of others.
func (t target) onMachine() []attack {
	all := []attack{
		{"control: a file for everybody", func() error {
			for _, path := range t.list("public") {
				if _, err := os.ReadFile(path); err != nil {
					return err
				}
			}
			return nil
		}},
		{"canaries in files", func() error {
			return walk(t.canary(), "/root", "/home", "/etc", "/tmp", "/run", "/var", "/work", "/opt", "/srv", "/mnt", "/media", "/dev/shm")
		}},
		{"canaries in processes", func() error {
			return grep(t.canary(), "/proc/*/environ", "/proc/*/cmdline", "/proc/*/task/*/environ")
		}},
		{"processes of the machine", func() error {
			pids, err := filepath.Glob("/proc/[0-9]*")
			if err != nil || len(pids) > 64 {
				return fmt.Errorf("%d processes %w", len(pids), err)
			}
			return nil
		}},
		{"a signal to lap", func() error {
			pid, err := strconv.Atoi(t["pid"])
			if err != nil {
				return err
			}
			if _, err := os.Stat("/proc/" + t["pid"]); err == nil {
				return nil // a number of this sandbox, too
			}
			return must(unix.Kill(pid, 0), "kill")
		}},
		{"sockets of the machine", func() error {
			for _, path := range slices.Concat(t.list("sockets"), []string{"/run/docker.sock", "/var/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket"}) {
				if conn, err := net.Dial("unix", path); err == nil {
					conn.Close()
					return errors.New(path)
				}
			}
			return nil
		}},
		{"ports of the machine", func() error {
			for _, addr := range t.list("ports") {
				if conn, err := net.DialTimeout("tcp", addr, wait); err == nil {
					conn.Close()
					return errors.New(addr)
				}
			}
			return nil
		}},
		{"other kinds of sockets", otherSockets},
		{"control: usual kinds of sockets", func() error {
			for _, s := range [][3]int{{unix.AF_UNIX, unix.SOCK_STREAM, 0}, {unix.AF_INET, unix.SOCK_DGRAM, 0}, {unix.AF_INET6, unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK, unix.IPPROTO_TCP}, {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}} {
				fd, err := unix.Socket(s[0], s[1], s[2])
				if err != nil {
					return fmt.Errorf("%v: %w", s, err)
				}
				unix.Close(fd)
			}
			return nil
		}},
	}
	for _, path := range t.list("private") {
		all = append(all, attack{"private " + path, func() error {
			f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
			if err == nil {
				f.Close()
			}
			return must(err, "open")
		}})
	}
	return all
}

func otherSockets() error {
	for _, s := range [][3]int{
		{unix.AF_VSOCK, unix.SOCK_STREAM, 0},
		{unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
		{unix.AF_PACKET, unix.SOCK_RAW, 0},
		{unix.AF_PACKET, unix.SOCK_DGRAM, 0},
		{unix.AF_BLUETOOTH, unix.SOCK_RAW, 0},
		{unix.AF_CAN, unix.SOCK_RAW, 1},
		{unix.AF_TIPC, unix.SOCK_STREAM, 0},
		{unix.AF_KEY, unix.SOCK_RAW, 2},
		{unix.AF_XDP, unix.SOCK_RAW, 0},
		{unix.AF_RDS, unix.SOCK_SEQPACKET, 0},
		{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP},
		{unix.AF_INET, unix.SOCK_SEQPACKET, 0},
		{unix.AF_INET, 10, 0},
		{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT},
		{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC},
		{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_CONNECTOR},
		{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM},
	} {
		if fd, err := unix.Socket(s[0], s[1], s[2]); err == nil {
			unix.Close(fd)
			return fmt.Errorf("family %d, type %d, protocol %d", s[0], s[1], s[2])
		}
	}
	_, err := unix.Socketpair(unix.AF_TIPC, unix.SOCK_STREAM, 0)
	return must(err, "socketpair")
}

// onGuest are those on the first process, which holds what there is of lap's.
func onGuest() []attack {
	all := []attack{
		{"control: trace a child", func() error {
			child := exec.Command("sleep", "10")
			if err := child.Start(); err != nil {
				return err
			}
			defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
			if _, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", child.Process.Pid)); err != nil {
				return err
			}
			return unix.PtraceSeize(child.Process.Pid)
		}},
		{"trace 1", func() error { return must(unix.PtraceAttach(1), "attach") }},
		{"seize 1", func() error { return must(unix.PtraceSeize(1), "seize") }},
		{"read 1's memory", func() error {
			buf := make([]byte, 16)
			local := []unix.Iovec{{Base: &buf[0], Len: 16}}
			_, err := unix.ProcessVMReadv(1, local, []unix.RemoteIovec{{Base: 0x400000, Len: 16}}, 0)
			if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
				return fmt.Errorf("process_vm_readv: %w", err)
			}
			return nil
		}},
		{"take 1's files", func() error {
			fd, err := unix.PidfdOpen(1, 0)
			if err != nil {
				return nil
			}
			defer unix.Close(fd)
			for i := range 64 {
				if got, err := unix.PidfdGetfd(fd, i, 0); err == nil {
					return fmt.Errorf("file %d as %d", i, got)
				}
			}
			return nil
		}},
		{"1's limits", func() error {
			var limit unix.Rlimit
			if err := unix.Prlimit(1, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
				return nil
			}
			return must(unix.Prlimit(1, unix.RLIMIT_NOFILE, &limit, nil), "prlimit")
		}},
		{"signal 1", func() error {
			version, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
			if int(version) < 6 {
				return nil // this kernel has only that such signals do nothing
			}
			return must(unix.Kill(1, unix.SIGCONT), "kill")
		}},
		{"a thread of 1 with more rights", func() error {
			threads, err := filepath.Glob("/proc/1/task/*/status")
			if err != nil || len(threads) == 0 {
				return fmt.Errorf("%d threads %w", len(threads), err)
			}
			for _, path := range threads { // what bounds an exec is looked at in who is started: 1 itself does none
				text, err := os.ReadFile(path)
				if err != nil {
					continue // it has ended
				}
				for _, line := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapPrm:\t00000000000000cb\n", "CapEff:\t00000000000000cb\n", "CapAmb:\t0000000000000000\n"} {
					if !strings.Contains(string(text), line) {
						return fmt.Errorf("%s has no %q", path, line)
					}
				}
			}
			return nil
		}},
		{"overwrite lap as it starts", overwriteStarted},
		{"files that were left open", func() error {
			fds, err := os.ReadDir("/proc/self/fd")
			if err != nil {
				return err
			}
			for _, fd := range fds {
				to, err := os.Readlink("/proc/self/fd/" + fd.Name())
				if err != nil || slices.ContainsFunc([]string{"/dev/null", "pipe:", "/tmp/", "/proc/", "anon_inode:[event"}, func(p string) bool { return strings.HasPrefix(to, p) }) {
					continue
				}
				return fmt.Errorf("%s is %s", fd.Name(), to)
			}
			return nil
		}},
	}
	for _, name := range []string{"mem", "exe", "root", "root/etc/passwd", "cwd", "environ", "maps", "fd/0", "fd/3", "fd/4", "ns/mnt", "ns/net", "ns/user", "map_files", "auxv", "syscall", "stack", "pagemap"} {
		all = append(all, attack{"/proc/1/" + name, func() error {
			f, err := os.Open("/proc/1/" + name)
			if err != nil {
				return nil
			}
			defer f.Close()
			if info, err := f.Stat(); err == nil && info.IsDir() {
				if list, err := f.Readdirnames(1); err != nil || len(list) == 0 {
					return nil
				}
			} else if n, err := f.Read(make([]byte, 1)); err != nil && n == 0 {
				return nil
			}
			return errors.New("it can be opened")
		}})
	}
	for name, text := range map[string]string{"uid_map": "0 0 1", "gid_map": "0 0 1", "setgroups": "allow", "mem": "x", "timerslack_ns": "1", "attr/current": "x"} {
		all = append(all, attack{"write /proc/1/" + name, func() error { return must(os.WriteFile("/proc/1/"+name, []byte(text), 0), "it") }}) //nolint:gosec // it has its mode
	}
	return all
}

// overwriteStarted holds the lap binary by a process that runs it, and writes to it once
// that has ended, or changes its mode.
func overwriteStarted() error {
	cmd := exec.Command("/.lap/lap", "--help")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true} // it stops at its first instruction
	if err := cmd.Start(); err != nil {
		return err
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid), unix.O_PATH, 0)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	if err := os.Chmod(path, 0o777); err == nil {
		return errors.New("its mode was changed")
	}
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		f.Close()
		return errors.New("it can be written to")
	}
	return nil
}

// onMounts are those on the sandbox's root, and on being in it.
func onMounts() []attack {
	var mounts []attack
	for _, path := range []string{"/proc", "/proc/sys", "/proc/kcore", "/proc/keys", "/sys", "/dev", "/usr", "/", "/.lap/lap"} {
		mounts = append(mounts,
			attack{"unmount " + path, func() error { return must(unix.Unmount(path, unix.MNT_DETACH), "it") }},
			attack{"remount " + path, func() error { return must(unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND, ""), "it") }},
		)
	}
	for _, kind := range []string{"tmpfs", "proc", "sysfs", "cgroup", "cgroup2", "overlay", "devpts", "devtmpfs", "mqueue", "bpf", "debugfs", "ext4", "fuse"} {
		mounts = append(mounts, attack{"mount a " + kind, func() error { return must(unix.Mount("none", "/mnt", kind, 0, ""), "it") }})
	}
	return append(mounts,
		attack{"bind", func() error { return must(unix.Mount("/", "/mnt", "", unix.MS_BIND, ""), "it") }},
		attack{"clone a tree", func() error {
			_, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE)
			return must(err, "it")
		}},
		attack{"open a file system", func() error {
			_, err := unix.Fsopen("tmpfs", 0)
			return must(err, "it")
		}},
		attack{"attributes of a mount", func() error {
			return must(unix.MountSetattr(unix.AT_FDCWD, "/proc/sys", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}), "it")
		}},
		attack{"pivot", func() error { return must(unix.PivotRoot("/", "/"), "it") }},
		attack{"chroot", func() error { return must(unix.Chroot("/tmp"), "it") }},
		attack{"upwards", func() error {
			fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			var at, root unix.Stat_t
			if err := errors.Join(unix.Fstatat(fd, "../../../../..", &at, 0), unix.Stat("/", &root)); err != nil {
				return err
			}
			if at.Dev != root.Dev || at.Ino != root.Ino {
				return errors.New("there is something above the root")
			}
			return nil
		}},
		attack{"file by its handle", func() error {
			_, err := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(1, []byte{2, 0, 0, 0, 0, 0, 0, 0}), unix.O_RDONLY)
			return must(err, "it")
		}},
		attack{"devices", devices},
		attack{"options of mounts", options},
	)
}

func devices() error {
	for _, dir := range []string{"/dev", "/tmp", "/dev/shm", "/run", "/usr"} {
		for _, kind := range []uint32{unix.S_IFBLK, unix.S_IFCHR} {
			path := dir + "/disk"
			_ = os.Remove(path)
			if err := unix.Mknod(path, kind|0o666, int(unix.Mkdev(1, 1))); err == nil {
				return fmt.Errorf("%s was made", path)
			}
		}
	}
	return nil
}

// options looks for mounts from which a setuid program or a device could be used.
func options() error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		has := strings.Split(fields[5], ",")
		device := strings.HasPrefix(fields[4], "/dev")
		if !slices.Contains(has, "nosuid") || !device && !slices.Contains(has, "nodev") || device && !slices.Contains(has, "noexec") {
			return errors.New(line)
		}
	}
	return nil
}

// withheld reports that a system call was not refused as such.
func withheld(number uintptr, args ...uintptr) error {
	_, _, errno := unix.Syscall6(number, args[0], args[1], args[2], 0, 0, 0)
	if errno != unix.EPERM && errno != unix.ENOSYS {
		return fmt.Errorf("it says %w", errno)
	}
	return nil
}

// onCalls are those by system calls that no program in a sandbox needs.
func onCalls() []attack {
	all := []attack{
		{"control: a system call that is allowed", func() error {
			if withheld(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 1, 2) == nil && withheld(unix.SYS_PIDFD_SEND_SIGNAL, ^uintptr(0), 0, 0) == nil {
				return errors.New("all are refused")
			}
			return nil
		}},
		{"clone3", func() error {
			if _, _, errno := unix.Syscall(unix.SYS_CLONE3, 0, 0, 0); errno != unix.ENOSYS {
				return fmt.Errorf("it says %w, and libraries would not do without", errno)
			}
			return nil
		}},
		{"a call of the future", func() error {
			if _, _, errno := unix.Syscall(900, 0, 0, 0); errno != unix.ENOSYS {
				return fmt.Errorf("it says %w", errno)
			}
			return nil
		}},
		{"namespaces of 1", func() error {
			fd, err := unix.PidfdOpen(1, 0)
			if err != nil {
				return nil
			}
			defer unix.Close(fd)
			return must(unix.Setns(fd, unix.CLONE_NEWNS|unix.CLONE_NEWNET), "setns")
		}},
		{"namespaces above", func() error {
			const nsGetUserns = 0xb701
			f, err := os.Open("/proc/self/ns/user")
			if err != nil {
				return nil
			}
			defer f.Close()
			fd, err := unix.IoctlRetInt(int(f.Fd()), nsGetUserns+1) // its parent
			if err == nil {
				return fmt.Errorf("file %d", fd)
			}
			return nil
		}},
	}
	for name, number := range map[string]uintptr{
		"add_key": unix.SYS_ADD_KEY, "request_key": unix.SYS_REQUEST_KEY, "keyctl": unix.SYS_KEYCTL, "bpf": unix.SYS_BPF, "perf_event_open": unix.SYS_PERF_EVENT_OPEN,
		"userfaultfd": unix.SYS_USERFAULTFD, "io_uring_setup": unix.SYS_IO_URING_SETUP, "io_uring_enter": unix.SYS_IO_URING_ENTER, "io_uring_register": unix.SYS_IO_URING_REGISTER,
		"kexec_load": unix.SYS_KEXEC_LOAD, "kexec_file_load": unix.SYS_KEXEC_FILE_LOAD, "init_module": unix.SYS_INIT_MODULE, "finit_module": unix.SYS_FINIT_MODULE, "delete_module": unix.SYS_DELETE_MODULE,
		"reboot": unix.SYS_REBOOT, "swapon": unix.SYS_SWAPON, "swapoff": unix.SYS_SWAPOFF, "acct": unix.SYS_ACCT, "quotactl": unix.SYS_QUOTACTL, "quotactl_fd": unix.SYS_QUOTACTL_FD, "syslog": unix.SYS_SYSLOG,
		"settimeofday": unix.SYS_SETTIMEOFDAY, "clock_settime": unix.SYS_CLOCK_SETTIME, "vhangup": unix.SYS_VHANGUP, "move_pages": unix.SYS_MOVE_PAGES, "migrate_pages": unix.SYS_MIGRATE_PAGES, "mbind": unix.SYS_MBIND,
		"process_madvise": unix.SYS_PROCESS_MADVISE, "pidfd_getfd": unix.SYS_PIDFD_GETFD, "kcmp": unix.SYS_KCMP, "open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT, "fanotify_init": unix.SYS_FANOTIFY_INIT,
		"lookup_dcookie": unix.SYS_LOOKUP_DCOOKIE, "nfsservctl": unix.SYS_NFSSERVCTL, "sethostname": unix.SYS_SETHOSTNAME, "setdomainname": unix.SYS_SETDOMAINNAME, "fspick": unix.SYS_FSPICK, "fsconfig": unix.SYS_FSCONFIG,
		"fsmount": unix.SYS_FSMOUNT, "move_mount": unix.SYS_MOVE_MOUNT, "setns": unix.SYS_SETNS,
	} {
		all = append(all, attack{name, func() error { return withheld(number, 0, 0, 0) }})
	}
	for name, flag := range map[string]uintptr{
		"user": unix.CLONE_NEWUSER, "mount": unix.CLONE_NEWNS, "network": unix.CLONE_NEWNET, "process": unix.CLONE_NEWPID, "IPC": unix.CLONE_NEWIPC, "UTS": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP, "time": unix.CLONE_NEWTIME,
	} {
		all = append(all, attack{"unshare: " + name, func() error { return withheld(unix.SYS_UNSHARE, flag, 0, 0) }})
		if flag == unix.CLONE_NEWTIME {
			continue // a signal number, to clone
		}
		all = append(all, attack{"clone: " + name, func() error {
			pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flag|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
			if errno == 0 && pid == 0 {
				unix.Exit(0)
			}
			if errno == 0 {
				return errors.New("a process was made")
			}
			return nil
		}})
	}
	for _, persona := range []uintptr{0x0040000, 0x0400000, 0x0100000} { // no randomisation, code in data, page 0
		all = append(all, attack{fmt.Sprintf("personality %#x", persona), func() error { return withheld(unix.SYS_PERSONALITY, persona, 0, 0) }})
	}
	return all
}

// onKernelFiles are those on what the kernel shows as files.
func onKernelFiles() []attack {
	return []attack{
		{"settings that can be written", func() error { return writable("/proc", "/sys") }},
		{"control: settings can be read", func() error {
			_, err := os.ReadFile("/proc/sys/kernel/osrelease")
			return err
		}},
		{"core pattern", func() error { return must(os.WriteFile("/proc/sys/kernel/core_pattern", []byte("|/tmp/x"), 0), "it") }},
		{"release agent", func() error {
			found := ""
			err := filepath.WalkDir("/sys", func(path string, _ fs.DirEntry, _ error) error {
				if name := filepath.Base(path); name == "release_agent" || name == "cgroup.procs" || name == "uevent_helper" {
					found = path
				}
				return nil
			})
			if err != nil || found != "" {
				return fmt.Errorf("%s %w", found, err)
			}
			return nil
		}},
		{"what tells of the machine", func() error {
			for _, path := range []string{"/proc/kcore", "/proc/kallsyms", "/proc/keys", "/proc/key-users", "/proc/kmsg", "/proc/timer_list", "/proc/interrupts", "/proc/iomem", "/proc/diskstats", "/proc/partitions", "/proc/config.gz"} {
				if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
					return errors.New(path)
				}
			}
			for _, path := range []string{"/sys/firmware", "/sys/class/dmi", "/sys/fs/cgroup", "/sys/kernel/debug", "/sys/kernel/security", "/sys/module", "/sys/class/block", "/dev/kmsg", "/dev/mem", "/dev/kvm", "/dev/fuse", "/dev/vhost-vsock", "/dev/net/tun", "/dev/mqueue"} {
				if _, err := os.Stat(path); err == nil {
					return errors.New(path)
				}
			}
			return nil
		}},
		{"file capability", func() error {
			caps := []byte{1, 0, 0, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}
			return must(unix.Setxattr(self(), "security.capability", caps, 0), "it")
		}},
		{"setuid programs", func() error {
			for _, name := range []string{"su", "sudo", "mount", "newuidmap", "pkexec", "passwd"} {
				path, err := exec.LookPath(name)
				if err != nil {
					continue
				}
				copied := "/tmp/setuid-" + name
				if err := exec.Command("cp", path, copied).Run(); err != nil {
					return err
				}
				_ = os.Chmod(copied, 0o755|fs.ModeSetuid)
			}
			cmd := exec.Command("sh", "-c", "cp /bin/bash /tmp/rootshell && chmod 4755 /tmp/rootshell && exec /tmp/rootshell -p -c 'grep -E NoNewPrivs /proc/self/status'")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "NoNewPrivs:\t1") {
				return fmt.Errorf("%s %w", out, err)
			}
			return nil
		}},
	}
}

// writable looks for a file of the kernel that is not a process's, and can be written to.
func writable(roots ...string) error {
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if _, err := strconv.Atoi(d.Name()); err == nil && filepath.Dir(path) == "/proc" {
				return fs.SkipDir
			}
			if !d.Type().IsRegular() {
				return nil
			}
			if f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0); err == nil {
				f.Close()
				return errors.New(path)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// onTerminals are those on who may have started lap at a terminal.
func onTerminals() []attack {
	inject := func(request uintptr) error {
		master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		defer master.Close()
		b := []byte{'x'}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), request, uintptr(unsafe.Pointer(&b[0]))); errno != unix.EPERM {
			return fmt.Errorf("it says %w", errno)
		}
		return nil
	}
	return []attack{
		{"controlling terminal", func() error {
			f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
			if err == nil {
				f.Close()
			}
			return must(err, "open")
		}},
		{"control: a terminal of its own", func() error {
			master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
			if err != nil {
				return err
			}
			defer master.Close()
			_, err = unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
			return err
		}},
		{"type into a terminal", func() error { return inject(unix.TIOCSTI) }},
		{"type into a terminal, 64 bits", func() error { return inject(unix.TIOCSTI | 1<<32) }},
		{"type into a terminal, signed", func() error { return inject(unix.TIOCSTI | ^uintptr(1<<32-1)) }},
		{"paste into a console", func() error { return inject(unix.TIOCLINUX) }},
	}
}
