package scripted_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	bashTool     = `"tools":[{"type":"function","function":{"name":"bash","parameters":{}}}]`
	messagesBash = `"tools":[{"name":"Bash","input_schema":{"type":"object","properties":{"command":{"type":"string"},"description":{"type":"string"}}}}]`
	ranBash      = `{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"bash","arguments":"{}"}}]},` +
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

		{"error.sse", `{"model":"scripted/broken","stream":true,"messages":[{"role":"user","content":"call"}]}`, 200},
		{"json.sse", `{"model":"scripted/broken","stream":true,"messages":[{"role":"user","content":"json"}]}`, 200},
		{"framing.sse", `{"model":"scripted/broken","stream":true,"messages":[{"role":"user","content":"framing"}]}`, 200},
		{"malformed.json", `{"model":"scripted/broken","messages":[{"role":"user","content":"json"}]}`, 200},

		{"messages-echo.sse", `{"model":"scripted/echo","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"Good morning, how are you? Ça va?"}]}`, 200},
		{"messages-echo.json", `{"model":"scripted/echo","max_tokens":9,"system":"Be brief.","messages":[{"role":"user","content":"Good morning"}]}`, 200},
		{"messages-call.sse", `{"model":"scripted/echo","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"RUN: echo 'hello & <goodbye>' && pwd"}],` + messagesBash + `}`, 200},
		{"messages-call.json", `{"model":"scripted/echo","max_tokens":9,"messages":[{"role":"user","content":"RUN: ls"}],` + messagesBash + `}`, 200},
		{"messages-turn.sse", `{"model":"scripted/fix-sum","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`, 200},
		{"messages-turn.json", `{"model":"scripted/fix-sum","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`, 200},
		{"messages-cut.sse", `{"model":"scripted/odd","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"cut"}]}`, 200},
		{"messages-arguments.json", `{"model":"scripted/odd","max_tokens":9,"messages":[{"role":"user","content":"arguments"}]}`, 200},
		{"messages-length.json", `{"model":"scripted/odd","max_tokens":9,"messages":[{"role":"user","content":"length"}]}`, 200},
		{"messages-error.sse", `{"model":"scripted/broken","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"call"}]}`, 200},
		{"messages-error.json", `{"model":"scripted/broken","max_tokens":9,"messages":[{"role":"user","content":"call"}]}`, 529},
		{"messages-json.sse", `{"model":"scripted/broken","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"json"}]}`, 200},
		{"messages-framing.sse", `{"model":"scripted/broken","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"framing"}]}`, 200},

		{"responses-echo.sse", `{"model":"scripted/echo","stream":true,"input":"Good morning, how are you? Ça va?"}`, 200},
		{"responses-echo.json", `{"model":"scripted/echo","instructions":"Be brief.","input":"Good morning"}`, 200},
		{"responses-call.sse", `{"model":"scripted/echo","stream":true,"input":"RUN: echo 'hello & <goodbye>' && pwd","tools":[{"type":"function","name":"exec_command","parameters":{"properties":{"cmd":{"type":"string"}}}}]}`, 200},
		{"responses-call.json", `{"model":"scripted/echo","input":"RUN: ls","tools":[{"type":"function","name":"shell","parameters":{"properties":{"command":{"type":"array"}}}}]}`, 200},
		{"responses-local-shell.sse", `{"model":"scripted/echo","stream":true,"input":"RUN: ls","tools":[{"type":"local_shell"}]}`, 200},
		{"responses-custom.sse", `{"model":"scripted/patch","stream":true,"input":"hi","tools":[{"type":"custom","name":"apply_patch"}]}`, 200},
		{"responses-function.json", `{"model":"scripted/patch","input":"hi","tools":[{"type":"namespace","name":"files","tools":[{"type":"function","name":"apply_patch"}]}]}`, 200},
		{"responses-turn.sse", `{"model":"scripted/fix-sum","stream":true,"include":["reasoning.encrypted_content"],"input":"hi"}`, 200},
		{"responses-turn.json", `{"model":"scripted/fix-sum","input":"hi"}`, 200},
		{"responses-cut.sse", `{"model":"scripted/odd","stream":true,"input":"cut"}`, 200},
		{"responses-length.sse", `{"model":"scripted/odd","stream":true,"input":"length"}`, 200},
		{"responses-error.sse", `{"model":"scripted/broken","stream":true,"input":"call"}`, 200},
		{"responses-error.json", `{"model":"scripted/broken","input":"call"}`, 529},
		{"responses-json.sse", `{"model":"scripted/broken","stream":true,"input":"json"}`, 200},
		{"responses-framing.sse", `{"model":"scripted/broken","stream":true,"input":"framing"}`, 200},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			path := chatPath
			switch wire, _, _ := strings.Cut(tt.file, "-"); wire {
			case "messages":
				path = messagesPath
			case "responses":
				path = responsesPath
			}
			res, got := post(t, url+path, tt.body)
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
	one, two := serve(t, ""), serve(t, "")
	for path, body := range map[string]string{
		chatPath:      `{"model":"scripted/echo","stream":true,"messages":[{"role":"user","content":"hi"}]}`,
		messagesPath:  `{"model":"scripted/echo","stream":true,"messages":[{"role":"user","content":"hi"}]}`,
		responsesPath: `{"model":"scripted/echo","stream":true,"input":"hi"}`,
	} {
		_, first := post(t, one+path, body)
		_, second := post(t, two+path, body)
		if first != second {
			t.Errorf("two servers answer one request differently:\n%s\n%s", first, second)
		}
		_, other := post(t, one+path, strings.Replace(body, "hi", "ho", 1))
		id := regexp.MustCompile(`"id":"[^"]+"`)
		if id.FindString(other) == id.FindString(first) {
			t.Errorf("different requests got the same id: %s", id.FindString(other))
		}
	}
}

// TestStreamedEqualsWhole asks the real clients both ways.
func TestStreamedEqualsWhole(t *testing.T) {
	url := serve(t, filepath.Join(repository, "testdata", "scripts"))
	for wire, talk := range talkers {
		t.Run(wire, func(t *testing.T) {
			with := talk(url, "scripted/fix-sum", t.Name())
			with.user("mend it")
			whole, streamed := with.whole(t), with.ask(t)
			for _, r := range []*reply{&whole, &streamed} {
				r.begun = false
				for i := range r.calls {
					r.calls[i].id = "" // a request that streams is another
				}
			}
			if diff := cmp.Diff(whole, streamed, cmp.AllowUnexported(reply{}, toolCall{})); diff != "" {
				t.Errorf("whole and streamed answers differ (-whole +streamed):\n%s", diff)
			}
			if len(whole.calls) != 2 || whole.usage[0] == 0 || whole.usage[1] == 0 || whole.finish == "" || whole.thought == "" {
				t.Errorf("answer = %+v", whole)
			}
		})
	}
}
