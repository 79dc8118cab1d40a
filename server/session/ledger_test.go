package session_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lap/db"
	"lap/sandbox"
	"lap/sandbox/pipe"
	"lap/sandbox/vault"
	"lap/sandbox/vault/swap"
	"lap/server/session"
)

// A flood of one session's connections takes nothing from another, and what is lost is counted.
func TestFloodOfConnections(t *testing.T) {
	w := newWorld(t, nil)
	calm, busy := w.ready(t), w.ready(t)
	session.Connected(w.Engine, vault.Connection{Sandbox: calm.ID, Host: "calm.example"})
	const n = 20_000
	for i := range n {
		session.Connected(w.Engine, vault.Connection{Sandbox: busy.ID, Port: i, Reason: strings.Repeat("x", 10_000)})
	}
	if err := w.FlushEgress(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, total, err := w.store.Egress(t.Context(), calm.ID, 9, 0); err != nil || total != 1 {
		t.Errorf("the calm session has %d, %v", total, err)
	}
	list, total, err := w.store.Egress(t.Context(), busy.ID, db.KeptEgress, 0)
	dropped, derr := w.store.EgressDropped(t.Context(), busy.ID)
	if err != nil || derr != nil || int64(total)+dropped != n || total < db.KeptEgress/2 || total > db.KeptEgress {
		t.Fatalf("%d kept, %d dropped, %v, %v", total, dropped, err, derr)
	}
	if last := list[len(list)-1]; last.Port != n-1 || len(last.Reason) != 512 {
		t.Errorf("the last is %d with a reason of %d bytes", last.Port, len(last.Reason))
	}
}

// Evidence outlives noise that comes faster than it can be stored.
func TestFloodOfRequests(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	long := strings.Repeat("é", 5000)
	secret := swap.Credential{Name: "K", Stub: "stub_k", Value: "0123456789abcdef"}
	session.Requested(w.Engine, vault.Request{
		Sandbox: s.ID, Method: long, Host: long, Path: "/" + long, Note: long,
		Report: swap.Report{Swapped: []swap.Credential{secret}, Declined: []swap.Declined{{Name: "D", Reason: long}}},
	})
	const n = 5000
	for range n {
		session.Requested(w.Engine, vault.Request{Sandbox: s.ID, Method: "GET", Path: "/" + long})
	}
	if err := w.FlushEgress(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, total, err := w.store.Interceptions(t.Context(), s.ID, 999, 0)
	dropped, derr := w.store.InterceptionsDropped(t.Context(), s.ID)
	if err != nil || derr != nil || total != db.KeptInterceptions || int64(total)+dropped != n+1 {
		t.Fatalf("%d kept, %d dropped, %v, %v", total, dropped, err, derr)
	}
	one := list[0]
	if len(one.Swapped) != 1 || one.Swapped[0] != (db.SwappedCredential{Stub: "stub_k", Name: "K", Tail: "ef"}) {
		t.Fatalf("the first is %+v", one)
	}
	for _, text := range []struct {
		text  string
		bytes int
	}{{one.Method, 32}, {one.Host, 512}, {one.Path, 1023}, {one.Note, 512}, {one.Declined[0].Reason, 512}} {
		if len(text.text) != text.bytes || !utf8.ValidString(text.text) {
			t.Errorf("%d bytes, want %d: %q", len(text.text), text.bytes, text.text)
		}
	}
}

// Who asks and goes away, and a store that fails, lose nothing.
func TestRecordsSurviveFailures(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	rename := func(from, to string) {
		t.Helper()
		if _, err := w.file.ExecContext(t.Context(), "ALTER TABLE "+from+" RENAME TO "+to); err != nil {
			t.Fatal(err)
		}
	}
	rename("egress", "away")
	session.Connected(w.Engine, vault.Connection{Sandbox: s.ID, Port: 1})
	session.Requested(w.Engine, vault.Request{Sandbox: s.ID, Path: "/1"})
	if err := w.FlushEgress(t.Context()); err == nil {
		t.Fatal("there is no table, and no error")
	}
	session.Connected(w.Engine, vault.Connection{Sandbox: s.ID, Port: 2})
	session.Requested(w.Engine, vault.Request{Sandbox: s.ID, Path: "/2"})
	for range 9 {
		_ = w.FlushEgress(gone) // it may begin or not
	}
	rename("away", "egress")
	for range 9 {
		_ = w.FlushEgress(gone)
	}
	if err := w.FlushEgress(t.Context()); err != nil {
		t.Fatal(err)
	}
	connections, _, err := w.store.Egress(t.Context(), s.ID, 9, 0)
	if err != nil || len(connections) != 2 || connections[0].Port != 1 || connections[1].Port != 2 {
		t.Errorf("%+v, %v", connections, err)
	}
	requests, _, err := w.store.Interceptions(t.Context(), s.ID, 9, 0)
	if err != nil || len(requests) != 2 || requests[0].Path != "/1" || requests[1].Path != "/2" {
		t.Errorf("%+v, %v", requests, err)
	}
}

// out opens a connection out of a sandbox, and returns its end at the target.
func (w *world) out(t *testing.T, s db.Session, targets <-chan net.Conn) net.Conn {
	t.Helper()
	var guest *pipe.Guest
	w.runtime.do(*s.ContainerID, func(b *fakeBox) { guest = b.guest.pipes[len(b.guest.pipes)-1] })
	inside, err := guest.Open(pipe.Egress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = inside.Close() })
	if err := json.NewEncoder(inside).Encode(sandbox.EgressRequest{Host: "out.example", Port: 22, Via: sandbox.ViaSOCKS}); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(inside).ReadString('\n'); err != nil || strings.Contains(line, "error") {
		t.Fatalf("answer %s, %v", line, err)
	}
	return receive(t, targets)
}

// newOutWorld is a world whose sandboxes reach targets.
func newOutWorld(t *testing.T) (*world, <-chan net.Conn) {
	t.Helper()
	targets := make(chan net.Conn, 9)
	return newWorld(t, func(c *session.Config) {
		c.Egress.Network = &vault.Network{
			Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("8.8.8.8")}, nil
			},
			Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
				ours, theirs := net.Pipe()
				targets <- theirs
				return ours, nil
			},
		}
	}), targets
}

// awaitEnd waits until a connection is closed on the other side.
func awaitEnd(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience)) // fails when it is closed already
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is not closed: %v", err)
	}
}

// A session that has ended reaches nothing, also before its sandbox is removed.
func TestEgressEndsWithItsSession(t *testing.T) {
	w, targets := newOutWorld(t)
	s := w.ready(t)
	target := w.out(t, s, targets)
	held, release := w.runtime.hold("before remove")
	defer release()
	stopped := make(chan error, 1)
	go func() {
		_, err := w.Stop(t.Context(), s.ID)
		stopped <- err
	}()
	awaitEnd(t, target)
	receive(t, held)
	if _, err := session.Policy(w.Engine, t.Context(), s.ID); err == nil {
		t.Error("a session that was stopped has a policy")
	}
	release()
	if err := receive(t, stopped); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if err := w.FlushEgress(t.Context()); err != nil {
			return err
		}
		return oneConnection(t, w, s.ID)
	})
}

// A session has no policy from the moment on that it is not ready any more.
func TestPolicyNeedsARunningSession(t *testing.T) {
	w, targets := newOutWorld(t)
	s := w.ready(t)
	target := w.out(t, s, targets)
	if err := w.store.MarkDead(t.Context(), s.ID, s.Generation, "lost", true); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Policy(w.Engine, t.Context(), s.ID); err == nil || !strings.Contains(err.Error(), "the session has ended") {
		t.Errorf("error = %v", err)
	}
	w.Changed(w.agent.ID)
	awaitEnd(t, target)
}

// What is open when lap stops is stored, too.
func TestStopStoresOpenConnections(t *testing.T) {
	w, targets := newOutWorld(t)
	s := w.ready(t)
	target := w.out(t, s, targets)
	w.stop()
	awaitEnd(t, target)
	if err := oneConnection(t, w, s.ID); err != nil {
		t.Error(err)
	}
}
