//go:build linux

package guest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lap/sandbox"
)

func TestLogsComeAsWholeLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		l := newLogs(func(lines string) { got = append(got, lines) })
		time.Sleep(time.Second)
		fmt.Fprint(l, "a\nb")
		fmt.Fprint(l, "b\nc")
		time.Sleep(logWindow)
		synctest.Wait()
		fmt.Fprint(l, "c\n", strings.Repeat("x", maxLine+1), "\n")
		time.Sleep(logWindow)
		synctest.Wait()
		want := []string{"a\nbb\n", "cc\n" + strings.Repeat("x", maxLine) + "\nx\n"}
		if !slices.Equal(got, want) {
			t.Errorf("lines = %.60q, want %.60q", got, want)
		}
	})
}

func TestLogsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got strings.Builder
		l := newLogs(func(lines string) { got.WriteString(lines) })
		line := strings.Repeat("x", 1023) + "\n"
		for range 2 * logRate / len(line) {
			fmt.Fprint(l, line)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if want := strings.Repeat(line, logRate/len(line)) + fmt.Sprintf("[%d bytes of output were dropped here: too much at once]\n", logRate); got.String() != want {
			t.Errorf("%d bytes came, want %d", got.Len(), len(want))
		}
		got.Reset()
		fmt.Fprint(l, "more\n")
		time.Sleep(time.Second)
		synctest.Wait()
		if got.String() != "more\n" || len(l.kept) > 2*sandbox.MaxOutput {
			t.Errorf("then came %q; %d bytes are kept", got.String(), len(l.kept))
		}
	})
}
