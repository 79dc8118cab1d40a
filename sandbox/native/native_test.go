//go:build linux

package native_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lap/sandbox"
	"lap/sandbox/native"
	"lap/sandbox/pipe"
)

func TestLapAnswers(t *testing.T) {
	n := newNative(t, native.Config{Guest: lap(t)})
	id, err := n.Create(t.Context(), spec("s", sandbox.Limits{}))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := n.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	first := ask(t, conn)
	if conn, err = n.Dial(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if second := ask(t, conn); first == "" || first != second {
		t.Errorf("a second pipe reaches %q, not %q", second, first)
	}
}

// ask asks lap in a sandbox how it is.
func ask(t *testing.T, conn io.ReadWriteCloser) string {
	t.Helper()
	h, err := pipe.NewHost(conn)
	if err != nil {
		t.Fatal(err)
	}
	go h.Serve("s", nil)
	defer h.Close()
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return h.Dial(ctx) },
	}}
	res, err := c.Get("http://sandbox/health")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLife(t *testing.T) {
	n := newNative(t, native.Config{})
	id, err := n.Create(t.Context(), spec("s", sandbox.Limits{}))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := n.Inspect(t.Context(), id); err != nil || d.State != sandbox.StateCreated || d.Name != "lap-s-1" || d.Image != "i" || !d.StartedAt.IsZero() {
		t.Errorf("created: %+v %v", d, err)
	}
	if _, err := n.Dial(t.Context(), id); !errors.Is(err, sandbox.ErrGone) {
		t.Errorf("a pipe to one that never ran: %v", err)
	}
	sh := start(t, n, id)
	sh.want("echo kept >/root/file; echo kept >/usr/local/file; id -u", "0")
	dial(t, n, id).want("cat /root/file", "kept")
	if d, err := n.Inspect(t.Context(), id); err != nil || d.State != sandbox.StateRunning || d.StartedAt.IsZero() || !d.FinishedAt.IsZero() {
		t.Errorf("running: %+v %v", d, err)
	}
	if _, err := n.Start(t.Context(), id); err == nil {
		t.Error("it was started twice")
	}
	if err := syscall.Kill(native.First(n, id), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var d sandbox.Detail
	until(t, "its end is known", func() bool {
		d, err = n.Inspect(t.Context(), id)
		return err != nil || !d.FinishedAt.IsZero()
	})
	if err != nil || d.State != sandbox.StateExited || d.ExitCode != 137 || d.OOMKilled {
		t.Errorf("exited: %+v %v", d, err)
	}
	if err := n.Pause(t.Context(), id); !errors.Is(err, sandbox.ErrGone) {
		t.Errorf("pause one that has ended: %v", err)
	}
	start(t, n, id).want("cat /root/file /usr/local/file", "kept\nkept")
	if list, err := n.List(t.Context()); err != nil || len(list) != 1 || list[0].ID != id || list[0].State != sandbox.StateRunning {
		t.Errorf("list: %+v %v", list, err)
	}
	first := native.First(n, id)
	if err := n.Remove(t.Context(), "lap-s-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root", first)); err == nil {
		t.Error("its first process goes on")
	}
	for _, dir := range native.Folders(n, id) {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
	if _, err := n.Inspect(t.Context(), id); !errors.Is(err, sandbox.ErrGone) {
		t.Errorf("inspect what was removed: %v", err)
	}
	for _, id := range []string{id, "", "native-", "native-../x", "../../etc", "nothing", "trash"} {
		if err := n.Remove(t.Context(), id); err != nil {
			t.Errorf("remove %q: %v", id, err)
		}
	}
}

func TestCreateReplaces(t *testing.T) {
	n := newNative(t, native.Config{})
	_, sh := begin(t, n, spec("s", sandbox.Limits{}))
	sh.want("touch /root/old; echo done", "done")
	first := native.First(n, "native-s-1")
	_, sh = begin(t, n, spec("s", sandbox.Limits{}))
	sh.want("ls /root/old >/dev/null 2>&1 || echo new", "new")
	if native.First(n, "native-s-1") == first {
		t.Error("the old one goes on")
	}
}

func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	good := guest(t)
	n := newNative(t, native.Config{Dir: dir})
	id, err := n.Create(t.Context(), spec("s", sandbox.Limits{}))
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho told >&4\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	bad := native.New(native.Config{Dir: dir, Cache: cache(), Guest: broken})
	if _, err := bad.Start(t.Context(), id); !errors.Is(err, sandbox.ErrUnavailable) || !strings.Contains(err.Error(), "told") {
		t.Errorf("a guest that fails: %v", err)
	}
	if _, err := bad.Ping(t.Context()); !errors.Is(err, sandbox.ErrUnavailable) {
		t.Errorf("a guest that is no program: %v", err)
	}
	if err := bad.Close(); err != nil {
		t.Error(err)
	}
	if s := state(t, n, id); s != sandbox.StateCreated {
		t.Errorf("it is %s", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Start(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("a start that is given up: %v", err)
	}
	if p := running(filepath.Base(good)); len(p) > 0 {
		t.Errorf("processes are left: %v", p)
	}
	start(t, n, id).want("echo yes", "yes")
}

func TestManyAtOnce(t *testing.T) {
	n := newNative(t, native.Config{})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := wholeLife(t.Context(), n, fmt.Sprintf("s%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if list, err := n.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("left: %v %v", list, err)
	}
}

// wholeLife does with a sandbox what can be done, some of it at once.
func wholeLife(ctx context.Context, n *native.Native, name string) error {
	id, err := n.Create(ctx, spec(name, sandbox.Limits{Memory: 1 << 30, PIDs: 100, CPUs: 1}))
	if err != nil {
		return err
	}
	conn, err := n.Start(ctx, id)
	if err != nil {
		return err
	}
	defer conn.Close()
	var all sync.WaitGroup
	var errs [4]error
	all.Go(func() { _, errs[0] = n.List(ctx) })
	all.Go(func() {
		errs[1] = errors.Join(n.Pause(ctx, id), n.Pause(ctx, id), n.Unpause(ctx, id), n.Unpause(ctx, id))
	})
	all.Go(func() {
		if conn, err := n.Dial(ctx, id); err == nil {
			conn.Close()
		} else if !errors.Is(err, sandbox.ErrPaused) {
			errs[2] = err
		}
	})
	all.Wait()
	all.Go(func() { _ = n.Pause(ctx, id) }) // it may be gone
	all.Go(func() { errs[2] = n.Remove(ctx, id) })
	all.Go(func() { errs[3] = n.Remove(ctx, id) })
	all.Wait()
	return errors.Join(errs[:]...)
}

func TestPause(t *testing.T) {
	for _, how := range []string{"frozen", "stopped"} {
		t.Run(how, func(t *testing.T) {
			n := newNative(t, native.Config{})
			if how == "stopped" {
				native.WithoutGroups(n)
			} else if _, freezer := native.HasGroups(n); !freezer {
				t.Skip("no control groups of version 2 here that this user may make")
			}
			id, sh := begin(t, n, spec("s", sandbox.Limits{}))
			sh.want("(while :; do echo >>/root/ticks; done) >/dev/null 2>&1 & (setsid sleep 1000 >/dev/null 2>&1 &); echo on", "on")
			for range 2 {
				if err := n.Pause(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := n.Dial(t.Context(), id); !errors.Is(err, sandbox.ErrPaused) {
				t.Errorf("a pipe to a paused one: %v", err)
			}
			if s := state(t, n, id); s != sandbox.StatePaused {
				t.Errorf("it is %s", s)
			}
			sh.send("cat /root/ticks | wc -l")
			if size := growth(t, n, id); size != 0 {
				t.Errorf("it wrote %d bytes while it was paused", size)
			}
			for range 2 {
				if err := n.Unpause(t.Context(), id); err != nil {
					t.Fatal(err)
				}
			}
			var answer string
			if err := sh.out.Decode(&answer); err != nil || answer == "" {
				t.Errorf("it answers %q %v", answer, err)
			}
			until(t, "its processes go on", func() bool { return growth(t, n, id) > 0 })
			if err := n.Pause(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if err := n.Remove(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// growth is by how much the file of TestPause grows in a moment.
func growth(t *testing.T, n *native.Native, id string) int64 {
	t.Helper()
	size := func() int64 {
		info, err := os.Stat(fmt.Sprintf("/proc/%d/root/root/ticks", native.First(n, id)))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before := size()
	time.Sleep(20 * time.Millisecond) // for what must not happen there is nothing to wait for
	return size() - before
}
