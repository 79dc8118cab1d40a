package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newTestLedger(t *testing.T) (*ledger, *canaries) {
	t.Helper()
	c := newCanaries()
	c.mint(control)
	c.mint("first")
	c.mint("second")
	s, err := NewScanner(c.core)
	if err != nil {
		t.Fatal(err)
	}
	return &ledger{scanner: s}, c
}

func TestReportOfLeaks(t *testing.T) {
	l, c := newTestLedger(t)
	l.lookAt("a log", []byte("authorization=Bearer "+c.text["first"]+" and so on "+c.text["second"]))
	l.lookAt("a log", []byte(c.text["first"]))
	l.lookAt("an answer", []byte(c.text["first"]), "first")
	l.lookAt("nothing", []byte("clean"))
	if found := l.lookAt("a sandbox", []byte(c.text[control])); len(found) != 1 || found[0] != control {
		t.Errorf("found %v, want the control", found)
	}
	r := &Report{Canaries: c.secrets(), Places: l.sorted()}
	r.conclude()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if r.Clean || r.Hits() == 0 || !strings.Contains(text, "SECRETS LEAK: ") {
		t.Errorf("clean = %v, hits = %d:\n%s", r.Clean, r.Hits(), text)
	}
	for _, want := range []string{"LEAK  a log ", "first, plain, 2 times: ", "second, plain, 1 time: ", "and so on", "3 hits", "by design: first", "ok    nothing ", "ok    a sandbox "} {
		if !strings.Contains(text, want) {
			t.Errorf("the report does not say %q:\n%s", want, text)
		}
	}
	for name, core := range c.core {
		for _, n := range needles(name, core) {
			if strings.Contains(text, string(n.text)) {
				t.Errorf("the report shows %s as %s", name, n.spelling)
			}
		}
	}
}

func TestReportOfAFailedControl(t *testing.T) {
	r := &Report{Controls: []Control{{"one", true}, {"two", false}}}
	r.conclude()
	var b strings.Builder
	if err := r.Write(&b); err != nil || r.Clean || !strings.Contains(b.String(), "FAIL  two") || !strings.Contains(b.String(), "NOT PROVEN") {
		t.Errorf("clean = %v, %v:\n%s", r.Clean, err, b.String())
	}
	r.Controls[1].Held = true
	if r.conclude(); !r.Clean {
		t.Error("a report without hits and with all controls held is not clean")
	}
}

func TestDataDirectory(t *testing.T) {
	l, c := newTestLedger(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"lap.db-wal": c.text[control] + c.text["first"], "mirrors/config": "url = http://" + c.text["second"] + "@host", "ca.key": "x", "secret.key": "x",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "ca.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	found, err := l.lookAtData(dir)
	if err != nil || len(found) != 2 {
		t.Errorf("in the database are %v, %v", found, err)
	}
	hits := map[string]string{}
	for _, p := range l.sorted() {
		for _, h := range p.Hits {
			hits[p.Name] += h.Canary
		}
	}
	if hits[databasePlace] != "first" || hits[dataPlace] != "second" || hits[keyPlace] != "ca.key" || len(hits) != 3 {
		t.Errorf("hits = %v", hits)
	}
}

func TestMasked(t *testing.T) {
	for in, want := range map[string]string{
		"key=abc \x00\n": "key=abc ..", "lapcanary-bound-": "***-bound-", "a0123456789==": "***==", "": "",
	} {
		if got := masked([]byte(in)); got != want {
			t.Errorf("masked(%q) = %q, want %q", in, got, want)
		}
	}
}
