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
	f := booted(t, newFakeHarness(nil))
	for range 3 * sandbox.MaxOutput / 1000 {
		f.guest.Print(strings.Repeat("x", 1000))
	}
	got := f.send(http.MethodGet, "/logs", "", http.StatusOK)
	if printed := f.stderr.String(); len(got) != sandbox.MaxOutput || !strings.HasSuffix(printed, got) {
		t.Errorf("%d bytes of %d", len(got), len(printed))
	}
}

func TestLogsGoToTheJournal(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(nil))
	f.guest.Print("hello")
	line, err := f.journal(0).r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, `{"n":1,"log":"time=`) || !strings.HasSuffix(line, `msg=hello\n"}`+"\n") {
		t.Errorf("journal = %s, %v", line, err)
	}
}
