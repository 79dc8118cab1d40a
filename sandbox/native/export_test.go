//go:build linux

package native

import (
	"os"
	"testing"
	"time"
)

// Age makes a base look as if it was not used for long.
func Age(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-2 * baseAge)
	if err := os.Chtimes(dir+lockSuffix, old, old); err != nil {
		t.Fatal(err)
	}
}

// WithoutGroups makes a runtime find no control groups.
func WithoutGroups(n *Native) { n.found = &groups{} }

// HasGroups reports whether sandboxes of a runtime have limits from the kernel, and whether
// it can freeze them.
func HasGroups(n *Native) (limits, freezer bool) {
	g := n.groups().parent
	return g.Memory != "" && g.PIDs != "", g.Unified != ""
}

// First returns the number of a sandbox's first process.
func First(n *Native, id string) int {
	r, err := n.box(id).read()
	if err != nil || r.Run == nil {
		return 0
	}
	return r.Run.PID
}

// Folders returns the folders of a sandbox's control groups.
func Folders(n *Native, id string) []string { return n.groups().of(id).folders() }

// Advise says what to change when a sandbox cannot be made.
var Advise = advise

// Dir returns the folder of a sandbox.
func Dir(n *Native, id string) string { return n.box(id).dir }

// Size returns how many bytes a sandbox has on the disk, as the guard counts them.
func Size(t *testing.T, n *Native, id string) (size int64, hides bool) {
	t.Helper()
	size, err := n.box(id).size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return size, size >= hidden
}

// KeepSystemAccounts takes people's accounts out of a file.
func KeepSystemAccounts(path string) error { return keepSystemAccounts(path, ids()) }
