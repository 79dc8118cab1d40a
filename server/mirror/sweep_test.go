package mirror_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"lap/server/mirror"
)

func TestSweep(t *testing.T) {
	o := newOrigin(t)
	o.push("side", "f", "side")
	h := o.serve("")
	now := time.Now()
	cfg := mirror.Config{Dir: t.TempDir(), Now: func() time.Time { return now }}
	m := mirror.New(cfg)
	write(t, cfg.Dir+"/not-a-mirror/file", "x")
	sweep := func() {
		t.Helper()
		if err := m.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	counts := func(branches, trees int) {
		t.Helper()
		if n := len(glob(t, cfg.Dir, "*/repo.git/refs/lap/*")); n != branches {
			t.Errorf("%d branches, want %d", n, branches)
		}
		if n := len(glob(t, cfg.Dir, "*/trees/*")); n != trees {
			t.Errorf("%d trees, want %d", n, trees)
		}
	}
	unpack(t, m, h.repo("main"))
	unpack(t, m, h.repo("side"))
	sweep()
	counts(2, 2)
	now = now.Add(25 * time.Hour)
	unpack(t, m, h.repo("main"))
	sweep()
	counts(2, 1)
	now = now.Add(29*24*time.Hour + 12*time.Hour)
	sweep()
	counts(1, 0)
	dir, _ := unpack(t, m, h.repo("side"))
	clean(t, dir)
	now = now.Add(31 * 24 * time.Hour)
	sweep()
	counts(0, 0)
	entries, err := os.ReadDir(cfg.Dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "not-a-mirror" {
		t.Errorf("left: %v (%v)", entries, err)
	}
	dir, _ = unpack(t, m, h.repo("main"))
	clean(t, dir)
}

// A mirror that has taken many fetches is packed, and what was fetched is still there.
func TestSweepPacks(t *testing.T) {
	o := newOrigin(t)
	o.push("main", "big", random(1<<20))
	h := o.serve("")
	m, cache, _ := newMirrors(t)
	for i := range 22 {
		o.push("main", "f", fmt.Sprint(i))
		c, err := m.Prepare(t.Context(), h.repo("main"), nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if n := len(glob(t, mirrorDir(t, cache), "repo.git/objects/pack/*.pack")); n != 22 {
		t.Errorf("%d packs before, want 22", n)
	}
	if err := m.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(glob(t, mirrorDir(t, cache), "repo.git/objects/pack/*.pack")); n != 1 {
		t.Errorf("%d packs after, want 1", n)
	}
	o.push("main", "f", "after")
	h.packs.Store(0)
	dir, _ := unpack(t, m, h.repo("main"))
	clean(t, dir)
	if n := h.packs.Load(); n > 20_000 {
		t.Errorf("fetch after a sweep: %d bytes, want few", n)
	}
}

func TestSweepOfNothing(t *testing.T) {
	if err := mirror.New(mirror.Config{Dir: t.TempDir() + "/none"}).Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}
