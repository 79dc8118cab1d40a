//go:build linux

package proc_test

import (
	"bufio"
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"lap/sandbox/proc"
)

func TestWaitKeepsExitStatusWhileReaping(t *testing.T) {
	table := proc.NewTable()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); table.Reap(ctx) }()
	defer func() { cancel(); <-done }()
	for i := range 50 {
		cmd := exec.Command("sh", "-c", "exit "+strconv.Itoa(i%7))
		if err := table.Start(cmd); err != nil {
			t.Fatal(err)
		}
		err := table.Wait(cmd)
		var exit *exec.ExitError
		if got := cmd.ProcessState.ExitCode(); got != i%7 || (err != nil && !errors.As(err, &exit)) {
			t.Fatalf("run %d: exit code %d, error %v", i, got, err)
		}
	}
}

func TestKillTreeEndsWhatLeftTheGroup(t *testing.T) {
	const mark = "LAP_TEST_MARK=kill-tree"
	table := proc.NewTable()
	// The inner shell leaves session and group, its parent exits: only the mark is left.
	cmd := exec.Command("sh", "-c", `(setsid sh -c 'echo $$; exec sleep 300' &) ; sleep 300`)
	cmd.Env = append(cmd.Environ(), mark)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Start(cmd); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	escaped, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	proc.KillTree(cmd.Process.Pid, mark)
	if err := table.Wait(cmd); err == nil {
		t.Error("the leader ended by itself")
	}
	if err := syscall.Kill(escaped, 0); err == nil && !zombie(escaped) {
		t.Errorf("process %d outlived KillTree", escaped)
	}
}

// zombie reports whether pid has exited and only waits for its parent, which in this
// test is not us.
func zombie(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err != nil || strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}
