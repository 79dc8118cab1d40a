//go:build linux

package guest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLastLineOfOutput(t *testing.T) {
	tests := []struct{ name, output, want string }{
		{"nothing", "", ""},
		{"blank lines only", "\n \r\n\t\n", ""},
		{"whole line", "a\nb\n", "b"},
		{"line that has not ended", "a\nb", "b"},
		{"blank lines after it", "a\n\n \n", "a"},
		{"progress bar", " 10%\r 20%\r", "20%"},
		{"line ends of two characters", "a\r\nb\r\n", "b"},
		{"colours", "\x1b[1;32mdone\x1b[0m\n\x1b[K\n", "done"},
		{"title", "\x1b]0;a title\x07text\n", "text"},
		{"not utf-8", "a\xffb\x00c\n", "abc"},
		{"hidden characters", "a\u202eb\u200bc\u00a0d\u2028e\n", "abc d e"},
		{"long", strings.Repeat("é", 301) + "\n", strings.Repeat("é", 299) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := &printed{log: &bytes.Buffer{}}
			fmt.Fprint(o, tt.output)
			if got := o.last(); got != tt.want {
				t.Errorf("last = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReasonInOutput(t *testing.T) {
	tests := []struct{ name, prefix, output, want string }{
		{"nothing", "ERROR:", "", ""},
		{"errors", "ERROR:", "a\nERROR: b\nc\n  ERROR: d\nERROR: e", "ERROR: b ERROR: e"},
		{"no errors", "ERROR:", "a\nb\n", "a b"},
		{"errors do not count", "", "ERROR: a\nb\n", "ERROR: a b"},
		{"long", "ERROR:", strings.Repeat("x", 20000) + "end", "…" + strings.Repeat("x", 1496) + "end"},
		{"long error", "ERROR:", "ERROR: " + strings.Repeat("é", 4000) + "end\nx\n", "…" + strings.Repeat("é", 1496) + "end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := &printed{log: &bytes.Buffer{}, prefix: tt.prefix}
			for b := range bytes.Lines([]byte(tt.output)) { // in two pieces each
				_, _ = o.Write(b[:len(b)/2])
				_, _ = o.Write(b[len(b)/2:])
			}
			o.flush()
			if got := o.reason(); got != tt.want {
				t.Errorf("reason = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestOutputIsPassedOnInLines(t *testing.T) {
	var log calls
	o := &printed{log: &log}
	for _, text := range []string{"a\nb", "b\r\n", strings.Repeat("x", maxLine), "\ny"} {
		fmt.Fprint(o, text)
	}
	o.flush()
	o.flush()
	want := calls{"a\n", "bb\r\n", strings.Repeat("x", maxLine-1) + "\n", "x\n", "y\n"}
	if fmt.Sprint(log) != fmt.Sprint(want) {
		t.Errorf("lines = %.80q, want %.80q", log, want)
	}
}

func TestOutputIsBounded(t *testing.T) {
	o := &printed{log: &bytes.Buffer{}, prefix: "ERROR:"}
	for i := range 100_000 {
		fmt.Fprintf(o, "ERROR: %d \xff\x1b[0m%s\n", i, strings.Repeat("é", 50))
	}
	fmt.Fprint(o, strings.Repeat("y", 1<<20))
	if len(o.end) > 2*keepEnd || len(o.errors) > 2*keepEnd || len(o.line) > maxLine {
		t.Errorf("%d, %d and %d bytes are kept", len(o.end), len(o.errors), len(o.line))
	}
	if said := o.reason(); utf8.RuneCountInString(said) != maxSaid || !utf8.ValidString(said) || !strings.Contains(said, "ERROR: 99999 ") {
		t.Errorf("reason = %q", said)
	}
}

// calls is a writer that notes what it was called with.
type calls []string

func (c *calls) Write(p []byte) (int, error) {
	*c = append(*c, string(p))
	return len(p), nil
}
