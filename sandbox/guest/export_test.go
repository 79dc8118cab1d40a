//go:build linux

package guest

import (
	"io"
	"net/http"

	"lap/sandbox"
)

// TestGuest is a guest without pipes whose places are in one directory.
type TestGuest struct {
	*Guest
	http.Handler
}

// NewTest returns a guest below dir with harness in place of the built-in one. A nil
// harness is the built-in one.
func NewTest(dir string, stderr io.Writer, harness func() Program) TestGuest {
	p := places{root: dir + "/root", work: dir + "/work", scratch: dir + "/scratch", record: dir + "/lib/boot.json", newHarness: (*Guest).builtIn}
	if harness != nil {
		p.newHarness = func(*Guest, *sandbox.Boot, environment) (program, error) { return harness(), nil }
	}
	g := newGuest(stderr, p)
	return TestGuest{g, g.routes()}
}

// Program is a harness.
type Program = program

// Print logs a text.
func (g TestGuest) Print(text string) { g.log.Info(text) }

// Close ends the guest's harness.
func (g TestGuest) Close() { g.closeHarness() }
