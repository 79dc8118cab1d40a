package mirror_test

import (
	"strings"
	"syscall"
	"testing"

	"lap/server/mirror"
)

// A full disk is told as such, wherever it fills up, and leaves nothing unfinished.
func TestFailureOfAFullDisk(t *testing.T) {
	o := newOrigin(t)
	o.push("small", "s", "s")
	o.push("main", "big", random(2<<20))
	h := o.serve("")
	for _, size := range []string{"1m", "3m", "5m", "7m", "20m"} {
		t.Run(size, func(t *testing.T) {
			disk := t.TempDir()
			if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+size); err != nil {
				t.Skipf("a small disk cannot be mounted here: %v", err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(disk, 0); err != nil {
					t.Error(err)
				}
			})
			m := mirror.New(mirror.Config{Dir: disk + "/mirrors"})
			if size == "20m" {
				unpack(t, m, h.repo("main"))
			} else {
				fails(t, m, h.repo("main"), mirror.ErrDiskFull, "disk", "is full", "/o/r")
			}
			for path := range contents(t, disk) {
				if strings.Contains(path, "tmp") {
					t.Errorf("%s is left", path)
				}
			}
		})
	}
}
