package scripted_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

const (
	bashTool = `"tools":[{"type":"function","function":{"name":"bash","parameters":{}}}]`
	ranBash  = `{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"bash","arguments":"{}"}}]},` +
		`{"role":"tool","tool_call_id":"call_1","content":"hello & <goodbye>\n"}`
)

// TestGoldenWire holds the bytes of every kind of answer.
func TestGoldenWire(t *testing.T) {
	url := serve(t, filepath.Join(repository, "testdata", "scripts"))
	tests := []struct {
		file, body string
		status     int
	}{
		{"echo.sse", `{"model":"scripted/echo","stream":true,"messages":[{"role":"user","content":"Good morning, how are you? Ça va?"}]}`, 200},
		{"echo.json", `{"model":"scripted/echo","messages":[{"role":"user","content":"Good morning"}]}`, 200},
		{"call.sse", `{"model":"scripted/echo","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"RUN: echo 'hello & <goodbye>' && pwd"}],` + bashTool + `}`, 200},
		{"call.json", `{"model":"scripted/echo","messages":[{"role":"user","content":"RUN: ls"}],` + bashTool + `}`, 200},
		{"report.sse", `{"model":"scripted/echo","stream":true,"messages":[{"role":"user","content":"RUN: ls"},` + ranBash + `],` + bashTool + `}`, 200},
		{"turn.sse", `{"model":"scripted/fix-sum","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`, 200},
		{"turn.json", `{"model":"scripted/fix-sum","messages":[{"role":"user","content":"hi"}]}`, 200},
		{"cut.sse", `{"model":"scripted/odd","stream":true,"messages":[{"role":"user","content":"cut"}]}`, 200},
		{"cut.json", `{"model":"scripted/odd","messages":[{"role":"user","content":"cut"}]}`, 200},
		{"error.json", `{"model":"scripted/flaky","messages":[{"role":"user","content":"hi"}]}`, 503},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			res, got := ask(t, url, tt.body)
			if res.StatusCode != tt.status {
				t.Errorf("status = %d, want %d", res.StatusCode, tt.status)
			}
			want := "application/json"
			if strings.HasSuffix(tt.file, ".sse") {
				want = "text/event-stream; charset=utf-8"
			}
			if kind := res.Header.Get("Content-Type"); kind != want {
				t.Errorf("Content-Type = %q, want %q", kind, want)
			}
			golden(t, filepath.Join("gateway", tt.file), got)
		})
	}
}

func TestSameRequestSameBytes(t *testing.T) {
	url := serve(t, "")
	body := `{"model":"scripted/echo","stream":true,"messages":[{"role":"user","content":"hi"}]}`
	_, first := ask(t, url, body)
	_, second := ask(t, serve(t, ""), body)
	if first != second {
		t.Errorf("two servers answer one request differently:\n%s\n%s", first, second)
	}
	_, other := ask(t, url, strings.Replace(body, "hi", "ho", 1))
	if other[:40] == first[:40] {
		t.Errorf("different requests got the same id: %s", other[:40])
	}
}

// TestStreamedEqualsWhole asks the real client both ways.
func TestStreamedEqualsWhole(t *testing.T) {
	url := serve(t, filepath.Join(repository, "testdata", "scripts"))
	client := openai.NewClient(option.WithBaseURL(url+"/v1"), option.WithAPIKey("stub"), option.WithMaxRetries(0))
	params := openai.ChatCompletionNewParams{
		Model: "scripted/fix-sum", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("mend it")},
	}
	whole, err := client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	params.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	defer stream.Close()
	var acc openai.ChatCompletionAccumulator
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatalf("the client refuses the chunk %s", stream.Current().RawJSON())
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	type call struct{ name, arguments string }
	type seen struct {
		text, finish string
		calls        []call
		usage        [3]int64
	}
	view := func(c openai.ChatCompletion) seen {
		s := seen{
			text: c.Choices[0].Message.Content, finish: c.Choices[0].FinishReason,
			usage: [3]int64{c.Usage.PromptTokens, c.Usage.CompletionTokens, c.Usage.TotalTokens},
		}
		for _, tc := range c.Choices[0].Message.ToolCalls {
			s.calls = append(s.calls, call{tc.Function.Name, tc.Function.Arguments})
		}
		return s
	}
	if diff := cmp.Diff(view(*whole), view(acc.ChatCompletion), cmp.AllowUnexported(seen{}, call{})); diff != "" {
		t.Errorf("whole and streamed answers differ (-whole +streamed):\n%s", diff)
	}
	if len(whole.Choices[0].Message.ToolCalls) != 2 || whole.Usage.TotalTokens == 0 {
		t.Errorf("answer = %s", whole.RawJSON())
	}
}

// saidTo returns the text of a whole answer to messages.
func saidTo(t *testing.T, url, model, rest string) string {
	t.Helper()
	_, body := ask(t, url, `{"model":"`+model+`",`+rest+`}`)
	var out struct {
		Choices []struct {
			Message struct {
				Content   string
				ToolCalls []struct {
					Function struct{ Name, Arguments string }
				} `json:"tool_calls"`
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil || len(out.Choices) != 1 {
		t.Fatalf("answer = %s", body)
	}
	msg := out.Choices[0].Message
	for _, c := range msg.ToolCalls {
		msg.Content += c.Function.Name + c.Function.Arguments
	}
	return msg.Content
}

func TestEcho(t *testing.T) {
	url := serve(t, "")
	tests := []struct{ name, rest, want string }{
		{"last user message", `"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]`, "c"},
		{"last text part", `"messages":[{"role":"user","content":[{"type":"text","text":"memory"},{"type":"text","text":"hi"}]}]`, "hi"},
		{"one image", `"messages":[{"role":"user","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:"}}]}]`, "see\n[1 image]"},
		{"two images, no text", `"messages":[{"role":"user","content":[{"type":"image_url"},{"type":"image_url"}]}]`, "[2 images]"},
		{"nothing said", `"messages":[{"role":"user","content":null}]`, "(an empty message)"},
		{"no user", `"messages":[{"role":"system","content":"be brief"}]`, "(no user message)"},
		{"no bash tool", `"messages":[{"role":"user","content":"RUN: ls\nRUN: pwd"}]`, "No bash tool is on offer to run: ls; pwd"},
		{"tools forbidden", `"tool_choice":"none","messages":[{"role":"user","content":"RUN: ls"}],` + bashTool, "No bash tool is on offer to run: ls"},
		{"bash in another case", `"messages":[{"role":"user","content":"x\r\n  RUN:  ls -l \r\n"}],` + strings.Replace(bashTool, "bash", "Bash", 1), `Bash{"command":"ls -l"}`},
		{"empty command", `"messages":[{"role":"user","content":"RUN: "}],` + bashTool, "RUN: "},
		{"second command", `"messages":[{"role":"user","content":"RUN: ls\nRUN: pwd"},` + ranBash + `],` + bashTool, `bash{"command":"pwd"}`},
		{"lost result", `"messages":[{"role":"user","content":"RUN: ls"},` + strings.Replace(ranBash, `"tool_call_id":"call_1"`, `"tool_call_id":"x"`, 1) + `],` + bashTool, "$ ls\n(no output)"},
		{"earlier results do not count", `"messages":[{"role":"user","content":"RUN: ls"},` + ranBash + `,{"role":"user","content":"RUN: pwd"}],` + bashTool, `bash{"command":"pwd"}`},
		{"result in parts", `"messages":[{"role":"user","content":"RUN: ls"},` + strings.Replace(ranBash, `"hello & <goodbye>\n"`, `[{"type":"text","text":"a"},{"type":"text","text":"b"}]`, 1) + `],` + bashTool, "$ ls\na\nb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := saidTo(t, url, "scripted/echo", tt.rest); got != tt.want {
				t.Errorf("answer = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMalformedRequests(t *testing.T) {
	url := serve(t, "")
	tests := []struct{ name, body, want string }{
		{"no messages", `{"model":"scripted/echo"}`, "messages: not an array"},
		{"messages null", `{"model":"scripted/echo","messages":null}`, "messages: not an array"},
		{"messages empty", `{"model":"scripted/echo","messages":[]}`, "messages: at least one is needed"},
		{"too many messages", `{"model":"scripted/echo","messages":[{}` + strings.Repeat(",{}", 10_000) + `]}`, "messages: more than 10000"},
		{"a long number", `{"model":"scripted/echo","messages":[` + strings.Repeat("1", 5000) + `]}`, "no chat completion request: messages:"},
		{"messages no array", `{"model":"scripted/echo","messages":"hi"}`, "no chat completion request: messages:"},
		{"content a number", `{"model":"scripted/echo","messages":[{"role":"user","content":5}]}`, "content is neither a string nor an array of parts"},
		{"stream no bool", `{"model":"scripted/echo","stream":"yes"}`, "no chat completion request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := ask(t, url, tt.body)
			if res.StatusCode != http.StatusBadRequest || !strings.Contains(body, tt.want) || len(body) > 600 {
				t.Errorf("answer = %d %s, want 400 and %q", res.StatusCode, body, tt.want)
			}
		})
	}
}
