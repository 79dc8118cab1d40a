package scripted_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// A talker speaks with a model through a client of one wire.
type talker interface {
	user(text string)
	tool(text, id string)
	ask(t *testing.T) reply   // in a stream; what comes back whole becomes part of the conversation
	whole(t *testing.T) reply // at once
}

// talkers are by the name of their wire. session is what they call theirs.
var talkers = map[string]func(url, model, session string) talker{
	"chat": newChatTalker, "messages": newMessagesTalker, "responses": newResponsesTalker,
}

// reply is what came back, in no particular wire format.
type reply struct {
	begun         bool
	thought, text string
	calls         []toolCall
	finish        string
	usage         [2]int64 // in and out
	refused       string   // what the model's server said instead
	lost          string   // what it said in the middle
	err           error    // why else the reply is not whole
}

type toolCall struct{ id, name, arguments string }

// A conversation plays the inputs of a transcript and writes down what comes back.
// docs/scripted-models.md has transcripts.
type conversation struct {
	t       *testing.T
	with    talker
	pending []string // ids of calls without a result
	out     strings.Builder
}

func converse(t *testing.T, with talker, transcript string) string {
	t.Helper()
	c := &conversation{t: t, with: with}
	asked := true
	for _, e := range entries(transcript) {
		kind, text, _ := strings.Cut(e, ":")
		switch kind {
		case "user", "tool", "again":
			c.write(kind, strings.TrimPrefix(text, " "))
			c.hear(kind, strings.TrimPrefix(text, " "))
			asked = false
			if kind == "tool" && len(c.pending) > 0 {
				continue
			}
		}
		if !asked {
			c.call()
			asked = true
		}
	}
	return c.out.String()
}

// entries joins the continued lines of a transcript.
func entries(transcript string) []string {
	text := strings.ReplaceAll(strings.TrimSuffix(transcript, "\n"), "\n  ", "\x00")
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], "\x00", "\n")
	}
	return lines
}

func (c *conversation) write(kind, text string) {
	line := kind
	if text != "" || kind == "again" {
		line = strings.TrimSpace(kind + ": " + text)
	}
	c.out.WriteString(strings.ReplaceAll(line, "\n", "\n  ") + "\n")
}

func (c *conversation) hear(kind, text string) {
	switch kind {
	case "user":
		c.with.user(text)
	case "tool":
		c.with.tool(text, c.pending[0])
		c.pending = c.pending[1:]
	}
}

func (c *conversation) call() {
	r := c.with.ask(c.t)
	if r.thought != "" {
		c.write("thinks", r.thought)
	}
	if r.text != "" {
		c.write("says", r.text)
	}
	for _, call := range r.calls {
		c.write("calls", call.name+" "+call.arguments)
		c.pending = append(c.pending, call.id)
	}
	_, garbled := errors.AsType[*json.SyntaxError](r.err)
	switch {
	case r.refused != "":
		c.write("fails", r.refused)
	case r.lost != "":
		c.write("breaks off", r.lost)
	case garbled:
		c.write("garbles", "")
	case errors.Is(r.err, io.ErrUnexpectedEOF), r.err == nil && r.finish == "":
		c.write("breaks off", "")
	case r.err != nil:
		c.t.Errorf("the client fails: %v", r.err)
	}
}

func TestGoldenConversations(t *testing.T) {
	dir := filepath.Join(repository, "testdata", "scripts")
	url := serve(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for wire, talk := range talkers {
				t.Run(wire, func(t *testing.T) {
					got := converse(t, talk(url, "scripted/"+name, t.Name()), string(text))
					switch {
					case wire != "messages":
						golden(t, filepath.Join("scripts", name+".txt"), got)
					case os.Getenv("LAP_UPDATE") == "":
						wantWithoutCodes(t, string(text), got)
					}
				})
			}
		})
	}
}

// code is that of an error, which Anthropic's API does not have.
var code = regexp.MustCompile(`(?m)^(fails: \d+ \w+_error) \w+:`)

func wantWithoutCodes(t *testing.T, want, got string) {
	t.Helper()
	want, got = code.ReplaceAllString(want, "$1:"), code.ReplaceAllString(got, "$1:")
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("the conversation differs (-want +got):\n%s", diff)
	}
}

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(?:# (\\S+)\n)?(.*?)^```\n")

// TestDocumented runs the examples of the user's document.
func TestDocumented(t *testing.T) {
	file := filepath.Join(repository, "docs", "scripted-models.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir, path, request, transcripts := t.TempDir(), "", "", 0
	url := serve(t, dir)
	got := fence.ReplaceAllStringFunc(string(text), func(block string) string {
		m := fence.FindStringSubmatch(block)
		kind, name, body := m[1], m[2], m[3]
		switch kind {
		case "yaml":
			if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		case "json":
			path, request = cmp.Or(name, chatPath), body
		case "text":
			transcripts++
			for wire, talk := range talkers {
				if wire != "chat" {
					wantWithoutCodes(t, body, converse(t, talk(url, name, wire), body))
				}
			}
			body = converse(t, newChatTalker(url, name, "chat"), body)
		case "sse":
			_, body = post(t, url+path, strings.TrimSpace(request))
			body = strings.TrimSuffix(body, "\n")
		}
		head := "```" + kind + "\n"
		if name != "" {
			head += "# " + name + "\n"
		}
		return head + body + "```\n"
	})
	if transcripts < 5 || request == "" {
		t.Errorf("only %d conversations, request %q", transcripts, request)
	}
	if os.Getenv("LAP_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(string(text), got); diff != "" {
		t.Errorf("the examples are not what happens (-document +run); LAP_UPDATE=1 rewrites them:\n%s", diff)
	}
}
