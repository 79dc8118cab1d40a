//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// guest are attacks on what holds the sandbox in.
func guest([]string) []attack { return slices.Concat(onRights(), onFiles(), onKernel()) }

// onRights are those that would give it more rights, or end who has taken them away.
func onRights() []attack {
	return []attack{
		{"kill -9 1", func() error { _ = unix.Kill(1, unix.SIGKILL); return alive() }},
		{"stop 1", func() error { _ = unix.Kill(1, unix.SIGSTOP); return alive() }},
		{"flush nftables", flushRules},
		{"delete the routes", deleteRoute},
		{"raise capabilities", raise},
		{"bounding set", func() error {
			out, err := os.ReadFile("/proc/self/status")
			if err != nil || !strings.Contains(string(out), "CapBnd:\t00000000000000cb") {
				return fmt.Errorf("%s %w", out, err)
			}
			return nil
		}},
		{"ambient capability", func() error {
			return must(unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_ADMIN, 0, 0), "it")
		}},
		{"setuid binary", setuid},
		{"file capability", func() error {
			// version 2, effective; permitted: all
			caps := []byte{1, 0, 0, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}
			return must(unix.Setxattr(self(), "security.capability", caps, 0), "it")
		}},
		{"new network", func() error { return must(exec.Command("unshare", "-n", "true").Run(), "unshare -n") }},
		{"new user and network", func() error { return must(exec.Command("unshare", "-rn", "true").Run(), "unshare -rn") }},
		{"new mounts", func() error { return must(exec.Command("unshare", "-m", "true").Run(), "unshare -m") }},
		{"nsenter", func() error { return must(exec.Command("nsenter", "-t", "1", "-m", "-n", "true").Run(), "nsenter") }},
	}
}

// onFiles are those on what is mounted.
func onFiles() []attack {
	return []attack{
		{"mount", func() error { return must(unix.Mount("none", "/mnt", "tmpfs", 0, ""), "it") }},
		{"mount proc", func() error { return must(unix.Mount("proc", "/mnt", "proc", 0, ""), "it") }},
		{"remount lap's volume", func() error { return must(unix.Mount("", "/.lap", "", unix.MS_REMOUNT|unix.MS_BIND, ""), "it") }},
		{"unmount lap's volume", func() error { return must(unix.Unmount("/.lap", unix.MNT_DETACH), "it") }},
		{"overwrite lap", func() error {
			f, err := os.OpenFile("/.lap/lap", os.O_WRONLY, 0)
			if err == nil {
				f.Close()
			}
			return must(err, "it")
		}},
		{"overwrite lap as it runs", func() error {
			f, err := os.OpenFile("/proc/1/exe", os.O_WRONLY, 0)
			if err == nil {
				f.Close()
			}
			return must(err, "it")
		}},
		{"block device", func() error {
			_ = os.Remove("/tmp/disk")
			return must(unix.Mknod("/tmp/disk", unix.S_IFBLK|0o600, int(unix.Mkdev(254, 0))), "mknod")
		}},
	}
}

// onKernel are those on what the kernel and the engine offer.
func onKernel() []attack {
	return []attack{
		{"network settings", func() error { return must(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0), "it") }},
		{"core pattern", func() error { return must(os.WriteFile("/proc/sys/kernel/core_pattern", []byte("|/tmp/x"), 0), "it") }},
		{"system request", func() error { return must(os.WriteFile("/proc/sysrq-trigger", []byte("h"), 0), "it") }},
		{"limits of its cgroup", limits},
		{"engine's socket", sockets},
		{"BPF", func() error {
			_, _, errno := unix.Syscall(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&make([]byte, 128)[0])), 128) //nolint:gosec // read during the call
			if errno == 0 {
				return errors.New("a map was made")
			}
			return nil
		}},
		{"resolv.conf", func() error {
			before, err := os.ReadFile("/etc/resolv.conf")
			if err != nil {
				return err
			}
			if err := os.WriteFile("/etc/resolv.conf", []byte("nameserver 192.0.2.53\n"), 0); err != nil { //nolint:gosec // it has its mode
				return nil
			}
			defer func() { _ = os.WriteFile("/etc/resolv.conf", before, 0) }() //nolint:gosec // as above
			return askDNS("udp4", "192.0.2.53")
		}},
	}
}

func self() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// alive reports that the guest is gone or serves nobody.
func alive() error {
	status, err := os.ReadFile("/proc/1/status")
	if err != nil {
		return err
	}
	if strings.Contains(string(status), "State:\tT") {
		return errors.New("it is stopped")
	}
	conn, err := net.Dial("tcp", proxyAddr)
	if err != nil {
		return err
	}
	return conn.Close()
}

func flushRules() error {
	conn, err := nftables.New()
	if err != nil {
		return nil
	}
	conn.FlushRuleset()
	return must(conn.Flush(), "it")
}

func deleteRoute() error {
	conn, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil
	}
	defer conn.Close()
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[4], b[7] = unix.AF_INET, unix.RT_TABLE_LOCAL, unix.RTN_LOCAL
	_, err = conn.Execute(netlink.Message{Header: netlink.Header{Type: unix.RTM_DELROUTE, Flags: netlink.Request | netlink.Acknowledge}, Data: b})
	if !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("route: %w", err)
	}
	return nil
}

func raise() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	all := [2]unix.CapUserData{{Effective: ^uint32(0), Permitted: ^uint32(0), Inheritable: ^uint32(0)}, {}}
	return must(unix.Capset(&header, &all[0]), "capset")
}

// setuid runs a setuid copy of a shell as another user, who must stay that.
func setuid() error {
	if err := exec.Command("sh", "-c", "cp /bin/bash /tmp/rootshell && chown 0 /tmp/rootshell && chmod 4755 /tmp/rootshell").Run(); err != nil {
		return err
	}
	cmd := exec.Command("/tmp/rootshell", "-p", "-c", "id -u; grep CapEff /proc/self/status")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "1000\n") || !strings.Contains(string(out), "0000000000000000") {
		return fmt.Errorf("%s %w", out, err)
	}
	return nil
}

func sockets() error {
	for _, path := range []string{"/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"} {
		if _, err := os.Stat(path); err == nil {
			return errors.New(path)
		}
	}
	for _, path := range []string{"@/containerd-shim", "@/org/freedesktop/systemd1", "@docker"} {
		if conn, err := net.Dial("unix", path); err == nil {
			conn.Close()
			return errors.New(path)
		}
	}
	return nil
}

// limits opens for writing what limits the sandbox.
func limits() error {
	for _, pattern := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup/*/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range paths {
			if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
				continue
			}
			if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
				f.Close()
				return errors.New(path)
			}
		}
	}
	return nil
}
