package scripted_test

import (
	"encoding/json"
	"strings"
	"testing"
)

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

// Each harness offers to run commands in its own way.
func TestEchoFindsTheShell(t *testing.T) {
	url := serve(t, "")
	tests := []struct{ name, tools, want string }{
		{"claude", messagesBash, `Bash{"command":"ls","description":"Run what the user asked for"}`},
		{"shell without schema", `"tools":[{"name":"shell"}]`, `shell{"command":["bash","-lc","ls"]}`},
		{"shell that takes a line", `"tools":[{"name":"shell","input_schema":{"properties":{"command":{"type":"string"}}}}]`, `shell{"command":"ls"}`},
		{"exec_command without schema", `"tools":[{"name":"exec_command"}]`, `exec_command{"cmd":"ls"}`},
		{"exec_command with a command", `"tools":[{"name":"exec_command","input_schema":{"properties":{"command":true}}}]`, `exec_command{"command":"ls"}`},
		{"shell_command", `"tools":[{"name":"shell_command","input_schema":[]}]`, `shell_command{"command":"ls"}`},
		{"bash before others", `"tools":[{"name":"shell"},{"name":"read"},{"name":"bash"}]`, `bash{"command":"ls"}`},
		{"no shell", `"tools":[{"name":"read"}]`, "No bash tool is on offer to run: ls"},
		{"forbidden", `"tool_choice":{"type":"none"},` + messagesBash, "No bash tool is on offer to run: ls"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, body := post(t, url+messagesPath, `{"model":"scripted/echo","messages":[{"role":"user","content":"RUN: ls"}],`+tt.tools+`}`)
			if got := saidIn(t, body); got != tt.want {
				t.Errorf("answer = %q, want %q", got, tt.want)
			}
		})
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

// saidIn is what an answer of the messages or responses wire says.
func saidIn(t *testing.T, body string) string {
	t.Helper()
	type piece struct {
		Text, Name, Arguments string
		Input                 json.RawMessage
		Content               []struct{ Text string }
	}
	var out struct{ Content, Output []piece }
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		t.Fatalf("answer = %s", body)
	}
	var said strings.Builder
	for _, p := range append(out.Content, out.Output...) {
		said.WriteString(p.Text + p.Name + p.Arguments + string(p.Input))
		for _, c := range p.Content {
			said.WriteString(c.Text)
		}
	}
	return said.String()
}
