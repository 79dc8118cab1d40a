package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/db"
)

// TestGoldenExchanges plays the stories in testdata/api, each on a new world with a
// fixed clock and fixed ids. A line of a story is
//
//	# a remark
//	> METHOD path            a request, and in the lines after it
//	> its body
//	! ready SESSION          what happens in between: a session becomes ready
//	< STATUS, then < body    the answer, which LAP_UPDATE=1 writes
func TestGoldenExchanges(t *testing.T) {
	files, err := filepath.Glob("../../testdata/api/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, newWorld(t), string(text))
			if os.Getenv("LAP_UPDATE") != "" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("%s (make generate rewrites it)", diff)
			}
		})
	}
}

// play sends the requests of a story and returns the story with the answers it got.
func play(t *testing.T, w *world, story string) string {
	t.Helper()
	var out strings.Builder
	var request []string
	flush := func() {
		if len(request) == 0 {
			return
		}
		method, path, _ := strings.Cut(request[0], " ")
		r := w.do(t, method, path, strings.Join(request[1:], "\n"))
		fmt.Fprintf(&out, "< %d\n", r.status)
		for line := range strings.Lines(r.body) {
			out.WriteString("< " + strings.TrimSuffix(line, "\n") + "\n")
		}
		request = nil
	}
	for line := range strings.Lines(story) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "< ") {
			continue
		}
		if text, ok := strings.CutPrefix(line, "> "); ok {
			request = append(request, text)
			out.WriteString(line + "\n")
			continue
		}
		flush()
		if id, ok := strings.CutPrefix(line, "! ready "); ok {
			if err := w.store.MarkReady(t.Context(), id, 1, db.Readiness{HarnessSessionID: "harness-session"}); err != nil {
				t.Fatal(err)
			}
		}
		out.WriteString(line + "\n")
	}
	flush()
	return out.String()
}
