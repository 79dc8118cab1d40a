package scripted_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// A conversation plays the inputs of a transcript through the OpenAI client and writes
// down what comes back. docs/scripted-models.md has transcripts.
type conversation struct {
	t        *testing.T
	client   openai.Client
	model    string
	messages []openai.ChatCompletionMessageParamUnion
	pending  []string // ids of calls without a result
	out      strings.Builder
}

func converse(t *testing.T, url, model, transcript string) string {
	t.Helper()
	c := &conversation{t: t, model: model, client: openai.NewClient(
		option.WithBaseURL(url+"/v1"), option.WithAPIKey("stub"), option.WithMaxRetries(0),
		option.WithHeader("x-session-id", t.Name()),
	)}
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
		c.messages = append(c.messages, openai.UserMessage(text))
	case "tool":
		c.messages = append(c.messages, openai.ToolMessage(text, c.pending[0]))
		c.pending = c.pending[1:]
	}
}

func (c *conversation) call() {
	params := openai.ChatCompletionNewParams{Model: c.model, Messages: c.messages}
	for _, name := range []string{"bash", "read"} {
		params.Tools = append(params.Tools, openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: name}))
	}
	stream := c.client.Chat.Completions.NewStreaming(c.t.Context(), params)
	defer stream.Close()
	var acc openai.ChatCompletionAccumulator
	var thought strings.Builder
	for stream.Next() {
		chunk := stream.Current()
		if !acc.AddChunk(chunk) {
			c.t.Fatalf("the client refuses the chunk %s", chunk.RawJSON())
		}
		if len(chunk.Choices) > 0 {
			thought.WriteString(reasoning(c.t, chunk.Choices[0].Delta))
		}
	}
	if refused, ok := errors.AsType[*openai.Error](stream.Err()); ok {
		c.write("fails", describe(refused))
		return
	}
	msg := acc.Choices[0].Message
	c.say(thought.String(), msg)
	if stream.Err() != nil || acc.Choices[0].FinishReason == "" {
		c.write("breaks off", "")
		return
	}
	c.messages = append(c.messages, msg.ToParam())
}

func (c *conversation) say(thought string, msg openai.ChatCompletionMessage) {
	if thought != "" {
		c.write("thinks", thought)
	}
	if msg.Content != "" {
		c.write("says", msg.Content)
	}
	for _, call := range msg.ToolCalls {
		c.write("calls", call.Function.Name+" "+call.Function.Arguments)
		c.pending = append(c.pending, call.ID)
	}
}

func reasoning(t *testing.T, d openai.ChatCompletionChunkChoiceDelta) string {
	t.Helper()
	field, ok := d.JSON.ExtraFields["reasoning_content"]
	if !ok {
		return ""
	}
	var text string
	if err := json.Unmarshal([]byte(field.Raw()), &text); err != nil {
		t.Fatal(err)
	}
	return text
}

func describe(e *openai.Error) string {
	kind := e.Type
	if e.Code != "" {
		kind += " " + e.Code
	}
	text := fmt.Sprintf("%d %s: %s", e.StatusCode, kind, e.Message)
	if wait, err := time.ParseDuration(e.Response.Header.Get("Retry-After-Ms") + "ms"); err == nil {
		text += fmt.Sprintf(" (again after %v)", wait)
	}
	return text
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
			golden(t, filepath.Join("scripts", name+".txt"), converse(t, url, "scripted/"+name, string(text)))
		})
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
	dir, request, transcripts := t.TempDir(), "", 0
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
			request = body
		case "text":
			transcripts++
			body = converse(t, url, name, body)
		case "sse":
			_, body = ask(t, url, strings.TrimSpace(request))
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
	if diff := cmp.Diff(string(text), got); diff != "" {
		t.Errorf("the examples are not what happens (-document +run); LAP_UPDATE=1 rewrites them:\n%s", diff)
	}
}
