//go:build linux

package native

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lap/sandbox"
)

// groupPrefix begins the names of installations' groups.
const groupPrefix = "lap-"

// A groups is where the control groups of this installation's sandboxes are: folders
// below the group of this process, or of one above it, as far as it may make some there.
type groups struct {
	parent cgroup
}

// findGroups finds out what this process may do. It is left where it is.
func findGroups(dir string) *groups {
	sum := sha256.Sum256([]byte(dir))
	name := groupPrefix + hex.EncodeToString(sum[:6])
	h := hierarchies()
	g := &groups{}
	if u, ok := h["unified"]; ok {
		g.parent = u.unified(name)
	}
	for controller, folder := range map[string]*string{"memory": &g.parent.Memory, "pids": &g.parent.PIDs, "cpu": &g.parent.CPU} {
		if v1, ok := h[controller]; ok && *folder == "" && mayMove(v1.own) {
			*folder = usable(filepath.Join(v1.own, name))
		}
	}
	return g
}

// A hierarchy is where one of control groups is mounted, and the group of this process.
type hierarchy struct {
	mount, own string
}

// hierarchies returns those of this machine by controller; that of version 2 is "unified".
func hierarchies() map[string]hierarchy {
	own := map[string]string{}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil { // a kernel without them
		return nil
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			own[controller] = parts[2]
		}
	}
	text, err = os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	found := map[string]hierarchy{}
	for line := range strings.Lines(string(text)) {
		before, after, ok := strings.Cut(line, " - ")
		mount, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(mount) < 5 || len(kind) < 3 {
			continue
		}
		switch kind[0] {
		case "cgroup2":
			found["unified"] = hierarchy{mount[4], below(mount[4], mount[3], own[""])}
		case "cgroup":
			for option := range strings.SplitSeq(kind[2], ",") {
				found[option] = hierarchy{mount[4], below(mount[4], mount[3], own[option])}
			}
		}
	}
	return found
}

// below is the folder of a group, when that of root is mounted at mount.
func below(mount, root, group string) string {
	rel, err := filepath.Rel(root, group)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return mount
	}
	return filepath.Join(mount, rel)
}

// unified finds the nearest group above this process whose children have limits. Without
// one, children of the own can still be frozen.
func (h hierarchy) unified(name string) cgroup {
	for dir := h.own; ; dir = filepath.Dir(dir) {
		on := words(filepath.Join(dir, "cgroup.subtree_control"))
		if slices.Contains(on, "memory") && slices.Contains(on, "pids") && mayMove(dir) {
			if made := usable(filepath.Join(dir, name)); made != "" {
				return h.controlled(made)
			}
		}
		if dir == h.mount || len(dir) <= len(h.mount) {
			break
		}
	}
	if made := usable(filepath.Join(h.own, name)); made != "" && mayMove(h.own) && exists(filepath.Join(made, "cgroup.freeze")) {
		return cgroup{Unified: made}
	}
	return cgroup{}
}

// controlled lets the children of a group have limits.
func (h hierarchy) controlled(dir string) cgroup {
	c := cgroup{Unified: dir}
	for _, controller := range []struct {
		name   string
		folder *string
	}{{"memory", &c.Memory}, {"pids", &c.PIDs}, {"cpu", &c.CPU}} {
		if os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller.name), 0) == nil {
			*controller.folder = dir
		}
	}
	return c
}

func words(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(text))
}

// mayMove reports whether this process may give a group below dir its processes.
func mayMove(dir string) bool {
	return unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil
}

// usable makes a group and returns its folder, "" when this process may not. Empty groups
// beside it are of laps that came to their end, or of some that make theirs again.
func usable(dir string) string {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return ""
	}
	others, err := filepath.Glob(filepath.Join(filepath.Dir(dir), groupPrefix+"*"))
	if err != nil {
		return dir
	}
	for _, other := range others {
		if other != dir {
			_ = unix.Rmdir(other) // fails when there are sandboxes
		}
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// of names the groups of one sandbox.
func (g *groups) of(id string) cgroup {
	c := g.parent
	for _, dir := range []*string{&c.Unified, &c.Memory, &c.PIDs, &c.CPU} {
		if *dir != "" {
			*dir = filepath.Join(*dir, id)
		}
	}
	return c
}

// make makes the groups of one sandbox anew. The error wraps fs.ErrNotExist when others have
// tidied up.
func (g *groups) make(id string, l sandbox.Limits) (cgroup, error) {
	c := g.of(id)
	if err := c.remove(); err != nil {
		return cgroup{}, err
	}
	for _, dir := range c.folders() {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return cgroup{}, errors.Join(err, c.remove())
		}
	}
	if err := c.limit(l); err != nil {
		return cgroup{}, errors.Join(err, c.remove())
	}
	return c, nil
}

// sweep removes groups of sandboxes that are not there any more.
func (g *groups) sweep(there func(id string) bool) error {
	var errs []error
	for _, parent := range g.parent.folders() {
		entries, err := os.ReadDir(parent)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if e.IsDir() && !there(e.Name()) {
				errs = append(errs, cgroup{Unified: filepath.Join(parent, e.Name())}.remove())
			}
		}
	}
	return errors.Join(errs...)
}

// close removes what has no sandboxes.
func (g *groups) close() {
	for _, dir := range g.parent.folders() {
		_ = unix.Rmdir(dir) // fails when there are sandboxes, which go on
	}
}
