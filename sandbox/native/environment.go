//go:build linux

package native

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// environment is what a sandbox has of lap's: where programs are.
func environment() []string {
	var path []string
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin") {
		if seen(dir) && !slices.Contains(path, dir) {
			path = append(path, dir)
		}
	}
	return []string{"PATH=" + strings.Join(path, ":")}
}

// seen reports whether sandboxes have a directory of this machine.
func seen(dir string) bool {
	for _, top := range layers {
		if dir == top || strings.HasPrefix(dir, top+"/") {
			return true
		}
	}
	return false
}

// allCapabilities are those that the kernel knows; in its own namespaces the new process
// has them until it has made the sandbox.
func allCapabilities() []uintptr {
	var all []uintptr
	for c := range uintptr(64) {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil {
			break
		}
		all = append(all, c)
	}
	return all
}
