//go:build linux

package guest_test

import (
	"net/http"
	"strings"
	"testing"

	"lap/sandbox"
)

func TestLogsOfAGuest(t *testing.T) {
	t.Parallel()
	h := newFakeHarness(nil)
	f := booted(t, h)
	frames := <-h.streams
	for range 2000 {
		frames <- "no event"
	}
	frames <- `{"type":"x"}`
	f.journal(0).until("x")
	got := f.send(http.MethodGet, "/logs", "", http.StatusOK)
	if printed := f.stderr.String(); len(got) != sandbox.MaxOutput || !strings.HasSuffix(printed, got) {
		t.Errorf("%d bytes of %d", len(got), len(printed))
	}
}

func TestLogsGoToTheJournal(t *testing.T) {
	t.Parallel()
	h := newFakeHarness(nil)
	f := booted(t, h)
	frames := <-h.streams
	frames <- "no event"
	j := f.journal(0)
	line, err := j.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, `{"n":1,"log":"time=`) || !strings.Contains(line, "frame of the harness dropped") {
		t.Errorf("journal = %s, %v", line, err)
	}
}
