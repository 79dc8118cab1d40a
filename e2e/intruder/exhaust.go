//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// onLimits are those that take all there is.
func (t target) onLimits() []attack {
	return []attack{
		{"inotify", func() error {
			for i := range 4096 {
				fd, err := unix.InotifyInit()
				if err != nil {
					return nil
				}
				defer unix.Close(fd)
				if i > 128 {
					break
				}
			}
			return errors.New("more than 128 instances")
		}},
		{"files in memory", func() error {
			for _, dir := range []string{"/dev/shm", "/run", "/dev"} {
				limit, err := strconv.ParseInt(t["temp"], 10, 64)
				if err != nil {
					return err
				}
				f, err := os.Create(dir + "/full")
				if err != nil {
					return err
				}
				err = unix.Fallocate(int(f.Fd()), 0, 0, limit+1<<20)
				f.Close()
				_ = os.Remove(dir + "/full")
				if err == nil {
					return errors.New(dir)
				}
			}
			return nil
		}},
		{"names in memory", func() error {
			const many = 2_000_000
			var s unix.Statfs_t
			for _, dir := range []string{"/dev", "/dev/shm", "/run", "/sys"} {
				if err := unix.Statfs(dir, &s); err != nil {
					return err
				}
				if s.Files == 0 || s.Files > many {
					return fmt.Errorf("%s has %d", dir, s.Files)
				}
			}
			return nil
		}},
		{"memory", func() error {
			out, err := exec.Command(self(), "fill", t["memory"]).Output()
			if strings.Contains(string(out), "filled") {
				return errors.New("there is no end of it")
			}
			return must(err, "it")
		}},
		{"shared memory", func() error {
			limit, err := strconv.ParseInt(t["temp"], 10, 64)
			if err != nil {
				return err
			}
			id, err := unix.SysvShmGet(unix.IPC_PRIVATE, int(limit+1<<20), unix.IPC_CREAT|0o600)
			if err == nil {
				_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
			}
			return must(err, "shmget")
		}},
		{"processes", func() error {
			limit, err := strconv.Atoi(t["pids"])
			if err != nil {
				return err
			}
			var all []*exec.Cmd
			defer func() {
				for _, cmd := range all {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}
			}()
			for len(all) <= limit {
				cmd := exec.Command("sleep", "60")
				if err := cmd.Start(); err != nil {
					break
				}
				all = append(all, cmd)
			}
			if len(all) > limit || len(all) < limit/4 {
				return fmt.Errorf("%d processes", len(all))
			}
			return nil
		}},
		{"core files", func() error {
			var l unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil || l.Max > 1 {
				return fmt.Errorf("limit %d %w", l.Max, err)
			}
			return nil
		}},
		{"out of memory last", func() error {
			text, err := os.ReadFile("/proc/self/oom_score_adj")
			if err != nil {
				return err
			}
			if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || n < 500 {
				return fmt.Errorf("%s %w", text, err)
			}
			return must(os.WriteFile("/proc/self/oom_score_adj", []byte("-500"), 0), "it")
		}},
	}
}

// fill uses memory, and says so when it has it.
func fill(text string) {
	size, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	all := make([]byte, size+size/4)
	for i := 0; i < len(all); i += 4096 {
		all[i] = 1
	}
	fmt.Println("filled", len(all))
}

// onLayers plant what would lead who mounts or removes the sandbox's files somewhere else.
// What comes of it is for the test to see.
func onLayers() []attack {
	return []attack{
		{"attributes of layers", func() error {
			dir := "/work/redirected"
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			file := "/work/redirected/file"
			if err := os.WriteFile(file, []byte("x"), 0o644); err != nil { //nolint:gosec // as any file
				return err
			}
			for _, name := range []string{"trusted.overlay.redirect", "trusted.overlay.opaque", "trusted.overlay.metacopy", "security.capability"} {
				if err := unix.Setxattr(dir, name, []byte("/etc"), 0); err == nil {
					return errors.New(name)
				}
			}
			for _, name := range []string{"user.overlay.redirect", "user.overlay.opaque", "user.overlay.metacopy", "user.overlay.origin", "user.overlay.whiteout", "user.overlay.overlay.redirect"} {
				_ = unix.Setxattr(dir, name, []byte("/etc"), 0) // the kernel may keep it under another name
				_ = unix.Setxattr(file, name, []byte("/etc"), 0)
			}
			return nil
		}},
		{"links out of the layers", func() error {
			for i, to := range []string{"/", "../../../../../../../../tmp", "/proc/self/root", "/etc"} {
				if err := os.Symlink(to, fmt.Sprintf("/work/link%d", i)); err != nil {
					return err
				}
			}
			return nil
		}},
		{"deep folders", func() error {
			if err := os.Mkdir("/work/deep", 0o755); err != nil {
				return err
			}
			if err := os.Chdir("/work/deep"); err != nil {
				return err
			}
			defer func() { _ = os.Chdir("/") }()
			name := strings.Repeat("d", 200)
			for range 100 {
				if err := errors.Join(os.Mkdir(name, 0o755), os.Chdir(name)); err != nil {
					return err
				}
			}
			return nil
		}},
		{"folders nobody may enter", func() error {
			if err := os.MkdirAll("/work/closed/inner", 0o755); err != nil {
				return err
			}
			if err := os.WriteFile("/work/closed/inner/file", nil, 0o400); err != nil {
				return err
			}
			return errors.Join(os.Chmod("/work/closed/inner", 0), os.Chmod("/work/closed", 0))
		}},
	}
}
