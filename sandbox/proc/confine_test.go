//go:build linux

package proc_test

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"lap/sandbox/proc"
)

func TestConfineReachesOnlyWhatIsStarted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	table := proc.NewTable()
	if err := table.Confine(ctx, &work, func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		var out bytes.Buffer
		cmd := exec.Command("grep", "NoNewPrivs", "/proc/self/status")
		cmd.Stdout = &out
		if err := table.Start(cmd); err != nil {
			t.Fatal(err)
		}
		if err := table.Wait(cmd); err != nil || !strings.HasSuffix(strings.TrimSpace(out.String()), "1") {
			t.Errorf("%q, %v", out.String(), err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "grep", "NoNewPrivs", "/proc/self/status").Output(); err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "0") {
		t.Errorf("this process: %q, %v", out, err)
	}
	cancel()
	work.Wait()
	if err := table.Start(exec.Command("true")); err == nil {
		t.Error("a command was started after the end")
	}
}

func TestConfineFails(t *testing.T) {
	var work sync.WaitGroup
	why := errors.New("why")
	if err := proc.NewTable().Confine(t.Context(), &work, func() error { return why }); !errors.Is(err, why) {
		t.Error(err)
	}
	work.Wait()
}
