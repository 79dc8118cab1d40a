package api_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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
//	> its headers, as in Name: value, and its body
//	! ready SESSION          what happens in between: a session becomes ready
//	! events SESSION JSON…   its harness tells these, one a blank-separated word
//	! egress SESSION         its sandbox makes requests, and its model is called
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

var headerLine = regexp.MustCompile(`^[A-Z][A-Za-z-]+: `)

// happen does what a line of a story says, if it is for that.
func (w *world) happen(t *testing.T, words []string) {
	t.Helper()
	switch {
	case len(words) < 3 || words[0] != "!":
	case words[1] == "ready":
		ready := db.Readiness{HarnessSessionID: "harness-session", Timings: json.RawMessage(`{"creating_sandbox":12,"waiting_harness":230}`)}
		if err := w.store.MarkReady(t.Context(), words[2], 1, ready); err != nil {
			t.Fatal(err)
		}
	case words[1] == "events":
		w.engine.emit(t, words[2], words[3:]...)
	case words[1] == "egress":
		w.use(t, words[2])
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
		header := map[string]string{"Authorization": "Bearer " + masterKey}
		lines := request[1:]
		for len(lines) > 0 && headerLine.MatchString(lines[0]) {
			name, value, _ := strings.Cut(lines[0], ": ")
			header[name], lines = value, lines[1:]
		}
		r := w.send(t, method, path, strings.Join(lines, "\n"), header)
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
		w.happen(t, strings.Fields(line))
		out.WriteString(line + "\n")
	}
	flush()
	return out.String()
}
