//go:build linux

package native

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
)

// Users of sandboxes, where lap is root: a range that no user of a machine has (it lies in
// the one that systemd gives to containers).
const (
	firstID = 1_234_567_168
	countID = 65_536
)

// An idMap says who the users of sandboxes are on this machine.
type idMap struct {
	host, count int
}

// ids is the map that this process can use: without privileges, or in a container that has
// no such ids, its own user alone.
var ids = sync.OnceValue(func() idMap {
	if os.Geteuid() == 0 && hasIDs("/proc/self/uid_map") && hasIDs("/proc/self/gid_map") {
		return idMap{host: firstID, count: countID}
	}
	return idMap{host: os.Geteuid(), count: 1}
})

// hasIDs reports whether the ids of sandboxes are in a map of this process.
func hasIDs(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		var inside, outside, count int
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err == nil && inside <= firstID && inside+count >= firstID+countID {
			return true
		}
	}
	return false
}

func (m idMap) apply(attr *syscall.SysProcAttr) {
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: m.host, Size: m.count}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: m.group(), Size: m.count}}
	attr.GidMappingsEnableSetgroups = m.count > 1
}

func (m idMap) group() int {
	if m.count > 1 {
		return m.host
	}
	return os.Getegid()
}

// own gives a file to the sandbox's root.
func (m idMap) own(path string) error {
	if m.count == 1 {
		return nil
	}
	return os.Lchown(path, m.host, m.host)
}
