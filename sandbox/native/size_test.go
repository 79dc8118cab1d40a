//go:build linux

package native_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lap/sandbox"
	"lap/sandbox/native"
)

// TestSize counts what a sandbox hides as well as it can be hidden.
func TestSize(t *testing.T) {
	n := native.New(native.Config{Dir: t.TempDir(), Cache: cache(), Guest: guest(t)})
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	id, err := n.Create(t.Context(), sandbox.Spec{Session: "size", Agent: "a", Generation: 1})
	if err != nil {
		t.Fatal(err)
	}
	upper := filepath.Join(native.Dir(n, id), "layers/root/upper")
	write := func(name string, size int) {
		t.Helper()
		path := filepath.Join(upper, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("many/f", 1)
	before, _ := native.Size(t, n, id)
	for i := range 2000 { // more than are read at once
		write("empty/"+strconv.Itoa(i), 0)
	}
	if after, hides := native.Size(t, n, id); hides || after-before < 2000*4096 {
		t.Errorf("2000 empty files count %d bytes", after-before)
	}
	write("deep/"+strings.Repeat("d/", 300)+"f", 1)
	if _, hides := native.Size(t, n, id); !hides {
		t.Error("a file 300 folders deep is not noticed")
	}
	if err := os.RemoveAll(filepath.Join(upper, "deep")); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 { // who is root gets in everywhere
		if err := os.Chmod(filepath.Join(upper, "many"), 0); err != nil {
			t.Fatal(err)
		}
		if _, hides := native.Size(t, n, id); !hides {
			t.Error("a closed folder is not noticed")
		}
	}
	if err := n.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// TestAccountsOfThisMachineStay has an /etc/passwd that is a link, as some systems do.
func TestAccountsOfThisMachineStay(t *testing.T) {
	const people = "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n"
	machine, etc := filepath.Join(t.TempDir(), "passwd"), t.TempDir()
	if err := os.WriteFile(machine, []byte(people), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(etc, "passwd")
	if err := os.Symlink(machine, link); err != nil {
		t.Fatal(err)
	}
	if err := native.KeepSystemAccounts(link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{machine: people, link: "root:x:0:0::/root:/bin/sh\n"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", path, got, err)
		}
	}
}
